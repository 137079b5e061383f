"""How an agent becomes configured: its stages, asked at a terminal, given by flags or by a file, and applied."""
