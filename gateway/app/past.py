"""What the door learns from events: reputation from verdicts, penpals from mail that goes out.

An ``EventSink`` beside the journal. A message's verdict is noted for the client, the sender's domain from its network,
the client's verified name and its network; mail that a policy of ours refused counts as bad, a recipient that does not
exist as a little bad. What was greylisted or put off says nothing. Notes are gathered for a second and written
together: a busy client is one write a second, and a kill loses that second.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import ip_address

from gateway.clock import Clock
from gateway.journal.events import Event, MessageJudged, RecipientRefused
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.state.memories import Memories
from gateway.state.names import standing_names

GATHER_SECONDS = 1.0
# Names of one second; beyond it they are written at once.
MOST_NAMES = 1000
# A mistyped recipient is everybody's; fifty of them are an address harvest.
UNKNOWN_RECIPIENT_WEIGHT = 0.1
_BAD = frozenset({"tag", "quarantine", "reject", "discard"})
_OUTGOING = frozenset({"relay", "submission"})


class Past:
    """Listens for the life of a worker; ``flush`` before the memories are closed."""

    def __init__(self, memories: Memories, clock: Clock) -> None:
        self._memories = memories
        self._clock = clock
        self._good: dict[str, float] = {}
        self._bad: dict[str, float] = {}
        self._gathered_since = clock.monotonic()

    def emit(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, MessageJudged):
            self._judged(event)
        elif isinstance(event, RecipientRefused) and event.reply.startswith("5"):
            weight = 1.0 if event.filter else UNKNOWN_RECIPIENT_WEIGHT
            self._note(event.client, "", event.reverse_path, good=0.0, bad=weight)

    def _judged(self, event: MessageJudged) -> None:
        if event.role in _OUTGOING:
            if event.durable_at:
                self._wrote(event)
            return
        actions = [action for _, action, _, _, _ in event.dispositions]
        if not actions:
            return
        bad = sum(action in _BAD for action in actions) / len(actions)
        good = actions.count("accept") / len(actions)
        self._note(event.client, event.client_name, event.reverse_path, good=good, bad=bad)

    def _wrote(self, event: MessageJudged) -> None:
        ours = address_key(event.reverse_path)
        if ours:
            for address, *_ in event.dispositions:
                self._memories.penpals.note(ours, address_key(address))

    def _note(self, client: str, client_name: str, reverse_path: str, *, good: float, bad: float) -> None:
        for name in _standing_names(client, client_name, reverse_path):
            if good:
                self._good[name] = self._good.get(name, 0.0) + good
            if bad:
                self._bad[name] = self._bad.get(name, 0.0) + bad
        waited = self._clock.monotonic() - self._gathered_since
        if waited >= GATHER_SECONDS or len(self._good) + len(self._bad) > MOST_NAMES:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered."""
        good, bad = self._good, self._bad
        self._good, self._bad = {}, {}
        self._gathered_since = self._clock.monotonic()
        for name in _names(good, bad):
            self._memories.reputation.note(name, good=good.get(name, 0.0), bad=bad.get(name, 0.0))


# The senders of a busy minute; an entry is some 600 octets.
@lru_cache(maxsize=4096)
def _standing_names(client: str, client_name: str, reverse_path: str) -> tuple[str, ...]:
    domain = address_key(reverse_path).rpartition("@")[2]
    return standing_names(ip_address(client), client_name, domain)


def address_key(wire: str) -> str:
    """Return the comparison form of an address as an event has it, "" for the null reverse-path."""
    local, at, domain = wire.rpartition("@")
    if not at:
        return ""
    try:
        return f"{local.casefold()}@{normalise_domain(domain)}"
    except DomainError:
        return f"{local.casefold()}@{domain.lower()}"


def _names(*gathered: Iterable[str]) -> dict[str, None]:
    return {name: None for names in gathered for name in names}
