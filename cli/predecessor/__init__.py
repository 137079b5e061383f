"""What the predecessor left behind, taken over once."""
