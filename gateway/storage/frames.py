"""What a store and its writer process say to each other: a length (4 octets, big-endian) and a marshalled value.

Store → writer: ``(statements, submissions, mark)``: statements not sent before as ``(number, sql, phase, columns)``,
for each submission its ``(statement number, row)`` pairs, and the group's mark (``gateway.storage.group``). Writer →
store: ``("outcomes", [None | (error name, text) …])`` for each group in order, and ``("trouble", (error name,
text))``. Both ends are one installation of this package, so marshal's version dependence does no harm; it is the
fastest encoding of tuples of plain values there is (8 KB: 4 µs).
"""

import marshal
from typing import Any

from gateway.storage import errors
from gateway.storage.errors import StorageError, StorageUnavailable

LENGTH_OCTETS = 4


def pack(value: Any) -> bytes:
    """Return one frame; ValueError for a value that is not made of plain values."""
    body = marshal.dumps(value)
    return len(body).to_bytes(LENGTH_OCTETS, "big") + body


class Unpacker:
    """Cuts a stream into values."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, octets: bytes) -> list[Any]:
        """Return the values that are complete now."""
        self._buffer += octets
        values = []
        while len(self._buffer) >= LENGTH_OCTETS:
            end = LENGTH_OCTETS + int.from_bytes(self._buffer[:LENGTH_OCTETS], "big")
            if len(self._buffer) < end:
                break
            # The stream comes from our own child or parent over a private socket.
            values.append(marshal.loads(memoryview(self._buffer)[LENGTH_OCTETS:end]))  # noqa: S302 - see above
            del self._buffer[:end]
        return values


def pack_error(error: StorageError | None) -> tuple[str, str] | None:
    """Return an error as plain values."""
    return None if error is None else (type(error).__name__, str(error))


def unpack_error(packed: tuple[str, str] | None) -> StorageError | None:
    """Return the error that ``pack_error`` was given."""
    if packed is None:
        return None
    kind = getattr(errors, packed[0], StorageUnavailable)
    return kind(packed[1]) if issubclass(kind, StorageError) else StorageUnavailable(packed[1])


def plain(row: tuple[object, ...]) -> tuple[object, ...]:
    """Return a row with values of derived types (enumerations) as the plain values SQLite takes them for."""
    return tuple([_plain(value) for value in row])


def _plain(value: object) -> object:
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return bytes(value) if isinstance(value, bytearray | memoryview) else value
