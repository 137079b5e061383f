"""How one thing on a host becomes true: idempotent pyinfra operations."""
