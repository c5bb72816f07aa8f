"""How ``tidegate backup`` shows what was saved: a line, a table, an object of JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.cli.table import print_table

if TYPE_CHECKING:
    from gateway.backup.manifest import Manifest


def summary(manifest: "Manifest") -> dict[str, Any]:
    """Return what a manifest says, for ``--json``; times are UTC seconds."""
    from gateway.backup.running import name

    return {
        "backup": name(manifest),
        "kind": manifest.kind,
        "started_at": manifest.started_at,
        "finished_at": manifest.finished_at,
        "deadline_at": manifest.deadline_at,
        "deadline": deadline(manifest),
        "octets": manifest.octets,
        "added_octets": manifest.added_octets,
        "files": len(manifest.files),
        "messages": manifest.messages,
        "complete_until": manifest.complete_until,
        "last_received_at": manifest.last_received_at,
        "omitted": [{"file": file, "why": why} for file, why in manifest.omitted],
        "problems": list(manifest.problems),
    }


def print_list(manifests: "Sequence[Manifest]") -> None:
    """Print a line a backup."""
    from gateway.backup.running import name

    print_table(
        ("backup", "kind", "began", "took", "deadline", "restores", "stored", "messages", "newest message"),
        [
            (
                name(m),
                m.kind,
                when(m.started_at),
                f"{m.finished_at - m.started_at:.0f} s",
                deadline(m),
                size(m.octets),
                size(m.added_octets),
                str(m.messages),
                when(m.last_received_at) if m.last_received_at else "-",
            )
            for m in manifests
        ],
    )


def deadline(manifest: "Manifest") -> str:
    """Return whether a run kept its deadline."""
    return "met" if manifest.finished_at <= manifest.deadline_at else "missed"


def what_was_saved(manifest: "Manifest") -> str:
    """Return what a run did, in a line."""
    seconds = manifest.finished_at - manifest.started_at
    kind = "full" if manifest.kind == "full" else "an increment"
    stored = f"{kind}, {size(manifest.added_octets)} stored in {seconds:.0f} s"
    return f"{stored}; a restore gives {what_a_restore_gives(manifest)}"


def what_a_restore_gives(manifest: "Manifest") -> str:
    """Return what there is in a backup, in a line."""
    newest = f", the newest of {when(manifest.last_received_at)}" if manifest.last_received_at else ""
    files = f"{len(manifest.files)} files, {size(manifest.octets)}"
    return f"{manifest.messages} messages in custody{newest}, {files}; complete until {when(manifest.complete_until)}"


def when(at: float) -> str:
    """Return a UTC second as date and time."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S}Z"


def size(octets: int) -> str:
    """Return a number of octets as people read it."""
    left, unit = float(octets), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if left < 1024 or unit == "TiB":  # noqa: PLR2004 - the step between units
            break
        left /= 1024
    return f"{left:.0f} {unit}" if unit == "B" else f"{left:.1f} {unit}"
