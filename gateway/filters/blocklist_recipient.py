"""Is this recipient on a list of ours? See RFC 5782 §1.

Addresses that left, spam traps, mailboxes that are to get no mail from here: looked up in the local lists
(``blocklists/``) at each RCPT, so that only this recipient is refused. An allow list takes back what it lists itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.finding import ON, RESULTS, findings
from gateway.blocklist.local.lists import LocalLists
from gateway.blocklist.local.question import ask_mailbox
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Findings


@dataclass(frozen=True, slots=True, kw_only=True)
class BlocklistRecipientOptions:
    """``score``: of a listing on a block list with neither ``weight`` nor ``action``."""

    score: float = 5.0


class BlocklistRecipient(Filter[BlocklistRecipientOptions]):
    """Looks up in mapped tables; asks nobody."""

    stage = Stage.ENVELOPE
    per_recipient = True
    Options: ClassVar[type] = BlocklistRecipientOptions
    results: ClassVar[Mapping[str, str]] = RESULTS
    on: ClassVar[Mapping[str, float | Action]] = ON

    def rests(self, ctx: Context) -> bool:
        """Whether no list names recipients."""
        lists = ctx.service(LocalLists)
        return lists is None or not lists.wants(Identity.RECIPIENT)

    async def examine(self, tx: Transaction, ctx: Context) -> Findings:
        """Return every listing of the recipient that no allow list takes back."""
        lists = ctx.service(LocalLists)
        if lists is None or not lists.wants(Identity.RECIPIENT):
            return None
        asked = [ask_mailbox(Identity.RECIPIENT, recipient.key) for recipient in tx.recipients]
        questions = [question for question in asked if question is not None]
        answer = replace(lists.look_up(questions, ctx.clock.stamp().utc), unusable=())
        return findings(self.name, answer, self.options.score) or None
