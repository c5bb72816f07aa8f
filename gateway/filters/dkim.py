"""Does a domain vouch for this mail by a signature that holds? See RFC 6376 §6.

One finding for all signatures, of the best: *pass* before any other. RFC 6376 §6.1 has a signature that fails count
as none, since lists and gateways break them: nothing but *pass* tells anything, and that not whether the signer is
good. The detail names the domains that signed and what became of each signature.

Asked for mail from outside only; mail without a signature gives nothing.
"""

from collections.abc import Mapping
from typing import ClassVar

from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding
from gateway.senderauth.message import MessageAuth, is_from_outside
from gateway.senderauth.word import Word
from gateway.smtp.replies import DKIM_DEFER, DKIM_REJECT

# What tells most first; one that could not be looked up might have passed.
_ORDER = (Word.PASS, Word.TEMPERROR, Word.POLICY, Word.NEUTRAL, Word.FAIL, Word.PERMERROR)


class Dkim(Filter[NoOptions]):
    """Verifies ten signatures at most."""

    stage = Stage.DATA
    io = True
    results: ClassVar[Mapping[str, str]] = {
        "pass": "a signature holds",
        "policy": "a signature holds and is not taken: expired, too short a key, or text it does not cover",
        "neutral": "a signature does not hold, and its signer is testing",
        "fail": "a signature does not hold",
    }
    on: ClassVar[Mapping[str, float | Action]] = {}
    reject = DKIM_REJECT
    defer = DKIM_DEFER

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside and is signed."""
        return is_from_outside(tx) and tx.content.header.count("dkim-signature") > 0

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return the best signature's result, or None."""
        if not self.concerns(tx):
            return None
        results = await MessageAuth.of(tx, ctx.resolver).dkim()
        best = min(results, key=lambda result: _ORDER.index(result.result))
        passed = " ".join(dict.fromkeys(r.domain for r in results if r.result is Word.PASS))
        every = " ".join(f"{r.domain or '?'}={r.result}" for r in results)
        domain = best.domain or "no domain"
        detail = {"signatures": every} | ({"domains": passed} if passed else {})
        return self.found(best.result.value, f"{domain}: {best.reason}", **detail)
