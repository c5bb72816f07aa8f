"""Folding sightings into incidents: one open case a source, its totals, its days, what it said.

A batch is folded within the transaction that also moves the reader's cursor on, so each verdict counts exactly once.
What is per incident is bounded: of a source that changes its subject with every mail the first ``MAX_TEXTS`` of each
kind are searchable, and the first ``MAX_SENDER_DOMAINS`` are counted.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Self

from gateway.incidents.chain import canonical
from gateway.incidents.states import resumption
from gateway.incidents.values import GROUNDS, FoldOutcome, Sighting, Source, State, printable
from gateway.incidents.words import searchable

if TYPE_CHECKING:
    from gateway.incidents.book import Change

# Of each kind of text and incident: enough to recognise a campaign, and a bound for hostile variety.
MAX_TEXTS = 30
# Of one incident: who makes up a domain for each mail would else fill rankings that are kept for years.
MAX_SENDER_DOMAINS = 1000
# RFC 5322 §2.1.1: a line has 998 characters; longer texts of one field are cut.
MAX_TEXT = 998
# Addresses of one message kept with its sighting; their number is in the evidence.
MAX_RECIPIENTS = 20
# Sightings sealed by one row of the chain; whole batches go when they are old.
BATCH_SIGHTINGS = 1000
_DAY_SECONDS = 86_400.0
# Of one statement; SQLite takes 32,766.
_PARAMETERS = 500

_SIGHTING_COLUMNS = (
    "id, incident, day, at, trace_id, client, helo, reverse_path, recipients, recipient_domain, message_id, subject,"
    " grounds, findings, action, octets, virus"
)
_INSERT_SIGHTING = f"INSERT INTO sighting ({_SIGHTING_COLUMNS}) VALUES ({', '.join('?' * 17)})"  # noqa: S608 - constants
SELECT_SIGHTINGS = f"SELECT {_SIGHTING_COLUMNS} FROM sighting"  # noqa: S608 - constants
_FIND = (
    "SELECT id, state, blocking OR suspending FROM incident"
    " WHERE source_kind = ? AND source_key = ? AND state <> 'closed'"
)
_ADD = (
    "UPDATE incident SET first_seen = min(first_seen, ?), last_seen = max(last_seen, ?), sightings = sightings + ?,"
    " viruses = viruses + ?, octets = octets + ?, advertising = advertising + ?, no_opt_out = no_opt_out + ?,"
    " hidden_sender = hidden_sender + ?, false_source = false_source + ?, harmful = harmful + ? WHERE id = ?"
)
_ACTIVITY = (
    "INSERT INTO activity (period, what, name, sightings, octets) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET sightings = sightings + excluded.sightings, octets = octets + excluded.octets"
)
_DOMAIN = (
    "INSERT INTO domain (domain, role, incident, sightings) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
    " SET sightings = sightings + excluded.sightings"
)
MENTION = "INSERT INTO mention (incident, kind, text, words) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"


def periods(utc: float) -> tuple[str, str, str]:
    """Return the day, ISO week and month (UTC) that an instant counts in: 2026-11-22, 2026-W47, 2026-11."""
    return _periods(int(utc // _DAY_SECONDS))


_KNOWN: dict[int, tuple[str, str, str]] = {}


def _periods(day: int) -> tuple[str, str, str]:
    found = _KNOWN.get(day)
    if found is None:
        if len(_KNOWN) > BATCH_SIGHTINGS:
            _KNOWN.clear()
        when = date.fromordinal(date(1970, 1, 1).toordinal() + day)
        year, week, _ = when.isocalendar()
        found = _KNOWN[day] = (when.isoformat(), f"{year}-W{week:02}", f"{when:%Y-%m}")
    return found


def day_of(utc: float) -> str:
    """Return the UTC day of an instant."""
    return datetime.fromtimestamp(utc, UTC).date().isoformat()


def sightings_digest(rows: Iterable[Sequence[Any]]) -> str:
    """Return the digest that seals sightings, given as stored rows in the order of their numbers."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(canonical(list(row)))
    return digest.hexdigest()


