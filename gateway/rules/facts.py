"""``MailFacts``: each subject's values, made when the first rule asks and kept for all rules of all policies.

Everything that costs is bounded: octets per subject (a bound that was reached is in ``limits``), and the time of the
whole, after which ``TimeIsUpError`` ends the judging and the answer is ``temperror``.
"""

from collections.abc import Callable, Iterable, Mapping

from gateway.clock import Clock
from gateway.mail.envelope import Recipient
from gateway.mail.transaction import Transaction
from gateway.policy.finding import Finding
from gateway.rules import extraction
from gateway.rules.pace import Deadline
from gateway.rules.parts import Limits, Parts
from gateway.rules.subjects import split
from gateway.rules.values import AnyValue

# Filter name → the words it said; a filter's name with a parameter (``dnsbl.zen.example``) where its finding has one.
Results = Mapping[str, tuple[str, ...]]

# Beyond it, judging leaves the loop: some milliseconds of decoding.
LIGHT_OCTETS = 64 * 1024
# So does a small one made of parts: a thousand take 30 ms, and people's mail has a dozen.
LIGHT_DELIMITERS = 100
# The detail of a finding that names what it is about.
_ABOUT = frozenset({"zone", "list"})
# Details that say the result more exactly.
_WORDS = frozenset({"code", "codes", "address", "addresses", "answer", "answers"})


def results_of(findings: Iterable[Finding]) -> Results:
    """Return findings as rules ask for them.

    ``spf`` → ("fail",); a finding whose detail names a ``zone`` or ``list`` stands under ``dnsbl.ZONE`` too, with the
    codes its detail has.
    """
    found: dict[str, dict[str, None]] = {}
    for finding in findings:
        found.setdefault(finding.filter, {})[finding.result] = None
        words = [word for key, text in finding.detail if key in _WORDS for word in text.replace(",", " ").split()]
        for key, about in finding.detail:
            if key in _ABOUT:
                # Whichever filter asked the list: about clients, about domains, about links.
                said = dict.fromkeys([finding.result, *words])
                found.setdefault(f"dnsbl.{about.lower()}", {}).update(said)
    return {name: tuple(words) for name, words in found.items()}


class _Shared:
    """What does not depend on the recipient or on further results. Refers to nothing that refers to it."""

    __slots__ = ("deadline", "hits", "limits", "parts", "values")

    def __init__(self, clock: Clock) -> None:
        self.values: dict[str, tuple[AnyValue, ...]] = {}
        self.hits: dict[tuple[int, str], frozenset[int]] = {}
        self.limits = Limits()
        self.parts: Parts | None = None
        self.deadline = Deadline(clock)


class MailFacts:
    """One message as rules see it. Not for two threads at once."""

    __slots__ = ("_own", "_shared", "clock", "recipients", "results", "tx")

    def __init__(self, tx: Transaction, results: Results, clock: Clock) -> None:
        """``tx.recipients`` are those judged together; ``results`` what filters have said so far."""
        self.tx = tx
        self.results = results
        self.clock = clock
        self.recipients = tx.recipients
        self._shared = _Shared(clock)
        self._own: dict[str, tuple[AnyValue, ...]] = {}

    def about(self, recipient: Recipient) -> "MailFacts":
        """Return the same message for one recipient, sharing everything but ``recipient``."""
        return self._sibling(self.results, (recipient,))

    def knowing(self, results: Results) -> "MailFacts":
        """Return the same message with further results, sharing everything already made."""
        return self._sibling({**self.results, **results}, self.recipients)

    def _sibling(self, results: Results, recipients: tuple[Recipient, ...]) -> "MailFacts":
        other = MailFacts(self.tx, results, self.clock)
        other.recipients = recipients
        other._shared = self._shared
        return other

    @property
    def is_light(self) -> bool:
        """Whether judging the message takes so little that it need not leave the loop."""
        content = self.tx.content
        if content.size > LIGHT_OCTETS or content.octets is None:
            return False
        return content.octets.count(b"\n--") <= LIGHT_DELIMITERS

    @property
    def limits(self) -> tuple[str, ...]:
        """Each bound that was reached, as a sentence."""
        return tuple(self._shared.limits.reached)

    @property
    def bounds(self) -> Limits:
        """Where extraction notes a bound it reaches."""
        return self._shared.limits

    @property
    def parts(self) -> Parts:
        """The content's parts."""
        if self._shared.parts is None:
            self._shared.parts = Parts(self.tx.content, self._shared.limits, self._shared.deadline.breathe)
        return self._shared.parts

    def values(self, name: str) -> tuple[AnyValue, ...]:
        """Return a subject's values by its canonical name; raise ``TimeIsUpError``."""
        found = self._shared.values.get(name)
        if found is None:
            found = self._own.get(name)
        return self._made(name) if found is None else found

    def hits(self, index: int, name: str, search: Callable[[tuple[AnyValue, ...]], frozenset[int]]) -> frozenset[int]:
        """Return what ``search`` finds among a subject's values, once for each ``index`` that asks."""
        values = self.values(name)
        if name in self._own:
            return search(values)
        key = (index, name)
        if key not in self._shared.hits:
            self.breathe()
            self._shared.hits[key] = search(values)
        return self._shared.hits[key]

    def _made(self, name: str) -> tuple[AnyValue, ...]:
        self.breathe()
        subject, parameter = split(name)
        found = extraction.values(self, subject.name, parameter)
        kept = self._own if subject.name in extraction.CHANGING else self._shared.values
        kept[name] = found
        return found

    @property
    def pace(self) -> Deadline:
        """The message's time."""
        return self._shared.deadline

    def breathe(self) -> None:
        """Raise ``TimeIsUpError`` when the message has had its time, which begins with the first call."""
        self._shared.deadline.breathe()
