"""A closer look: at one agent, at a host, at this machine; what is wrong with each, and what mends it."""
