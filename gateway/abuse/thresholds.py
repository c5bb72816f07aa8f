"""Confirmed by technique (contract.md §4 a): when what was seen of a source is more than a wrong judgement.

Each policy has its own thresholds, and counts what it judged itself: so many spam verdicts, or messages with viruses,
about one source within its window. A local sender is confirmed by the node's ``incidents.local.spam``, whoever the
recipients were.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gateway.config.snapshot import Snapshot
from gateway.config.units import format_duration
from gateway.incidents.book import Change
from gateway.incidents.values import Incident
from gateway.policy.incident_terms import IncidentTerms

# Of one source looked through, 20 ms: more than any threshold, and a bound for one that sends a thousand a second.
MOST_LOOKED_AT = 20_000
_COUNTS = """
SELECT recipient_domain, count(*), sum(virus <> '')
FROM (SELECT recipient_domain, virus, at FROM sighting WHERE incident = ? ORDER BY id DESC LIMIT ?)
WHERE at >= ? GROUP BY recipient_domain"""
_COUNT = """
SELECT count(*) FROM (SELECT at FROM sighting WHERE incident = ? ORDER BY id DESC LIMIT ?) WHERE at >= ?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """Why an incident is confirmed; ``blocks`` where that policy wants a confirmed source blocked at once."""

    reason: str
    blocks: bool = False


class Thresholds:
    """The thresholds of one configuration."""

    def __init__(self, snapshot: Snapshot) -> None:
        policies = snapshot.policies
        self._default = policies.default.name, policies.default.incidents
        self._terms: Mapping[str, tuple[str, IncidentTerms]] = {
            domain: (policy.name, policy.incidents) for domain, policy in policies.by_domain.items()
        }
        self._local = snapshot.config.incidents.local
        windows = {terms.window_seconds for _, terms in (*self._terms.values(), self._default)}
        self._windows = sorted(windows)
        highest = max(terms.confirm for _, terms in (*self._terms.values(), self._default))
        self._most = max(MOST_LOOKED_AT, 2 * highest)

    def may_block(self, domains: Iterable[str]) -> bool:
        """Whether a policy of one of these recipients' domains blocks what it confirms."""
        return any(self._terms.get(domain, self._default)[1].block for domain in domains)

    def may_confirm(self, domains: Iterable[str], spam: int, viruses: int) -> bool:
        """Whether so many verdicts about one source could have it blocked by a policy of one of these domains."""
        found = (self._terms.get(domain, self._default)[1] for domain in domains)
        return any(terms.block and (spam >= terms.confirm or viruses >= terms.confirm_virus) for terms in found)

    def judge(self, change: Change, incident: Incident) -> Confirmation | None:
        """Return what confirms an incident, within the change that folded into it; one that blocks goes first."""
        if incident.source.kind.is_ours:
            return self._judge_local(change, incident)
        found = list(self._confirming(change, incident))
        return next((each for each in found if each.blocks), found[0] if found else None)

    def _judge_local(self, change: Change, incident: Incident) -> Confirmation | None:
        limit = self._local.spam
        rows = change.execute(
            _COUNT, (incident.id, max(MOST_LOOKED_AT, limit.count), _since(incident, change.at - limit.seconds))
        )
        if not limit.count or rows[0][0] < limit.count:
            return None
        window = format_duration(limit.seconds)
        return Confirmation(reason=f"{rows[0][0]} verdicts within {window} about mail of ours, {limit} confirm")

    def _confirming(self, change: Change, incident: Incident) -> Iterator[Confirmation]:
        for window in self._windows:
            rows = change.execute(_COUNTS, (incident.id, self._most, _since(incident, change.at - window)))
            for name, (terms, spam, viruses) in self._by_policy(rows, window).items():
                if spam >= terms.confirm:
                    yield _confirmed(name, terms, f"{spam} spam verdicts", terms.confirm)
                elif viruses >= terms.confirm_virus:
                    yield _confirmed(name, terms, f"{viruses} messages with viruses", terms.confirm_virus)

    def _by_policy(
        self, rows: Iterable[tuple[str, int, int]], window: float
    ) -> dict[str, tuple[IncidentTerms, int, int]]:
        counts: dict[str, tuple[IncidentTerms, int, int]] = {}
        for domain, spam, viruses in rows:
            name, terms = self._terms.get(domain, self._default)
            if terms.window_seconds == window:
                _, before, viruses_before = counts.get(name, (terms, 0, 0))
                counts[name] = terms, before + spam, viruses_before + viruses
        return counts


def _since(incident: Incident, begin: float) -> float:
    # What a block or suspension was lifted in spite of does not count again.
    return max(begin, incident.lifted_at or 0.0)


def _confirmed(name: str, terms: IncidentTerms, seen: str, limit: int) -> Confirmation:
    window = format_duration(terms.window_seconds)
    return Confirmation(reason=f"{seen} within {window} under policy {name}, {limit} confirm", blocks=terms.block)
