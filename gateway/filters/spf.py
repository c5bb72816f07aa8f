"""May this client send for this domain? See RFC 7208 §2.3, §2.4.

MAIL FROM is checked, for the null reverse-path postmaster at the HELO name; and the HELO name by itself, which is
told only where its own domain denies the client. What a domain publishes about itself, none of it says that a mail
is wanted: *pass* is worth nothing unless a policy says so.

A refusal carries the domain owner's explanation (RFC 7208 §6.2), and says whose it is. Asked for mail from outside
only, not for what this machine or a trusted network sends.
"""

from collections.abc import Mapping
from typing import ClassVar

from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding, Findings
from gateway.senderauth.earlier import earlier
from gateway.senderauth.lookups import SharedLookups
from gateway.senderauth.message import is_from_outside, spf_question
from gateway.senderauth.spf.evaluate import check_helo, check_mail_from
from gateway.senderauth.spf.result import SpfResult
from gateway.senderauth.word import Word
from gateway.smtp.replies import SPF_DEFER, SPF_REJECT


class Spf(Filter[NoOptions]):
    """Asks for two domains' records."""

    stage = Stage.ENVELOPE
    io = True
    results: ClassVar[Mapping[str, str]] = {
        "pass": "the reverse-path's domain permits the client",
        "fail": "the reverse-path's domain denies the client",
        "softfail": "the reverse-path's domain would rather not have the client send for it",
        "neutral": "the reverse-path's domain says nothing about the client",
        "helo-fail": "the HELO name's domain denies the client",
    }
    on: ClassVar[Mapping[str, float | Action]] = {"fail": 4.0, "softfail": 1.0, "helo-fail": 2.0}
    grounds: ClassVar[Mapping[str, Ground]] = {
        "fail": Ground.FALSE_SOURCE,
        "softfail": Ground.FALSE_SOURCE,
        "helo-fail": Ground.FALSE_SOURCE,
    }
    reject = SPF_REJECT
    defer = SPF_DEFER

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside."""
        return is_from_outside(tx)

    async def examine(self, tx: Transaction, ctx: Context) -> Findings:
        """Return what the reverse-path's domain says, and the HELO name's where it denies."""
        if not self.concerns(tx):
            return None
        lookups, question = SharedLookups(ctx.resolver), spf_question(tx)
        memory = earlier(ctx.resolver)
        sender = await check_mail_from(lookups, question, tx.envelope.reverse_path)
        memory.keep(tx, sender)
        found = [] if sender.result is Word.NONE else [self._told(sender, sender.result.value)]
        if not tx.envelope.reverse_path.is_null:
            helo = await check_helo(lookups, question)
            memory.keep(tx, helo)
            if helo.result is Word.FAIL:
                found.append(self._told(helo, "helo-fail"))
        return tuple(found) or None

    def _told(self, result: SpfResult, word: str) -> Finding:
        reason = result.reason
        if result.explanation:
            # RFC 7208 §6.2: whose words they are has to be told.
            reason = f"{reason}; {result.domain} explains: {result.explanation}"
        detail = {"identity": result.identity, "domain": result.domain}
        if result.mechanism:
            detail["mechanism"] = result.mechanism
        return self.found(word, reason, **detail)
