"""Putting together what From, SPF, DKIM and the author's policy say (RFC 9989 §5.3).

*none*: no policy record, so the mechanism does not apply. *pass*: an authenticated identifier is aligned with the
author's domain. *fail*: none is, and ``policy`` is what the domain owner wants done, t=y heeded. *temperror*: a
question to DNS that could have made it pass or applied was not answered. *permerror*: there is not exactly one
author's domain, ``author.word`` says why.

The SPF identifier is MAIL FROM's; for the null reverse-path RFC 7208 §2.4 makes that postmaster at HELO.

A *pass* needs nothing more from DNS, so a failing question beside it does no harm; a *fail* stands only when every
identifier is known not to be aligned.
"""

from collections.abc import Sequence

from gateway.dns.resolver import Resolver
from gateway.senderauth.dkim.verify import DkimResult
from gateway.senderauth.dmarc.author import Author
from gateway.senderauth.dmarc.record import DmarcPolicy, DmarcRecord
from gateway.senderauth.dmarc.walk import Found, TreeError, organisational_domain, record_at, walk
from gateway.senderauth.spf.result import SpfResult
from gateway.senderauth.word import Word
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.value import value


@value(kw_only=True)
class DmarcResult:
    """The result.

    ``policy`` is what is wanted for mail that fails, t=y heeded, whatever the result; ``published`` what the record
    says; ``policy_domain`` where it stands; ``organisational_domain`` the author's, "" where nobody needed it.
    ``aligned_dkim`` and ``aligned_spf`` are the aligned domains.
    """

    result: Word
    reason: str
    author: Author
    policy: DmarcPolicy = DmarcPolicy.NONE
    published: DmarcPolicy = DmarcPolicy.NONE
    policy_domain: str = ""
    organisational_domain: str = ""
    record: DmarcRecord | None = None
    aligned_dkim: tuple[str, ...] = ()
    aligned_spf: str = ""


async def check_dmarc(
    resolver: Resolver, author: Author, spf: SpfResult | None, dkim: Sequence[DkimResult]
) -> DmarcResult:
    """Return the result for the author's domain; ``spf`` is MAIL FROM's, None when it was not checked."""
    if not author.domain:
        return DmarcResult(result=Word.PERMERROR, reason=author.fault, author=author)
    try:
        applied = await _discovered(resolver, author.domain)
    except TreeError as error:
        return DmarcResult(result=Word.TEMPERROR, reason=str(error), author=author)
    if applied is None:
        return DmarcResult(result=Word.NONE, reason=f"{author.domain} has no policy", author=author)
    alignment = _Alignment(resolver, author.domain, applied)
    aligned_dkim = [r for r in dkim if r.result is Word.PASS and await alignment.dkim(r)]
    aligned_spf = spf if spf is not None and spf.result is Word.PASS and await alignment.spf(spf) else None
    if aligned_dkim or aligned_spf:
        word, reason = Word.PASS, _passed_by(aligned_dkim, aligned_spf)
    else:
        unknown = await _unknown(alignment, spf, dkim)
        word = Word.TEMPERROR if unknown else Word.FAIL
        reason = unknown or "neither SPF nor DKIM passes for a domain of the author's"
    return DmarcResult(
        result=word,
        reason=reason,
        author=author,
        policy=applied.published.one_level_below if applied.record.testing else applied.published,
        published=applied.published,
        policy_domain=applied.domain,
        organisational_domain=alignment.organisation,
        record=applied.record,
        aligned_dkim=tuple(dict.fromkeys(result.domain for result in aligned_dkim)),
        aligned_spf=aligned_spf.domain if aligned_spf else "",
    )


@value(kw_only=True)
class _Applied:
    """The record that counts for the author's domain, where it stands, and the policy it gives."""

    domain: str
    record: DmarcRecord
    published: DmarcPolicy


async def _discovered(resolver: Resolver, domain: str) -> _Applied | None:
    # RFC 9989 §4.10.1: the author's domain, its organisational domain, its public suffix domain.
    own = await record_at(resolver, domain)
    if own is not None:
        return _Applied(domain=domain, record=own, published=own.p)
    found = await walk(resolver, domain)
    chosen = _preferred(domain, found)
    if chosen is None:
        return None
    exists = chosen.record.np is None or await _exists(resolver, domain)
    published = chosen.record.policy(subdomain=True, exists=exists)
    return _Applied(domain=chosen.domain, record=chosen.record, published=published)


def _preferred(domain: str, found: Sequence[Found]) -> Found | None:
    organisation = organisational_domain(domain, found)
    at_organisation = next((each for each in found if each.domain == organisation), None)
    return at_organisation or next((each for each in found if each.record.psd == "y"), None)


async def _exists(resolver: Resolver, domain: str) -> bool:
    # RFC 9989 §3.2.13: NXDOMAIN, as RFC 8020 has it; any type will do to ask with.
    answer = await resolver.query(domain, "A")
    if answer.is_temperror:
        raise TreeError(f"A of {domain}: {answer.reason}")
    return not answer.nxdomain


class _Alignment:
    """Which identifiers are aligned (RFC 9989 §4.10.2); walks only for domains that are not decided without."""

    def __init__(self, resolver: Resolver, domain: str, applied: _Applied) -> None:
        self._resolver = resolver
        self._domain = domain
        self._applied = applied
        self.organisation = ""
        self.unknown = ""

    async def dkim(self, result: DkimResult) -> bool:
        return await self._aligned(result.domain, strict=self._applied.record.strict_dkim)

    async def spf(self, result: SpfResult) -> bool:
        return await self._aligned(result.domain, strict=self._applied.record.strict_spf)

    async def _aligned(self, identifier: str, *, strict: bool) -> bool:
        try:
            identifier = normalise_domain(identifier)
        except DomainError:
            return False
        if identifier == self._domain:
            return True
        if strict or identifier.rpartition(".")[2] != self._domain.rpartition(".")[2]:
            # Nothing in common, not even the top-level domain.
            return False
        try:
            return await self._organisation_of(identifier) == await self._own_organisation()
        except TreeError as error:
            self.unknown = str(error)
            return False

    async def _own_organisation(self) -> str:
        if not self.organisation:
            self.organisation = await self._organisation_of(self._domain)
        return self.organisation

    async def _organisation_of(self, domain: str) -> str:
        return organisational_domain(domain, await walk(self._resolver, domain))


def _passed_by(dkim: Sequence[DkimResult], spf: SpfResult | None) -> str:
    by = [f"DKIM {result.domain}" for result in dkim] + ([f"SPF {spf.domain}"] if spf else [])
    return f"aligned: {', '.join(dict.fromkeys(by))}"


async def _unknown(alignment: _Alignment, spf: SpfResult | None, dkim: Sequence[DkimResult]) -> str:
    """Return the question left open that could have made it pass, "" when there is none (RFC 9989 §5.3.6)."""
    for signature in dkim:
        if signature.result is Word.TEMPERROR and await alignment.dkim(signature):
            return signature.reason
    if spf is not None and spf.result is Word.TEMPERROR and await alignment.spf(spf):
        return spf.reason
    return alignment.unknown
