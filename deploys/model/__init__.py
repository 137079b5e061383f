"""What a Hermes agent is, decided without a host: no I/O, no pyinfra."""
