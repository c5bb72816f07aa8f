"""How long virus signatures stayed the same in a month (contract.md §5), from the scanners' history.

A version counts with the age it had when the month began. A scanner that was not seen any more while another one was,
for more than RETIRED_SECONDS, is taken to be out of service: its signatures count until it was last seen. While no
scanner answers, the last ones grow old.
"""

from collections.abc import Iterable
from itertools import pairwise
from math import inf
from pathlib import Path

from gateway.antivirus.history import FILE_NAME, SEEN_AGAIN_SECONDS
from gateway.servicelevel.evidence import Signatures
from gateway.servicelevel.interval import Interval
from gateway.storage import open_readonly

RETIRED_SECONDS = 86_400.0

_CHANGES = "SELECT seen_at, scanner FROM signature_change WHERE seen_at < ? ORDER BY seen_at"
_LAST_SEEN = "SELECT scanner, last_seen_at FROM signature_state"


def signatures(data: Path, span: Interval) -> Signatures | None:
    """Return what is known of a month as far as it has come; None when no scanner was seen in it; StorageError."""
    path = data / "antivirus" / FILE_NAME
    if not path.exists():
        return None
    with open_readonly(path) as database:
        rows = database.read(_CHANGES, (span[1],))
        last_seen = {str(scanner): float(at) for scanner, at in database.read(_LAST_SEEN)}
    by_scanner: dict[str, list[float]] = {}
    for seen_at, scanner in rows:
        by_scanner.setdefault(scanner, []).append(seen_at)
    newest = max(last_seen.values(), default=0.0)
    found = [
        _of_scanner(seen, _in_service_until(last_seen.get(scanner, seen[-1]), newest), span)
        for scanner, seen in by_scanner.items()
    ]
    return _together(each for each in found if each is not None)


def _in_service_until(last_seen: float, newest: float) -> float:
    return last_seen + SEEN_AGAIN_SECONDS if newest - last_seen > RETIRED_SECONDS else inf


def _of_scanner(seen: list[float], in_service_until: float, span: Interval) -> Signatures | None:
    start, end = span
    until = min(end, in_service_until)
    if until <= start:
        return None
    changes = [at for at in seen if at >= start]
    edges = [*[at for at in seen if at < start][-1:], *changes, max(until, *changes[-1:], start)]
    return Signatures(changes=len(changes), longest_seconds=max(later - sooner for sooner, later in pairwise(edges)))


def _together(found: Iterable[Signatures]) -> Signatures | None:
    every = list(found)
    if not every:
        return None
    return Signatures(
        changes=sum(each.changes for each in every), longest_seconds=max(each.longest_seconds for each in every)
    )
