"""The user's OpenSSH, our keys, and ways through it to a host."""
