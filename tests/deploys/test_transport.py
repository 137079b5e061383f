"""The transport of every inventory: quick, and not deceived by a host that has gone."""

from __future__ import annotations

import socket

from pyinfra_hermes.deploys.transport import tuned_transport


def test_the_socket_does_not_delay_and_gives_a_silent_host_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        transport = tuned_transport(client)
        try:
            assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert 0 < client.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 30_000
        finally:
            transport.close()
