"""Listening sockets: one per worker and listener, bound by the supervisor with SO_REUSEPORT.

The kernel spreads connections over the workers. The supervisor keeps every socket open: a worker that dies leaves its
waiting connections to its successor instead of resetting them.
"""

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
        for _ in range(workers):
            sock = _bind_one(host, port)
            sockets.append(sock)
            port = sock.getsockname()[1]
    except OSError as error:
        for sock in sockets:
            sock.close()
        hint = "; ports below 1024 need root or CAP_NET_BIND_SERVICE" if isinstance(error, PermissionError) else ""
        raise BindError(f"cannot listen on {listen.address}: {error.strerror}{hint}") from error
    return sockets


def _bind_one(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            # "[::]:25" takes IPv4 as well; intake shows mapped addresses as IPv4.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
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
