"""Agents as archives: made, sealed, verified, put back, and moved to another host."""
