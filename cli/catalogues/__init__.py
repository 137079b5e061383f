"""Entries of the catalogues, on record and at the terminal."""
