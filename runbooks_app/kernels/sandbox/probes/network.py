"""Sockets: a kernel connects to the ports of its run's gateway by TCP, and that is all."""

from __future__ import annotations

import socket

from runbooks_app.kernels.sandbox.probes.asking import Targets, must_fail

_MSG_FASTOPEN = 0x20000000
_SECONDS = 1.0


def _connect(family: int, kind: int, protocol: int, address: object) -> None:
    with socket.socket(family, kind, protocol) as tried:
        tried.settimeout(_SECONDS)
        tried.connect(address)  # type: ignore[arg-type]


@must_fail
def connect_to_a_port_that_is_not_ours(to: Targets) -> None:
    """Databases, Redis and other runs' gateways on this machine are out of reach."""
    _connect(socket.AF_INET, socket.SOCK_STREAM, 0, ("127.0.0.1", to.closed_port))


@must_fail
def connect_to_it_by_ipv6(to: Targets) -> None:
    """Nor by an address of IPv6."""
    _connect(socket.AF_INET6, socket.SOCK_STREAM, 0, ("::ffff:127.0.0.1", to.closed_port))


@must_fail
def connect_to_it_by_mptcp(to: Targets) -> None:
    """Nor by multipath TCP, which Landlock does not look at."""
    _connect(socket.AF_INET, socket.SOCK_STREAM, 262, ("127.0.0.1", to.closed_port))


@must_fail
def connect_to_our_port_by_mptcp(to: Targets) -> None:
    """Multipath TCP is closed whatever the port is."""
    _connect(socket.AF_INET, socket.SOCK_STREAM, 262, ("127.0.0.1", to.open_port))


@must_fail
def connect_by_sending(to: Targets) -> None:
    """Nor by TCP fast open, which connects without connecting."""
    with socket.socket() as tried:
        tried.sendto(b"x", _MSG_FASTOPEN, ("127.0.0.1", to.closed_port))


@must_fail
def connect_by_sending_a_message(to: Targets) -> None:
    """Nor by fast open of a message."""
    with socket.socket() as tried:
        tried.sendmsg([b"x"], [], _MSG_FASTOPEN, ("127.0.0.1", to.closed_port))


@must_fail
def connect_to_the_metadata_service(_: Targets) -> None:
    """Clouds hand out credentials at this address."""
    _connect(socket.AF_INET, socket.SOCK_STREAM, 0, ("169.254.169.254", 80))


@must_fail
def connect_to_the_cluster(_: Targets) -> None:
    """Kubernetes has its API behind this port."""
    _connect(socket.AF_INET, socket.SOCK_STREAM, 0, ("10.96.0.1", 443))


@must_fail
def bind_a_port(_: Targets) -> None:
    """A kernel is no server."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))


@must_fail
def listen_without_binding(_: Targets) -> None:
    """Nor does the system choose a port for it."""
    with socket.socket() as tried:
        tried.listen()


@must_fail
def send_datagrams(_: Targets) -> None:
    """UDP would reach every name server, and so the world."""
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()


@must_fail
def send_raw_packets(_: Targets) -> None:
    """No packets are forged."""
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()


@must_fail
def open_sctp(_: Targets) -> None:
    """Another way to connect that Landlock does not look at."""
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()


@must_fail
def open_netlink(_: Targets) -> None:
    """The network of the machine is not asked about, nor changed."""
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


@must_fail
def open_vsock(_: Targets) -> None:
    """The machine beneath a virtual one is out of reach."""
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM, 0).close()


@must_fail
def open_the_systems_cryptography(_: Targets) -> None:
    """A part of the system that is attacked often."""
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0).close()


@must_fail
def listen_to_the_network(_: Targets) -> None:
    """Nobody's packets are read."""
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close()


@must_fail
def connect_to_a_unix_socket(to: Targets) -> None:
    """Container runtimes, databases and the system's own services listen on sockets in files."""
    _connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, to.unix)


@must_fail
def connect_to_an_abstract_socket(to: Targets) -> None:
    """And on sockets without a file."""
    _connect(socket.AF_UNIX, socket.SOCK_STREAM, 0, "\0" + to.abstract)


@must_fail
def point_one_of_a_pair_elsewhere(_: Targets) -> None:
    """A datagram socket that was made as one of a pair could be connected to others' sockets."""
    for one in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        one.close()


PROBES = (
    connect_to_a_port_that_is_not_ours,
    connect_to_it_by_ipv6,
    connect_to_it_by_mptcp,
    connect_to_our_port_by_mptcp,
    connect_by_sending,
    connect_by_sending_a_message,
    connect_to_the_metadata_service,
    connect_to_the_cluster,
    bind_a_port,
    listen_without_binding,
    send_datagrams,
    send_raw_packets,
    open_sctp,
    open_netlink,
    open_vsock,
    open_the_systems_cryptography,
    listen_to_the_network,
    connect_to_a_unix_socket,
    connect_to_an_abstract_socket,
    point_one_of_a_pair_elsewhere,
)
