"""The fence around the tests: nothing beyond this machine can be reached."""

from __future__ import annotations

import socket

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.org", 80), ("169.254.169.254", 80)])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_another_machine_cannot_be_reached(address, kind):
    with socket.socket(type=kind) as link, pytest.raises(RuntimeError, match="only this machine"):
        link.connect(address)


def test_a_datagram_to_another_machine_is_refused():
    with (
        socket.socket(type=socket.SOCK_DGRAM) as link,
        pytest.raises(RuntimeError, match="only this machine"),
    ):
        link.sendto(b"", ("192.0.2.1", 9))


def test_this_machine_can_be_reached():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as link,
    ):
        assert link.getpeername() == server.getsockname()
