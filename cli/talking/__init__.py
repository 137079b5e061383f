"""Talking to an agent: conversations, tunnels, its journal, and commands of one's own beside it."""
