"""What is true on a host: read-only observations, each in one round trip."""
