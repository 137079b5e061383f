"""Throwaway systemd hosts on this machine, and a scripted stand-in for a model server.

Start with `lab.Lab`; by hand there is `scripts/lab`.
"""
