"""Senders of ours watched: how much they send, to how many strangers, and what is refused or bounces.

Accounts and relay clients are counted alike, each by itself: one mail counts for the account that its reverse-path
names and for the client it came by, so that a machine that sends as many accounts is seen as well. Counts are those of
the last ``rate`` time, in twelfths, in memory: after a restart they begin anew, while spam verdicts, which are on
record, do not. A limit that is passed is told once until the sender has been below it again.

A first-time recipient is one that this sender has not written to in 90 days, as far as a table of fixed size remembers.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gateway.abuse.sightings import Neighbourhood, address_key
from gateway.config.incidents import LocalSenders
from gateway.config.units import Rate
from gateway.incidents.values import Sighting, Source, SourceKind
from gateway.journal.events import DeliveryAttempted, Event, MessageJudged, RecipientRefused
from gateway.state.table import Record, Table

# A twelfth of an hour is five minutes: the count is that much off at most.
PARTS = 12
# Senders of a busy hour; beyond it the one longest not heard of begins anew.
MOST_SENDERS = 20_000
KNOWN_SECONDS = 90 * 86_400.0
# 262,144 pairs are 8 MiB: a hundred correspondents of each of 2,600 senders.
PLACES = 262_144
_COUNTED = ("messages", "recipients", "first_time", "refused")
_WORDS = {
    "messages": "messages",
    "recipients": "recipients",
    "first_time": "recipients it never wrote to before",
    "refused": "recipients refused or bounced",
}


@dataclass(slots=True)
class _Window:
    """One count over the last ``seconds``, in parts."""

    parts: dict[int, int] = field(default_factory=dict)
    told: bool = False

    def add(self, count: int, at: float, rate: Rate) -> int:
        """Count at a UTC second, forget the parts that are over, and return the total of the rate's time."""
        width = rate.seconds / PARTS
        now = int(at // width)
        # Workers' clocks are close; what lies further ahead is from before the clock was set back.
        self.parts = {part: n for part, n in self.parts.items() if now - PARTS < part <= now + 1}
        self.parts[now] = self.parts.get(now, 0) + count
        return sum(self.parts.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A limit that a sender has passed."""

    source: Source
    at: float
    trace_id: str
    what: str
    count: int
    rate: Rate

    @property
    def told(self) -> str:
        """The excess as a finding."""
        return f"local-sender {self.what}: {self.count} {_WORDS[self.what]}, {self.rate} are usual at most"

    def sighting(self, event: Event) -> Sighting:
        """Return the excess as a sighting: no verdict about one mail, and so without a ground."""
        return Sighting(
            trace_id=self.trace_id,
            at=self.at,
            source=self.source,
            client=getattr(event, "client", ""),
            reverse_path=getattr(event, "reverse_path", ""),
            findings=(self.told,),
            action="watch",
        )


class LocalWatch:
    """Watches the senders of relay networks; ``known`` remembers who has written to whom."""

    def __init__(self, known: Table) -> None:
        self._known = known
        self._windows: OrderedDict[tuple[Source, str], _Window] = OrderedDict()

    def look(self, event: Event, near: Neighbourhood, limits: LocalSenders) -> list[tuple[Excess, Event]]:
        """Count an event; return the limits that it passes."""
        if isinstance(event, MessageJudged):
            if not near.is_local(event.client, event.role):
                return []
            counts = self._judged(event, near)
        elif isinstance(event, RecipientRefused):
            if not near.is_local(event.client):
                return []
            counts = {"refused": 1}
        elif isinstance(event, DeliveryAttempted) and event.status == "bounced" and near.account(event.reverse_path):
            counts = {"refused": 1}
        else:
            return []
        return [(each, event) for each in self._passed(event, counts, near, limits)]

    def _judged(self, event: MessageJudged, near: Neighbourhood) -> dict[str, int]:
        recipients = [address_key(address) for address, *_ in event.dispositions]
        sender = near.account(event.reverse_path) or event.client
        fresh = sum(self._is_first(sender, recipient, event.at) for recipient in recipients)
        return {"messages": 1, "recipients": len(recipients), "first_time": fresh}

    def _is_first(self, sender: str, recipient: str, now: float) -> bool:
        name = f"{sender} {recipient}"
        before = self._known.get(name)
        self._known.update(name, lambda _: Record(now + KNOWN_SECONDS))
        return before is None

    def _passed(
        self, event: Event, counts: dict[str, int], near: Neighbourhood, limits: LocalSenders
    ) -> Iterator[Excess]:
        for source in _sources(event, near):
            for what in _COUNTED:
                rate: Rate = getattr(limits, what)
                if not rate.count or not counts.get(what):
                    continue
                window = self._window((source, what))
                total = window.add(counts[what], event.at, rate)
                if total <= rate.count:
                    window.told = False
                elif not window.told:
                    window.told = True
                    yield Excess(source=source, at=event.at, trace_id=event.trace_id, what=what, count=total, rate=rate)

    def _window(self, key: tuple[Source, str]) -> _Window:
        found = self._windows.pop(key, None) or _Window()
        self._windows[key] = found
        if len(self._windows) > MOST_SENDERS * len(_COUNTED):
            self._windows.popitem(last=False)
        return found


def _sources(event: Event, near: Neighbourhood) -> Iterable[Source]:
    account = near.account(getattr(event, "reverse_path", ""))
    if account:
        yield Source(SourceKind.ACCOUNT, account)
    client = getattr(event, "client", "")
    if client:
        yield Source.at(client, SourceKind.CLIENT)
