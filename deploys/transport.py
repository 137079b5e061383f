"""The SSH transport that every inventory of ours uses."""

from __future__ import annotations

import socket
from typing import Any

import paramiko

_KEEPALIVE_SECONDS = 15
_CHANNEL_TIMEOUT_SECONDS = 30
_SILENCE_SECONDS = 20


def tuned_transport(sock: Any, **kwargs: Any) -> paramiko.Transport:
    """
    Make a transport without Nagle's delay and with keepalive.

    paramiko leaves Nagle's algorithm on, so that every exec waits for a delayed ACK: 49 ms instead of 5. And it does
    not look whether its keepalives arrive: Linux would go on sending them to a host that is gone for 15 minutes.
    """
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_SECONDS * 1000)
    transport = paramiko.Transport(sock, **kwargs)
    transport.set_keepalive(_KEEPALIVE_SECONDS)
    return transport


#: Host data ``ssh_paramiko_connect_kwargs``. paramiko's own limit for opening a channel is an hour.
CONNECT_KWARGS = {"transport_factory": tuned_transport, "channel_timeout": _CHANNEL_TIMEOUT_SECONDS}
