"""Who asks for the client's verified name (RFC 8601 §3, iprev), and what it said.

The filter ``iprev`` is asked for it, whether or not a policy has enabled it, while a local list may have the name: an
entry of a name would else be looked up for nobody. Its finding then counts for no policy, only the name does. An
answer that DNS owes is noted, so that the filter of the lists tells of it (invariant 8).
"""

from gateway.blocklist.local.lists import LocalLists
from gateway.filters.iprev import Iprev
from gateway.mail.transaction import Transaction
from gateway.pipeline.examiner import Found
from gateway.pipeline.memory import Answers
from gateway.pipeline.plan import AnyFilter, Questions
from gateway.policy.filter import Context, NoOptions
from gateway.policy.finding import TEMPERROR
from gateway.senderauth.earlier import earlier
from gateway.senderauth.iprev import IprevResult
from gateway.senderauth.word import Word

_FILTER, _VERIFIED = "iprev", "pass"


class Naming:
    """One gate's way to names; ``asked`` are the filters that some policy asks at CONNECT."""

    def __init__(self, asked: Questions, context: Context) -> None:
        enabled = next((question for question in asked.waiting if question.name == _FILTER), None)
        self._filter: AnyFilter = enabled or Iprev(NoOptions())
        self._lists = context.service(LocalLists)
        self._resolver = context.resolver

    def questions(self, tx: Transaction, asked: Questions) -> tuple[AnyFilter, ...]:
        """Return whom to ask for the name, () where it is neither ``asked`` for nor in any list."""
        wanted = self._filter in asked.waiting or (self._lists is not None and self._lists.names_clients)
        return (self._filter,) if wanted and self._filter.concerns(tx) else ()

    def told(self, answers: Answers) -> str:
        """Return the verified name among what filters said, "" for none."""
        for question, said in answers.items():
            for finding in said:
                if question.name == _FILTER and finding.result == _VERIFIED:
                    return dict(finding.detail).get("name", "")
        return ""

    def note_failure(self, tx: Transaction, found: Found) -> None:
        """Remember why there is no name, when the filter ran out of time before it could."""
        for finding in found.get(self._filter, ()):
            memory = earlier(self._resolver)
            if finding.result == TEMPERROR and "iprev" not in memory.of(tx):
                client = tx.connection.client
                memory.keep(tx, IprevResult(result=Word.TEMPERROR, reason=finding.reason, client=client))