_Alike = tuple[int, int, Source, tuple[str, ...], str, str]
"""What sightings are counted by: incident, day, source, grounds, recipient's and sender's domain."""
_Said = tuple[int, str, str, str, str, tuple[str, ...]]
"""What is searched in: incident, subject, sender, host, virus, recipients."""


@dataclass(slots=True)
class _Sums:
    """What a batch adds up to: sightings and octets a day and name, domains, texts."""

    days: dict[tuple[int, str, str], list[int]] = field(default_factory=dict)
    domains: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    texts: dict[int, dict[tuple[str, str], None]] = field(default_factory=lambda: defaultdict(dict))

    @classmethod
    def of(cls, incidents: Sequence[int], sightings: Sequence[Sighting], senders: Mapping[int, Container[str]]) -> Self:
        """Add sightings up, each given with its incident; a sender's domain where it is one of the incident's.

        Those of a campaign differ in little, so what is alike is counted first.
        """
        alike: dict[_Alike, list[int]] = {}
        said: dict[_Said, None] = {}
        for incident, each in zip(incidents, sightings, strict=True):
            day, sender = int(each.at // _DAY_SECONDS), _sender_domain(each)
            key = incident, day, each.source, each.grounds, each.recipient_domain, sender
            found = alike.get(key)
            if found is None:
                alike[key] = [1, each.octets]
            else:
                found[0] += 1
                found[1] += each.octets
            said[incident, each.subject, each.reverse_path, each.helo, each.virus, each.recipients] = None
        sums = cls()
        for key, (count, octets) in alike.items():
            sums._add(key, count, octets, senders[key[0]])
        for incident, subject, reverse_path, helo, virus, recipients in said:
            texts = sums.texts[incident]
            texts["subject", subject] = texts["sender", reverse_path] = texts["host", helo] = None
            texts["virus", virus] = None
            for address in recipients:
                texts["recipient", address] = None
        return sums

    def _add(self, alike: _Alike, count: int, octets: int, senders: Container[str]) -> None:
        incident, day, source, grounds, domain, sender = alike
        self._count((day, "source", str(source)), count, octets)
        for ground in grounds:
            self._count((day, "ground", ground), count, octets)
        if domain:
            self._count((day, "recipient-domain", domain), count, octets)
            self.domains[domain, "recipient", incident] += count
        if sender in senders:
            self._count((day, "sender-domain", sender), count, octets)
            self.domains[sender, "sender", incident] += count

    def _count(self, key: tuple[int, str, str], count: int, octets: int) -> None:
        found = self.days.get(key)
        if found is None:
            self.days[key] = [count, octets]
        else:
            found[0] += count
            found[1] += octets

    def activity(self) -> list[tuple[str, str, str, int, int]]:
        """Return the rows of days, weeks and months, in the order of their keys."""
        found: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
        for (day, what, name), (sightings, octets) in self.days.items():
            for period in _periods(day):
                sums = found[what, period, name]
                sums[0] += sightings
                sums[1] += octets
        return [(period, what, name, sums[0], sums[1]) for (what, period, name), sums in sorted(found.items())]


class Folder:
    """Folds one batch within a change."""

    def __init__(self, change: "Change", lookup: Callable[[str], tuple[int, str] | None]) -> None:
        self._change, self._lookup = change, lookup
        self._opened: list[int] = []
        self._resumed: list[int] = []

    def fold(self, sightings: Sequence[Sighting]) -> FoldOutcome:
        """Fold sightings in their order."""
        clean = [_cleaned(sighting) for sighting in sightings]
        by_source: dict[Source, list[Sighting]] = defaultdict(list)
        for sighting in clean:
            by_source[sighting.source].append(sighting)
        numbers = {source: self._take(source, group) for source, group in by_source.items()}
        incidents = [numbers[sighting.source] for sighting in clean]
        self._store(incidents, clean)
        self._store_sums(_Sums.of(incidents, clean, self._senders(incidents, clean)))
        return FoldOutcome(
            sightings=len(clean),
            incidents=tuple(dict.fromkeys(incidents)),
            opened=tuple(self._opened),
            resumed=tuple(self._resumed),
        )

    def _take(self, source: Source, group: Sequence[Sighting]) -> int:
        """Return the incident of a source, its totals brought up to date."""
        first, last = min(each.at for each in group), max(each.at for each in group)
        found = self._change.execute(_FIND, (source.kind.value, source.key))
        if found:
            number = int(found[0][0])
            after = resumption(State(found[0][1]), held=bool(found[0][2]))
            if after is not None:
                self._change.resume(number, after)
                self._resumed.append(number)
        else:
            number = self.open(source, first)
        counts = Counter(ground for each in group for ground in each.grounds)
        self._change.execute(
            _ADD,
            (
                first,
                last,
                len(group),
                sum(1 for each in group if each.virus),
                sum(each.octets for each in group),
                *(counts[ground] for ground in GROUNDS),
                number,
            ),
        )
        return number

    def open(self, source: Source, first: float) -> int:
        """Open a source's incident; one that it had before is named."""
        change = self._change
        before = change.execute(
            "SELECT max(id) FROM incident WHERE source_key = ? AND source_kind = ?", (source.key, source.kind.value)
        )
        known = self._lookup(source.key)
        asn, network = known or (None, "")
        number = change.insert(
            "INSERT INTO incident (source_kind, source_key, address, asn, network, state_since, opened_at, first_seen,"
            " last_seen, previous) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                source.kind.value,
                source.key,
                address_octets(source.key),
                asn,
                network,
                change.at,
                change.at,
                first,
                first,
                before[0][0],
            ),
        )
        facts: dict[str, object] = {"source_kind": source.kind.value, "source_key": source.key, "first_seen": first}
        if before[0][0] is not None:
            facts["previous"] = before[0][0]
        change.record("opened", number, facts)
        self._opened.append(number)
        return number

    def _store(self, incidents: Sequence[int], sightings: Sequence[Sighting]) -> None:
        found = self._change.execute("SELECT seq FROM sqlite_sequence WHERE name = 'sighting'")
        first = int(found[0][0]) + 1 if found else 1
        rows = [_row(first + place, incidents[place], each) for place, each in enumerate(sightings)]
        self._change.execute_many(_INSERT_SIGHTING, rows)
        for start in range(0, len(rows), BATCH_SIGHTINGS):
            batch = rows[start : start + BATCH_SIGHTINGS]
            counts = sorted(Counter(row[1] for row in batch).items())
            bounds = {"first": batch[0][0], "last": batch[-1][0], "sightings": sightings_digest(batch)}
            number = self._change.record("folded", None, bounds | {"counts": counts})
            until = max(row[3] for row in batch)
            self._change.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (batch[0][0], batch[-1][0], until, number))

    def _senders(self, numbers: Sequence[int], sightings: Sequence[Sighting]) -> dict[int, set[str]]:
        """Return the sender domains of each incident that count: the first so many that it ever had."""
        said: dict[int, dict[str, None]] = defaultdict(dict)
        for number, each in zip(numbers, sightings, strict=True):
            said[number][_sender_domain(each)] = None
        known: dict[int, set[str]] = {incident: set() for incident in said}
        incidents = list(said)
        for start in range(0, len(incidents), _PARAMETERS):
            some = incidents[start : start + _PARAMETERS]
            marks = ", ".join("?" * len(some))
            asked = f"SELECT incident, domain FROM domain WHERE incident IN ({marks}) AND role = 'sender'"  # noqa: S608 - marks
            for incident, domain in self._change.execute(asked, some):
                known[incident].add(domain)
        for incident, domains in said.items():
            fresh = [each for each in domains if each and each not in known[incident]]
            known[incident].update(fresh[: max(0, MAX_SENDER_DOMAINS - len(known[incident]))])
        return known

    def _store_sums(self, sums: _Sums) -> None:
        self._change.execute_many(_ACTIVITY, sums.activity())
        self._change.execute_many(_DOMAIN, [(*key, count) for key, count in sorted(sums.domains.items())])
        incidents = list(sums.texts)
        for start in range(0, len(incidents), _PARAMETERS):
            self._mention({number: sums.texts[number] for number in incidents[start : start + _PARAMETERS]})

    def _mention(self, texts: Mapping[int, Iterable[tuple[str, str]]]) -> None:
        """Make texts searchable, up to the bound of each kind."""
        have: Counter[tuple[int, str]] = Counter()
        marks = ", ".join("?" * len(texts))
        counted = f"SELECT incident, kind, count(*) FROM mention WHERE incident IN ({marks}) GROUP BY incident, kind"  # noqa: S608 - marks
        for incident, kind, count in self._change.execute(counted, tuple(texts)):
            have[incident, kind] = count
        rows = []
        for incident, pairs in texts.items():
            for kind, text in pairs:
                if text and have[incident, kind] < MAX_TEXTS:
                    have[incident, kind] += 1
                    rows.append((incident, kind, text, searchable(text)))
        self._change.execute_many(MENTION, rows)


