"""One walk through an archive and the archives in it, depth first; runs in the child, and in tests."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from importlib import import_module
from types import ModuleType

from gateway.antivirus.archive.beginnings import beginnings, may_go_on
from gateway.antivirus.archive.budget import Budget, LimitReachedError
from gateway.antivirus.archive.kinds import SHUT_DOCUMENTS, is_shut_document, kinds_of
from gateway.antivirus.archive.member import Member
from gateway.antivirus.archive.names import shown
from gateway.antivirus.archive.report import ArchiveEntry, ArchiveLimits, ArchiveReport
from gateway.antivirus.archive.tnef import read_tnef
from gateway.antivirus.archive.zips import read_embedded, read_zip
from gateway.mail.filetype import FileFacts, inspect
from gateway.mail.filetype.risks import risks

# Of the kinds that begin within other octets.
_EMBEDDED = "embedded-"
_ALSO_WITHIN = frozenset({"rar", "7z"})
# By so many octets an archive is known again in what it was packed into: 7z's signature header, with its sum.
_HEAD_OCTETS = 32


class Walk:
    """Collects what one archive holds; ``passwords`` are tried on what is encrypted."""

    def __init__(self, limits: ArchiveLimits, passwords: Sequence[str], monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._passwords = tuple(passwords)
        self._monotonic = monotonic
        self._name = ""
        self._entries: list[ArchiveEntry] = []
        # What is handed over only when something was unlocked, by the entry's number.
        self._others: dict[int, bytes] = {}
        self._others_octets = 0
        # What was walked so far, by size and digest: it may stand as it is in the archive that it came from.
        self._walked: set[tuple[int, bytes]] = set()
        # How the archives began that came out of what is being walked.
        self._heads: set[bytes] = set()
        self._damaged = ""
        self._ambiguous: set[str] = set()

    def run(self, octets: bytes, name: str = "") -> ArchiveReport:
        """Return what is inside; whatever happens, a report."""
        self._name = name
        kinds = kinds_of(octets)
        facts = inspect(octets, name)
        budget = Budget(self._limits, len(octets), self._monotonic)
        limit = ""
        try:
            self._into(octets, facts, (), budget, opaque=False)
            self._hand_over_all(budget)
        except LimitReachedError as reached:
            limit = str(reached)
        except MemoryError:
            limit = "memory"
        except RecursionError:
            limit = "depth"
        return ArchiveReport(
            kinds=kinds or ((facts.kind,) if is_shut_document(facts) else ()),
            entries=tuple(self._entries),
            limit=limit,
            damaged=self._damaged,
            ambiguous=tuple(sorted(self._ambiguous)),
            seconds=budget.seconds,
        )

    def _hand_over_all(self, budget: Budget) -> None:
        """Hand everything over when something was unlocked: a scanner may have stopped at what it could not open.

        Not where that is too much: then what the scanner said counts (``ArchiveReport.opened``).
        """
        if not any(entry.unlocked for entry in self._entries):
            return
        with suppress(LimitReachedError):
            budget.carried(self._others_octets)
            for number, octets in self._others.items():
                self._entries[number] = replace(self._entries[number], octets=octets, apart=True)

    def _into(self, octets: bytes, facts: FileFacts, path: tuple[str, ...], budget: Budget, *, opaque: bool) -> None:
        kinds = kinds_of(octets)
        if sum(not kind.startswith(_EMBEDDED) for kind in kinds) > 1:
            self._ambiguous.add("archive-kinds")
        if is_shut_document(facts):
            kinds = (*kinds, facts.kind)
        if not kinds:
            return
        budget.enter(len(path))
        if kinds[0] in _ALSO_WITHIN:
            self._note_walked(octets)
        before, self._heads = self._heads, set()
        for kind in kinds:
            for member in self._members(octets, kind, budget):
                if kind.startswith(_EMBEDDED) and not kinds[0].startswith(_EMBEDDED):
                    self._ambiguous.add("archive-kinds")
                # Beside another kind, the second one may be what a scanner does not look for.
                self._take(member, path, budget, opaque=opaque or member.opaque or kind != kinds[0])
        if kinds[0] in _ALSO_WITHIN:
            self._heads.add(octets[:_HEAD_OCTETS])
        self._heads |= before

    def _members(self, octets: bytes, kind: str, budget: Budget) -> Iterator[Member]:
        if kind == "zip":
            yield from self._zip(octets, budget)
        elif kind == "embedded-zip":
            yield from read_embedded(octets, budget)
        elif kind.startswith(_EMBEDDED):
            yield from self._embedded(octets, kind, budget)
        elif kind == "mail":
            yield from _door("mails").read_mail(octets, budget)
        elif kind == "tnef":
            yield from read_tnef(octets, budget)
        elif kind in SHUT_DOCUMENTS:
            yield from _door("documents").read_document(octets, kind, self._passwords, budget)
        elif kind == "7z":
            yield from self._seven_zip(octets, budget)
        else:
            yield from _door("reader").read_archive(octets, kind, budget)

    def _embedded(self, octets: bytes, kind: str, budget: Budget) -> Iterator[Member]:
        """Yield what archives hold that begin within the octets, but those that were walked as entries of these."""
        heads = set()
        for at in beginnings(octets, kind):
            budget.entry()
            if self._was_walked(octets, at, budget):
                continue
            archive = octets[at:]
            head = archive[:_HEAD_OCTETS]
            members = self._members(archive, kind.removeprefix(_EMBEDDED), budget)
            if head in self._heads:
                members = iter(_sound(members, budget))
            else:
                self._note_walked(archive)
            for member in members:
                yield replace(member, opaque=True)
            heads.add(head)
        self._heads |= heads

    def _note_walked(self, octets: bytes) -> None:
        self._walked.add((len(octets), sha256(octets).digest()))

    def _was_walked(self, octets: bytes, at: int, budget: Budget) -> bool:
        """Tell whether exactly what begins there was walked before; where a reader may go on, it was not."""
        for size, digest in self._walked:
            budget.tick()
            if sha256(octets[at : at + size]).digest() == digest and not may_go_on(octets, at + size):
                return True
        return False

    def _zip(self, octets: bytes, budget: Budget) -> Iterator[Member]:
        locked = []
        for member in read_zip(octets, budget):
            if member.encrypted:
                locked.append(member)
            else:
                yield member
        if not locked:
            return
        opened: defaultdict[str, deque[Member]] = defaultdict(deque)
        for member in self._unlocked(octets, budget):
            opened[member.name].append(member)
        for member in locked:
            # One that no directory lists stays locked: libarchive has not read it. Several may have one name.
            found = opened[member.name] if not member.hidden else None
            yield found.popleft() if found else member

    def _unlocked(self, octets: bytes, budget: Budget) -> list[Member]:
        return _door("reader").unlock_zip(octets, self._passwords, budget) if self._passwords else []

    def _seven_zip(self, octets: bytes, budget: Budget) -> Iterator[Member]:
        locked = []
        for member in _door("reader").read_archive(octets, "7z", budget):
            if member.encrypted:
                locked.append(member)
            else:
                yield member
        if locked:
            # All entries again, not only those that were locked: libarchive may have ended at the first.
            opened = _door("seven_zips").unlock_7z(octets, self._passwords, budget) if self._passwords else ()
            yield from opened or locked

    def _take(self, member: Member, path: tuple[str, ...], budget: Budget, *, opaque: bool) -> None:
        # A compressed stream's content has the stream's name without its ending; what is shut, or was, keeps its own.
        outer = path[-1] if path else self._name
        name = member.name or (outer if member.encrypted else outer.rpartition(".")[0])
        inner = (*path, shown(name or "content"))
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
        if member.octets is not None and opaque:
            budget.carried(len(member.octets))
        # By the name as it is: what is shown has escapes for what turns its direction.
        name = member.name or inner[-1]
        facts = inspect(member.octets or b"", name)
        if member.octets and not opaque:
            self._remember(member.octets)
        self._entries.append(_entry(member, inner, name, facts, opaque=opaque))
        if member.octets:
            self._into(member.octets, facts, inner, budget, opaque=opaque)

    def _remember(self, octets: bytes) -> None:
        self._others_octets += len(octets)
        if self._others_octets <= self._limits.carried_octets:
            self._others[len(self._entries)] = octets
        else:
            self._others.clear()


def _sound(found: Iterator[Member], budget: Budget) -> list[Member]:
    """Return the members of an archive that begins as one that came out of the octets around it, [] of half a one.

    What does not shrink stands in a zip, a gzip or an xz as it is, but with some octets between every 64 KB: that is
    the entry again, spoiled, and what is to be said of the entry was said of it.
    """
    with budget.trial():
        members = list(found)
    if any(member.damaged or member.encrypted for member in members):
        return []
    for member in members:
        budget.unpacked(len(member.octets or b""))
    return members


def _door(module: str) -> ModuleType:
    """Return our reader of that name; a machine without its library can do plain zips only, and says so of the rest."""
    try:
        return import_module(f"gateway.antivirus.archive.{module}")
    except (ImportError, OSError, AttributeError, TypeError) as error:
        # What libarchive-c raises depends on how the library is missing.
        raise LimitReachedError("unavailable") from error


def _entry(member: Member, path: tuple[str, ...], name: str, facts: FileFacts, *, opaque: bool) -> ArchiveEntry:
    octets = member.octets
    # Of an archive or document within, the walk into it tells whether something stays shut.
    shut_by_itself = facts.encrypted and not facts.archive and not is_shut_document(facts)
    return ArchiveEntry(
        path=path,
        size=len(octets or b""),
        kind=facts.kind,
        risks=tuple(risks(octets or b"", facts, (name,))),
        macros=facts.macros,
        encrypted=member.encrypted or shut_by_itself,
        unlocked=member.unlocked and not shut_by_itself,
        hidden=member.hidden,
        apart=opaque and octets is not None,
        octets=octets if opaque else None,
    )
