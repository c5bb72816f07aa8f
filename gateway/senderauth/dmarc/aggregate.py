"""Aggregate reports (RFC 9990): what happened in one day to the mail under each domain's policy, from the journal.

What a report says is what was done: *pass* for mail in order, else what became of it here, with the reason where that
is not what the domain asked for. ``report`` makes XML of it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.journal.events import MessageJudged
from gateway.senderauth.dmarc.facts import DmarcFacts
from gateway.senderauth.dmarc.record import parse_dmarc

DAY_SECONDS = 86_400
# Whoever sends from all of IPv6 in a domain's name would else have us write a report that nobody can take, and fill our
# memory; some 500 octets a row.
MAX_ROWS = 20_000
MAX_DOMAINS = 50_000


@dataclass(frozen=True, slots=True)
class Row:
    """What is counted: messages of one client that were alike."""

    client: str
    disposition: str
    reason: str
    facts: DmarcFacts


@dataclass(slots=True)
class Day:
    """One domain's day: ``rows`` with how often each, and ``left_out``, the messages beyond MAX_ROWS.

    ``record`` is the policy record that the day's last message was judged by.
    """

    rows: Counter[Row] = field(default_factory=Counter)
    left_out: int = 0
    record: str = ""
    _latest: float = float("-inf")

    @property
    def messages(self) -> int:
        """How many messages were judged by the domain's policy."""
        return self.rows.total() + self.left_out

    def count(self, row: Row, at: float) -> None:
        """Count one message, judged at UTC second ``at``."""
        if at >= self._latest:
            # Events come file by file, not in the order of their time.
            self._latest, self.record = at, row.facts.record
        if row in self.rows or len(self.rows) < MAX_ROWS:
            self.rows[row] += 1
        else:
            self.left_out += 1


def aggregate(events: Iterable[MessageJudged], begin: float, only: str = "") -> dict[str, Day]:
    """Return the day of every policy domain that wants reports, or ``only`` of one; the busiest first."""
    days: dict[str, Day] = {}
    for event in events:
        facts = DmarcFacts.read(event.dmarc)
        if facts is None or (only and facts.policy_domain != only) or not begin <= event.at < begin + DAY_SECONDS:
            continue
        day = days.get(facts.policy_domain)
        if day is None:
            if len(days) >= MAX_DOMAINS:
                continue
            day = days[facts.policy_domain] = Day()
        disposition = _disposition(event, facts)
        day.count(Row(event.client, disposition, _reason(event, disposition, facts), facts), event.at)
    return dict(sorted(days.items(), key=lambda item: (-item[1].messages, item[0])))


def _disposition(event: MessageJudged, facts: DmarcFacts) -> str:
    if facts.result == "pass":
        return "pass"
    if event.reply.startswith("5"):
        return "reject"
    actions = {action for _, action, *_ in event.dispositions}
    return "quarantine" if "quarantine" in actions else "none"


def _reason(event: MessageJudged, disposition: str, facts: DmarcFacts) -> str:
    # RFC 9990, policy_evaluated: where alignment fails and what was done is not what was asked for, a reason is due.
    if facts.result == "pass" or disposition == facts.policy:
        return ""
    if any((name, result) == ("dmarc", "forwarded") for name, result, _ in event.findings):
        return "trusted_forwarder"
    record = parse_dmarc(facts.record)
    return "policy_test_mode" if record is not None and record.testing else "local_policy"
