"""What a Hermes agent is, and the order in which it comes true."""
