"""An agent's conversations, read on its host while it goes on."""
