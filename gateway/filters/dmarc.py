"""Does the author's domain stand behind this mail? See RFC 9989 §5.3.

SPF and DKIM say which domains answer for a mail; DMARC asks whether one of them is the domain that people read in
From, and if none is, what that domain wants done. By default that is a score; with ``honour = true`` it is done: a
*reject* policy refuses with 550 5.7.26, a *quarantine* policy holds. t=y in the record lowers the policy by one step
(RFC 9989 §4.7).

Forwarders and mailing lists break SPF and DKIM of mail that was in order. Where the ARC chain holds, and every sealer
from the newest down to one that found DMARC passing is in ``trusted_sealers``, the result is *forwarded*.

A From field without exactly one domain has nobody to ask; that is a finding of its own. Asked for mail from outside
only; mail whose author's domain has no policy gives nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from gateway.mail.text.hosts import registrable
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter
from gateway.policy.finding import Finding
from gateway.senderauth.arc.trust import vouching_sealer
from gateway.senderauth.dmarc.evaluate import DmarcResult
from gateway.senderauth.dmarc.record import DmarcPolicy
from gateway.senderauth.message import MessageAuth, is_from_outside
from gateway.senderauth.word import Word
from gateway.smtp.replies import DMARC_DEFER, DMARC_REJECT

_AUTHORS = {
    "missing": "no-author",
    "malformed": "malformed-author",
    "several-fields": "no-author",
    "several-domains": "several-authors",
}
_HONOURED = {DmarcPolicy.REJECT: "refused", DmarcPolicy.QUARANTINE: "held"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcOptions:
    """``honour``: do what the domain wants; ``trusted_sealers``: ARC sealers that are believed."""

    honour: bool = False
    trusted_sealers: tuple[str, ...] = ()


class Dmarc(Filter[DmarcOptions]):
    """Puts From, SPF, DKIM and the domain's policy together."""

    stage = Stage.DATA
    io = True
    Options: ClassVar[type] = DmarcOptions
    results: ClassVar[Mapping[str, str]] = {
        "pass": "SPF or DKIM passes for the author's domain",
        "refused": "neither does, the domain wants it rejected, and `honour` is on",
        "held": "neither does, the domain wants it quarantined, and `honour` is on",
        "reject": "neither does, and the domain wants it rejected",
        "quarantine": "neither does, and the domain wants it quarantined",
        "fail": "neither does, and the domain wants nothing done",
        "forwarded": "neither does here, but it did for a trusted sealer",
        "no-author": "no From field, several, or one without an address",
        "several-authors": "addresses of several domains in From",
        "malformed-author": "From is no list of addresses",
    }
    on: ClassVar[Mapping[str, float | Action]] = {
        "refused": Action.REJECT,
        "held": Action.QUARANTINE,
        "reject": 6.0,
        "quarantine": 3.0,
        "several-authors": 1.0,
        "malformed-author": 2.0,
    }
    grounds: ClassVar[Mapping[str, Ground]] = {
        "refused": Ground.FALSE_SOURCE,
        "held": Ground.FALSE_SOURCE,
        "reject": Ground.FALSE_SOURCE,
        "quarantine": Ground.FALSE_SOURCE,
        "several-authors": Ground.HIDDEN_SENDER,
        "malformed-author": Ground.HIDDEN_SENDER,
    }
    reject = DMARC_REJECT
    defer = DMARC_DEFER

    def concerns(self, tx: Transaction) -> bool:
        """Whether the mail comes from outside."""
        return is_from_outside(tx)

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return what DMARC says, or None where the author's domain says nothing."""
        if not self.concerns(tx):
            return None
        auth = MessageAuth.of(tx, ctx.resolver)
        result = await auth.dmarc()
        if result.author.word:
            return self.found(_AUTHORS[result.author.word], result.author.fault)
        if result.result is Word.NONE:
            return None
        if result.result is Word.FAIL:
            sealer = vouching_sealer(await auth.arc(), self.options.trusted_sealers) if self._trusts else ""
            return self._failed(result, sealer)
        return self.found(result.result.value, result.reason, **_detail(result))

    @property
    def _trusts(self) -> bool:
        return bool(self.options.trusted_sealers)

    def _failed(self, result: DmarcResult, sealer: str) -> Finding:
        reason = f"{result.author.domain}: {result.reason}"
        if sealer:
            return self.found("forwarded", f"{result.author.domain}: {sealer} found it in order", **_detail(result))
        word = "fail" if result.policy is DmarcPolicy.NONE else result.policy.value
        if self.options.honour:
            word = _HONOURED.get(result.policy, word)
        return self.found(word, reason, **_detail(result))


def _detail(result: DmarcResult) -> dict[str, str]:
    detail = {
        "author": result.author.domain,
        "policy": result.policy.value if result.policy_domain else "",
        "policy-domain": result.policy_domain,
        # Where nothing hung on it nobody walked the tree; the public suffix list tells without asking.
        "organisational-domain": result.organisational_domain or registrable(result.author.domain),
        "dkim": " ".join(result.aligned_dkim),
        "spf": result.aligned_spf,
    }
    return {name: value for name, value in detail.items() if value}