def _sender_domain(sighting: Sighting) -> str:
    return _domain_of(sighting.reverse_path)


@lru_cache(maxsize=1024)
def _domain_of(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _cleaned(sighting: Sighting) -> Sighting:
    """Return a sighting whose texts can be stored, and are no longer than they need to be."""
    if _is_clean(sighting):
        return sighting
    return Sighting(
        trace_id=_text(sighting.trace_id),
        at=float(sighting.at),
        source=Source(sighting.source.kind, _text(sighting.source.key)),
        client=_text(sighting.client),
        helo=_text(sighting.helo),
        reverse_path=_text(sighting.reverse_path),
        recipients=tuple(_text(each) for each in sighting.recipients[:MAX_RECIPIENTS]),
        recipient_domain=_text(sighting.recipient_domain).lower(),
        message_id=_text(sighting.message_id),
        subject=_text(sighting.subject),
        grounds=_in_order(tuple(sighting.grounds)),
        findings=tuple(_text(each) for each in sighting.findings),
        action=_text(sighting.action),
        octets=int(sighting.octets),
        virus=_text(sighting.virus),
    )


def _is_clean(sighting: Sighting) -> bool:
    """Whether there is nothing to clean, as nearly always: all texts are looked at as one."""
    told = (sighting.trace_id, sighting.source.key, sighting.client, sighting.helo, sighting.reverse_path)
    found = (sighting.recipient_domain, sighting.message_id, sighting.subject, sighting.action, sighting.virus)
    together = "".join((*told, *found, *sighting.recipients, *sighting.findings))
    return (
        len(together) <= MAX_TEXT
        and together.isprintable()
        and len(sighting.recipients) <= MAX_RECIPIENTS
        and sighting.grounds == _in_order(sighting.grounds)
        and sighting.recipient_domain == sighting.recipient_domain.lower()
        # As SQLite gives them back, or the digest would be another.
        and type(sighting.at) is float
        and type(sighting.octets) is int
    )


@lru_cache(maxsize=256)
def _in_order(grounds: tuple[str, ...]) -> tuple[str, ...]:
    return tuple([each for each in GROUNDS if each in grounds])


def _text(text: str) -> str:
    if text.isprintable() and len(text) <= MAX_TEXT:
        return text
    return printable(text)[:MAX_TEXT].replace("\n", " ")


def _row(number: int, incident: int, sighting: Sighting) -> tuple[Any, ...]:
    return (
        number,
        incident,
        periods(sighting.at)[0],
        sighting.at,
        sighting.trace_id,
        sighting.client,
        sighting.helo,
        sighting.reverse_path,
        "\n".join(sighting.recipients),
        sighting.recipient_domain,
        sighting.message_id,
        sighting.subject,
        " ".join(sighting.grounds),
        "\n".join(sighting.findings),
        sighting.action,
        sighting.octets,
        sighting.virus,
    )


def address_octets(key: str) -> bytes | None:
    """Return a source key's first address as 16 octets, IPv4 mapped (RFC 4291 §2.5.5.2); None for no network."""
    try:
        network = ip_network(key, strict=False)
    except ValueError:
        return None
    packed = network.network_address.packed
    return packed if len(packed) == 16 else b"\0" * 10 + b"\xff\xff" + packed  # noqa: PLR2004 - octets of IPv6
