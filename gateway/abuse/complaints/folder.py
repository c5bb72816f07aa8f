"""The Maildir that the desk's copies go to: what is new, what was read, what may go.

``PATH/<domain>/<mailbox>/new`` is written by delivery; what is read moves to ``cur`` with the flag of a seen mail,
and is removed when it is older than the configuration keeps complaints. The file's name begins with the mail's trace
id.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gateway.config.abuse_desk import DESK_DOMAIN, DESK_FOLDER, RETURN_MAILBOX
from gateway.mail.trace_id import LENGTH, trace_id_time

_SEEN = ":2,S"


def unread(data: Path) -> Iterator[Path]:
    """Yield the files not read yet, mailbox by mailbox, the oldest first."""
    root = data / DESK_FOLDER / DESK_DOMAIN
    if root.is_dir():
        for mailbox in sorted(root.iterdir()):
            new = mailbox / "new"
            if new.is_dir():
                yield from sorted(path for path in new.iterdir() if path.is_file())


def trace_id_of(path: Path) -> str:
    """Return the trace id in a file's name, the whole name for a file that is none of delivery's."""
    trace_id = path.name[:LENGTH]
    try:
        trace_id_time(trace_id)
    except ValueError:
        return path.name
    return trace_id


def mark_read(path: Path) -> None:
    """Move a file to those that were read; OSError."""
    kept = path.parent.parent / "cur"
    kept.mkdir(exist_ok=True)
    path.replace(kept / f"{path.name}{_SEEN}")


def is_returned(path: Path) -> bool:
    """Whether a file came to the address to which our reports' notifications come."""
    return path.parent.parent.name == RETURN_MAILBOX


def find(data: Path, trace_id: str) -> Path | None:
    """Return the file of a complaint, None when it is gone."""
    root = data / DESK_FOLDER / DESK_DOMAIN
    return next(iter(root.glob(f"*/*/{trace_id}.*")), None) if len(trace_id) == LENGTH and trace_id.isalnum() else None


def prune(data: Path, before: float) -> int:
    """Remove what was read and is older than a UTC second; return how many files."""
    removed = 0
    for path in (data / DESK_FOLDER / DESK_DOMAIN).glob("*/cur/*"):
        with suppress(OSError):
            if path.stat().st_mtime < before:
                path.unlink()
                removed += 1
    return removed
