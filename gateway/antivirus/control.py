"""The one door to pyclamd: ping, version, stats and reload. Verdicts never come through it.

pyclamd 0.4.0 tells a scan that died from a clean one by nothing at all, and shares one socket between threads; its
small commands are sound when each has an object of its own, which it has here. It blocks: call ``ask`` in a thread.
It waits five times as long as it is told, and leaves its socket open when something fails.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pyclamd

from gateway.antivirus.address import ScannerAddress

Command = Literal["ping", "version", "stats", "reload"]
# pyclamd reads again up to five times after a time-out.
_READS = 5


@dataclass(frozen=True, slots=True)
class Told:
    """What clamd answered."""

    text: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Why there is no answer."""

    reason: str


def ask(address: ScannerAddress, command: Command, seconds: float) -> Told | Unanswered:
    """Return clamd's answer to ``command``; blocks for about ``seconds`` at most, twice that while connecting."""
    client: Any = None
    try:
        client = _client(address, seconds / _READS)
        method: Callable[[], object] = getattr(client, command)
        answer = method()
    except OSError as error:
        return Unanswered(_printable(str(error)) or type(error).__name__)
    finally:
        if client is not None:
            client._close_socket()  # noqa: SLF001 - pyclamd closes it only when all went well
    if command == "ping":
        return Told("PONG") if answer is True else Unanswered("no PONG")
    # Octets that are no UTF-8 come back as bytes; an end of the connection as an empty text.
    if not isinstance(answer, str) or not answer.strip():
        return Unanswered(f"no answer to {command.upper()}")
    return Told(_printable(answer))


def _client(address: ScannerAddress, seconds: float) -> Any:
    if address.path:
        return _Unix(filename=address.path, timeout=seconds)
    return _Network(host=address.host, port=address.port, timeout=seconds)


class _Unix(pyclamd.ClamdUnixSocket):  # type: ignore[misc] # pyclamd has no types
    """Closes what could not be connected."""

    def _init_socket(self) -> None:
        _closing(self, super()._init_socket)


class _Network(pyclamd.ClamdNetworkSocket):  # type: ignore[misc] # pyclamd has no types
    """Closes what could not be connected."""

    def _init_socket(self) -> None:
        _closing(self, super()._init_socket)


def _closing(client: Any, connect: Callable[[], None]) -> None:
    try:
        connect()
    except OSError:
        client.clamd_socket.close()
        raise


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text).strip()
