"""Small lists kept in the backup folder: JSON, and a last line with the digest of every octet before it."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from gateway.backup.errors import BackupError, DamagedError
from gateway.storage import DurableFiles, StorageError

T = TypeVar("T")


class Records(Generic[T]):
    """A list of values of one class in one file; a file that is not there is an empty list."""

    def __init__(self, path: Path, kind: type[T]) -> None:
        self._path = path
        self._adapter: TypeAdapter[Any] = TypeAdapter(tuple[kind, ...])  # type: ignore[valid-type]

    def read(self) -> tuple[T, ...]:
        """Return the values; DamagedError."""
        try:
            octets = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise DamagedError(str(self._path), f"cannot be read: {error.strerror or error}") from error
        text, _, digest = octets.removesuffix(b"\n").rpartition(b"\n")
        if not octets.endswith(b"\n") or _digest(text) != digest:
            raise DamagedError(str(self._path), "changed: the digest in its last line is of other octets")
        try:
            found: tuple[T, ...] = self._adapter.validate_json(text)
        except ValidationError as error:
            raise DamagedError(str(self._path), "written by another version") from error
        return found

    def write(self, values: Sequence[T]) -> None:
        """Replace the list, durable on return; BackupError."""
        text = self._adapter.dump_json(tuple(values), indent=1)
        try:
            DurableFiles().write(self._path, [text, b"\n", _digest(text), b"\n"])
        except StorageError as error:
            raise BackupError(str(error)) from error


def _digest(text: bytes) -> bytes:
    return sha256(text).hexdigest().encode("ascii")
