"""All local lists as one process sees them: look-ups over every list, allow lists first, replaced while they are read.

``refresh`` costs one stat when nothing changed; when the manifest did, what changed is mapped and the whole set is
swapped at once: a look-up sees the old lists or the new ones. Compiled files that are damaged or gone make their list
unusable, which an answer says; the keeper compiles them anew.

An allow list wins. Listed there, the client's address or verified name, the reverse-path and the author speak for the
whole message; any other identity (a URL, a HELO name) speaks only for itself, since the sender of a message chooses
which others to mention.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gateway.blocklist.listing import Identity, Listing, ListKind
from gateway.blocklist.local import manifest
from gateway.blocklist.local.manifest import ManifestError, Served, read_manifest
from gateway.blocklist.local.mapped import Found, MappedList, TornListError
from gateway.blocklist.local.question import Question
from gateway.policy.action import Action

FOLDER = "blocklists"
# What a list is asked about that names no identities. Name servers cost a question to DNS for each mail, and recipients
# are our own: a list that means them says so.
USUAL_IDENTITIES = frozenset(Identity) - {Identity.NAME_SERVER, Identity.RECIPIENT}
AT_CONNECT = "connect"
WHOLE_MESSAGE = frozenset({Identity.CLIENT, Identity.CLIENT_NAME, Identity.REVERSE_PATH, Identity.AUTHOR})


@dataclass(frozen=True, slots=True)
class Answer:
    """What all lists say to some questions: every listing, and the lists that could not answer, with the reason."""

    listings: tuple[Listing, ...] = ()
    unusable: tuple[tuple[str, str], ...] = ()

    @property
    def allowed(self) -> tuple[Listing, ...]:
        """The listings on allow lists."""
        return tuple(each for each in self.listings if each.kind is ListKind.ALLOW)

    @property
    def message_allowed(self) -> Listing | None:
        """The allow listing that speaks for the whole message."""
        return next((each for each in self.allowed if each.of in WHOLE_MESSAGE), None)

    @property
    def blocked(self) -> tuple[Listing, ...]:
        """The listings on block lists that no allow list takes back."""
        if self.message_allowed is not None:
            return ()
        free = {(each.of, each.identity) for each in self.allowed}
        return tuple(
            each for each in self.listings if each.kind is ListKind.BLOCK and (each.of, each.identity) not in free
        )


NOTHING = Answer()


@dataclass(frozen=True, slots=True)
class _List:
    served: Served
    action: Action | None
    identities: frozenset[Identity]
    compiled: MappedList | None
    additions: MappedList | None
    fault: str = ""
    torn: bool = False

    @property
    def _parts(self) -> tuple[MappedList, ...]:
        return tuple(part for part in (self.compiled, self.additions) if part is not None)

    @property
    def is_empty(self) -> bool:
        return all(part.is_empty for part in self._parts)

    @property
    def names_clients(self) -> bool:
        """Whether the client's name may be in it."""
        return Identity.CLIENT_NAME in self.identities and any(part.head.names for part in self._parts)

    @property
    def names_senders(self) -> bool:
        """Whether the reverse-path may be in it."""
        has = any(part.head.names or part.head.mailboxes for part in self._parts)
        return Identity.REVERSE_PATH in self.identities and has


# The keeper writes a manifest, then removes what only the one before it named; more than twice in a row is a bug.
_ATTEMPTS = 5


