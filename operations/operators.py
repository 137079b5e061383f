"""Who runs operations, for what is said of them to others."""

from __future__ import annotations

import getpass
import os
import socket


def operator() -> str:
    """Return who runs this, as ``user@machine``; of a command under sudo the user who ran that."""
    who = os.environ.get("SUDO_USER", "")
    if not who:
        try:
            who = getpass.getuser()
        except (KeyError, OSError):
            who = str(os.getuid())
    return f"{who}@{socket.gethostname()}"
