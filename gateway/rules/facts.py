"""``MailFacts``: each subject's values, made when the first rule asks and kept for all rules of all policies."""

from collections.abc import Iterable, Mapping

from gateway.clock import Clock
from gateway.mail.envelope import Recipient
from gateway.mail.transaction import Transaction
from gateway.policy.finding import Finding

# Filter name → the words it said; a filter's name with a parameter (``dnsbl.zen.example``) where its finding has one.
Results = Mapping[str, tuple[str, ...]]


def results_of(findings: Iterable[Finding]) -> Results:
    """Return findings as rules ask for them: ``spf`` → ("fail",), ``dnsbl.ZONE`` → its words for that zone."""
    raise NotImplementedError


class MailFacts:
    """One message as rules see it. Not for two threads at once."""

    def __init__(self, tx: Transaction, results: Results, clock: Clock) -> None:
        """``tx.recipients`` are those judged together; ``results`` what filters have said so far."""
        raise NotImplementedError

    def about(self, recipient: Recipient) -> "MailFacts":
        """Return the same message for one recipient, sharing everything but ``recipient``."""
        raise NotImplementedError

    def knowing(self, results: Results) -> "MailFacts":
        """Return the same message with further results, sharing everything already made."""
        raise NotImplementedError
