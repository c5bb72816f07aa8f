"""Listening sockets: one per worker and listener, bound by the supervisor with SO_REUSEPORT.

The kernel spreads connections over the workers. The supervisor keeps every socket open: a worker that dies leaves its
waiting connections to its successor instead of resetting them.

SO_REUSEPORT would let two gateways of one user share a port in silence, each with half of the mail; so the address is
bound once without it first, which fails while anybody else listens.
"""

import errno
import os
import socket
from collections.abc import Sequence

from gateway.config.models import Listen

# Connections the kernel completes before we accept them; capped by net.core.somaxconn (4096 on current kernels).
BACKLOG = 4096


class BindError(Exception):
    """An address cannot be listened on; the text says which, why and what to do."""


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``host:port`` or ``[v6]:port``."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def bind(listen: Listen, workers: int) -> list[socket.socket]:
    """Return one listening socket per worker on one address (a port 0 becomes the first socket's); BindError."""
    host, port = split_address(listen.address)
    sockets: list[socket.socket] = []
    try:
        if port:
            _bound(host, port).close()
        for _ in range(workers):
            sock = _listening(host, port)
            sockets.append(sock)
            port = sock.getsockname()[1]
    except OSError as error:
        for sock in sockets:
            sock.close()
        raise BindError(refusal(listen.address, error)) from error
    return sockets


def refusal(address: str, error: OSError) -> str:
    """Return why an address cannot be listened on, and what to do about it."""
    port = split_address(address)[1]
    hints = {
        errno.EADDRINUSE: f"another program has it, `ss -ltnp 'sport = :{port}'` shows which",
        errno.EADDRNOTAVAIL: "this machine has no such address, `ip address` shows those it has",
        errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
    }
    hint = f"; {hints[error.errno]}" if error.errno in hints else ""
    return f"cannot listen on {address}: {os.strerror(error.errno) if error.errno else error}{hint}"


def _listening(host: str, port: int) -> socket.socket:
    sock = _bound(host, port, socket.SO_REUSEPORT)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _bound(host: str, port: int, *options: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # A port whose last connections are in TIME_WAIT is free; one that somebody listens on is not.
        for option in (socket.SO_REUSEADDR, *options):
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            # "[::]:25" takes IPv4 as well; intake shows mapped addresses as IPv4.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def describe(listeners: Sequence[Listen], sockets: Sequence[Sequence[socket.socket]]) -> list[str]:
    """Return ``address role`` of every listener as bound."""
    return [
        f"{format_address(socks[0].getsockname())} {listen.role}"
        for listen, socks in zip(listeners, sockets, strict=True)
    ]


def format_address(name: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """Return ``host:port``, IPv6 in brackets."""
    host, port = name[0], name[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
