"""What is served: the one small file that the keeper writes and all workers read, ``lists.json``.

It names the compiled file of each list and says what the list is and how it stands. It is replaced as a whole, so that
a reader sees the old lists or the new ones.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gateway.blocklist.listing import Identity, ListKind
from gateway.storage import DurableFiles

FILE = "lists.json"
_VERSION = 1


class ManifestError(Exception):
    """The file is not there, or none of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One list as the workers need it; UTC seconds.

    ``compiled`` and ``additions`` are names of files beside the manifest, "" where there is nothing to look up;
    ``state`` is ok, held, refused, missing or unreachable: what keeps the list from being up to date, with ``message``;
    ``usable`` False when there is nothing to answer from, so that no answer must not pass for "not listed"; ``due`` is
    the first deadline of editions that are not in force, None without one.
    """

    name: str
    kind: ListKind
    state: str
    usable: bool
    message: str = ""
    weight: float | None = None
    action: str = ""
    reason: str = ""
    source: str = ""
    owner: str = ""
    until: float | None = None
    identities: tuple[Identity, ...] = ()
    door: str = "connect"
    compiled: str = ""
    additions: str = ""
    entries: int = 0
    bad_lines: int = 0
    added_entries: int = 0
    edition: int = 0
    published: float | None = None
    applied: float | None = None
    due: float | None = None
    problems: tuple[str, ...] = ()


def write_manifest(folder: Path, lists: Sequence[Served], undeclared: Sequence[str], files: DurableFiles) -> None:
    """Replace the manifest; raise StorageError."""
    document = {"version": _VERSION, "lists": [asdict(each) for each in lists], "undeclared": list(undeclared)}
    # ASCII: a file's name need not be UTF-8.
    files.write(folder / FILE, [json.dumps(document, indent=1).encode("ascii")])


def read_manifest(folder: Path) -> tuple[tuple[Served, ...], tuple[str, ...]]:
    """Return the lists, and the files that nobody declared; raise ``ManifestError``."""
    path = folder / FILE
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != _VERSION:
            raise ManifestError(f"{path}: of another version")
        return tuple(_served(each) for each in document["lists"]), tuple(document["undeclared"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path}: {error}") from error


_NAMES = {field.name for field in fields(Served)}


def _served(written: dict[str, object]) -> Served:
    known = {name: tuple(value) if isinstance(value, list) else value for name, value in written.items()}
    known = {name: value for name, value in known.items() if name in _NAMES}
    identities = tuple(Identity(word) for word in written["identities"])  # type: ignore[attr-defined]
    return Served(**(known | {"kind": ListKind(written["kind"]), "identities": identities}))  # type: ignore[arg-type]
