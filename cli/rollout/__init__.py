"""Rollouts: another release for an agent or for many, proven, and taken back where it does not work."""
