"""One walk through an archive and the archives in it, depth first; runs in the child, and in tests."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from types import ModuleType

from gateway.antivirus.archive.budget import Budget, LimitReachedError
from gateway.antivirus.archive.kinds import kinds_of
from gateway.antivirus.archive.member import Member
from gateway.antivirus.archive.names import shown
from gateway.antivirus.archive.report import ArchiveEntry, ArchiveLimits, ArchiveReport
from gateway.antivirus.archive.tnef import read_tnef
from gateway.antivirus.archive.zips import read_embedded, read_zip
from gateway.mail.filetype import inspect


class Walk:
    """Collects what one archive holds; ``passwords`` are tried on encrypted zips."""

    def __init__(self, limits: ArchiveLimits, passwords: Sequence[str], monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._passwords = tuple(passwords)
        self._monotonic = monotonic
        self._name = ""
        self._entries: list[ArchiveEntry] = []
        self._damaged = ""
        self._ambiguous: set[str] = set()

    def run(self, octets: bytes, name: str = "") -> ArchiveReport:
        """Return what is inside; whatever happens, a report."""
        self._name = name
        kinds = kinds_of(octets)
        budget = Budget(self._limits, len(octets), self._monotonic)
        limit = ""
        try:
            self._into(octets, (), budget, opaque=False)
        except LimitReachedError as reached:
            limit = str(reached)
        except MemoryError:
            limit = "memory"
        except RecursionError:
            limit = "depth"
        return ArchiveReport(
            kinds=kinds,
            entries=tuple(self._entries),
            limit=limit,
            damaged=self._damaged,
            ambiguous=tuple(sorted(self._ambiguous)),
            seconds=budget.seconds,
        )

    def _into(self, octets: bytes, path: tuple[str, ...], budget: Budget, *, opaque: bool) -> None:
        kinds = kinds_of(octets)
        if not kinds:
            return
        budget.enter(len(path))
        if len(kinds) > 1:
            self._ambiguous.add("archive-kinds")
        for kind in kinds:
            for member in self._members(octets, kind, budget):
                # Beside another kind, the second one may be what a scanner does not look for.
                self._take(member, path, budget, opaque=opaque or member.opaque or kind != kinds[0])

    def _members(self, octets: bytes, kind: str, budget: Budget) -> Iterator[Member]:
        if kind == "zip":
            yield from self._zip(octets, budget)
        elif kind == "embedded-zip":
            yield from read_embedded(octets, budget)
        elif kind == "tnef":
            yield from read_tnef(octets, budget)
        else:
            yield from _libarchive().read_archive(octets, kind, budget)

    def _zip(self, octets: bytes, budget: Budget) -> Iterator[Member]:
        locked = []
        for member in read_zip(octets, budget):
            if member.encrypted:
                locked.append(member)
            else:
                yield member
        if not locked:
            return
        opened = {member.name: member for member in self._unlocked(octets, budget)}
        for member in locked:
            # One that no directory lists stays locked: libarchive has not read it.
            yield opened.get(member.name, member) if not member.hidden else member

    def _unlocked(self, octets: bytes, budget: Budget) -> list[Member]:
        return _libarchive().unlock_zip(octets, self._passwords, budget) if self._passwords else []

    def _take(self, member: Member, path: tuple[str, ...], budget: Budget, *, opaque: bool) -> None:
        # A compressed stream's content has the stream's name without its ending.
        outer = path[-1] if path else self._name
        inner = (*path, shown(member.name or outer.rpartition(".")[0] or "content"))
        if member.damaged and not self._damaged:
            self._damaged = f"{'/'.join(inner)}: {member.damaged}"
        if member.ambiguous:
            self._ambiguous.add(member.ambiguous)
        if member.hidden:
            self._ambiguous.add("zip-hidden")
        if member.octets is None and not member.encrypted:
            return
        if member.octets is not None and len(member.octets) > self._limits.entry_octets:
            raise LimitReachedError("entry")
        self._entries.append(_entry(member, inner, budget, opaque=opaque))
        if member.octets:
            self._into(member.octets, inner, budget, opaque=opaque)


def _libarchive() -> ModuleType:
    """Return our reader; a machine without libarchive can do plain zips only, and says so of everything else."""
    try:
        return import_module("gateway.antivirus.archive.reader")
    except (ImportError, OSError, AttributeError, TypeError) as error:
        # What libarchive-c raises depends on how the library is missing.
        raise LimitReachedError("unavailable") from error


def _entry(member: Member, path: tuple[str, ...], budget: Budget, *, opaque: bool) -> ArchiveEntry:
    octets = member.octets
    if octets is not None and opaque:
        budget.carried(len(octets))
    # By the name as it is: what is shown has escapes for what turns its direction.
    facts = inspect(octets or b"", member.name or path[-1])
    return ArchiveEntry(
        path=path,
        size=len(octets or b""),
        kind=facts.kind,
        executable=facts.executable,
        macros=facts.macros,
        deceptive=facts.double_extension or facts.rtl_override or facts.trailing,
        encrypted=member.encrypted or facts.encrypted,
        unlocked=member.unlocked,
        hidden=member.hidden,
        octets=octets if opaque else None,
    )