class LocalLists:
    """The lists under ``data/blocklists``; ``refresh`` before the first look-up, then whenever there may be news."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER
        self._lists: tuple[_List, ...] = ()
        self._wanted: frozenset[Identity] = frozenset()
        self._stamp: tuple[int, int, int] | None = None
        self.undeclared: tuple[str, ...] = ()
        # Whether there is nothing to look up, and nothing that fails to be looked up.
        self.is_empty = True
        # Whether some list may have a client's name: then it is worth a question to DNS.
        self.names_clients = False
        # Whether an allow list may have a client's name or a reverse-path: then a listing of the address is not the
        # last word at the connection, where neither is known.
        self.may_allow_later = False

    @property
    def served(self) -> tuple[Served, ...]:
        """What the manifest says of each list."""
        return tuple(each.served for each in self._lists)

    @property
    def faults(self) -> tuple[tuple[str, str], ...]:
        """The lists whose compiled files cannot be used, and why."""
        return tuple((each.served.name, each.fault) for each in self._lists if each.fault)

    def source_of(self, name: str) -> MappedList | None:
        """Return what a list's source says, without what operators added and took off; None for nothing."""
        return next((each.compiled for each in self._lists if each.served.name == name), None)

    def wants(self, *identities: Identity) -> bool:
        """Whether a list has entries and is asked about one of these identities."""
        return not self._wanted.isdisjoint(identities)

    @property
    def is_behind(self) -> bool:
        """Whether there may be news to take over; one stat, a microsecond."""
        return _stamp(self.folder / manifest.FILE) != self._stamp

    def refresh(self) -> bool:
        """Take over what the keeper wrote; return whether anything did change."""
        changed = False
        for _ in range(_ATTEMPTS):
            stamp = _stamp(self.folder / manifest.FILE)
            if stamp == self._stamp:
                break
            try:
                served, undeclared = read_manifest(self.folder)
            except ManifestError:
                # Nothing was ever kept here, or what was is gone: those that are mapped serve on.
                break
            lists = self._all_opened(served)
            if any(each.torn for each in lists) and _stamp(self.folder / manifest.FILE) != stamp:
                # The keeper went on meanwhile, and took away what this manifest names.
                continue
            self._take_over(lists)
            self._stamp, self.undeclared, changed = stamp, undeclared, True
            break
        return changed

    def _take_over(self, lists: tuple[_List, ...]) -> None:
        self._wanted = frozenset(of for each in lists if not each.is_empty for of in each.identities)
        self.is_empty = not self._wanted and not any(each.fault for each in lists)
        self.names_clients = any(each.names_clients for each in lists)
        self.may_allow_later = any(
            each.served.kind is ListKind.ALLOW and (each.names_clients or each.names_senders) for each in lists
        )
        self._lists = lists

    def _all_opened(self, served: tuple[Served, ...]) -> tuple[_List, ...]:
        before = {each.served.compiled: each.compiled for each in self._lists if each.compiled is not None}
        before |= {each.served.additions: each.additions for each in self._lists if each.additions is not None}
        return tuple(self._opened(each, before) for each in served)

    def _opened(self, served: Served, before: dict[str, MappedList]) -> _List:
        fault, torn = "" if served.usable else served.message or served.state, False
        mapped: dict[str, MappedList | None] = {"": None}
        for name in (served.compiled, served.additions):
            try:
                mapped[name] = mapped.get(name) or (before.get(name) or self._open(name) if name else None)
            except (TornListError, OSError) as error:
                mapped[name], fault, torn = None, str(error), True
        action = Action[served.action.upper()] if served.action else None
        identities = frozenset(served.identities) or USUAL_IDENTITIES
        return _List(served, action, identities, mapped[served.compiled], mapped[served.additions], fault, torn)

    def _open(self, name: str) -> MappedList:
        return MappedList.open(self.folder / name)

    def look_up(self, questions: Iterable[Question], now: float) -> Answer:
        """Return what every list says about the identities that it is asked about; ``now`` is UTC seconds."""
        asked = list(questions)
        return self._answer(((each, [q for q in asked if q.of in each.identities]) for each in self._lists), now)

    def look_up_at_door(self, questions: Iterable[Question], now: float) -> Answer:
        """As ``look_up``, while no recipient is named: block lists that wait for one are left out."""
        asked = list(questions)
        at_door = (each for each in self._lists if each.served.door == AT_CONNECT or each.served.kind is ListKind.ALLOW)
        return self._answer(((each, [q for q in asked if q.of in each.identities]) for each in at_door), now)

    def anywhere(self, question: Question, now: float) -> Answer:
        """Return what every list says about an identity, whichever kind it is of: for people who ask."""
        return self._answer(((each, [question]) for each in self._lists), now)

    def _answer(self, asked: Iterable[tuple[_List, list[Question]]], now: float) -> Answer:
        listings: list[Listing] = []
        unusable: list[tuple[str, str]] = []
        for each, questions in asked:
            served = each.served
            if served.until is not None and served.until <= now:
                continue
            if each.fault:
                unusable.append((served.name, each.fault))
            for question in questions:
                found = _speaking(each, question, now)
                if found is not None:
                    listings.append(_listing(each, question, found))
        return Answer(tuple(listings), tuple(unusable)) if listings or unusable else NOTHING


def _speaking(each: _List, question: Question, now: float) -> Found | None:
    """Return what an operator added or took off, which goes before what the source says."""
    for part in (each.additions, each.compiled):
        found = part.find(question, now) if part is not None else None
        if found is not None:
            return None if found.fact.excluded else found
    return None


def _listing(each: _List, question: Question, found: Found) -> Listing:
    served, fact = each.served, found.fact
    until = min((end for end in (fact.until, served.until) if end is not None), default=None)
    return Listing(
        list=served.name,
        entry=found.entry,
        reason=found.reason or served.reason,
        since=fact.since if fact.since is not None else served.applied,
        until=until,
        kind=served.kind,
        weight=served.weight,
        action=each.action,
        value=fact.value,
        identity=question.text,
        of=question.of,
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - on every tick of every worker; Path.stat costs twice as much
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
