"""What an agent remembers: looked at, changed, and never lost on the way."""
