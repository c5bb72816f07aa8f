"""check_host() (RFC 7208 §4): a domain's record against a client's address.

Limits, all *permerror* (§4.6.4): ten terms that ask DNS, ten MX names, two terms whose question has no answer; ten
PTR names, of which the rest is ignored. ``%{p}`` is asked for only by records that use it.

The void look-ups are counted by term, as §4.6.4 words it: an MX host without an AAAA record is none.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address

from gateway.dns.answer import Answer, mx_records
from gateway.dns.resolver import Resolver
from gateway.senderauth.iprev import MAX_NAMES, reverse_names
from gateway.senderauth.spf.macro import MacroError, MacroString, parse_explanation, shortened
from gateway.senderauth.spf.record import Mechanism, Record, RecordFault, is_spf, parse_record
from gateway.senderauth.spf.result import SpfQuestion, SpfResult
from gateway.senderauth.word import Word
from gateway.smtp.address import ReversePath
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.smtp.limits import MAX_LABEL_OCTETS
from gateway.value import value

# RFC 7208 §4.6.4
MAX_LOOKUPS = 10
MAX_VOID_LOOKUPS = 2
MAX_MX_NAMES = 10

# A domain owner's explanation goes into a reply line; this much is a sentence or two.
MAX_EXPLANATION = 400

# RFC 7208 §4.3
_POSTMASTER = "postmaster"


async def check_mail_from(resolver: Resolver, question: SpfQuestion, path: ReversePath) -> SpfResult:
    """Return the result for MAIL FROM; for the null reverse-path that of postmaster at HELO (RFC 7208 §2.4)."""
    mailbox = path.mailbox
    if mailbox is None:
        return await _check(resolver, question, "mailfrom", (_POSTMASTER, question.helo))
    return await _check(resolver, question, "mailfrom", (mailbox.local_part or _POSTMASTER, mailbox.domain))


async def check_helo(resolver: Resolver, question: SpfQuestion) -> SpfResult:
    """Return the result for the HELO identity (RFC 7208 §2.3)."""
    return await _check(resolver, question, "helo", (_POSTMASTER, question.helo))


async def _check(resolver: Resolver, question: SpfQuestion, identity: str, sender: tuple[str, str]) -> SpfResult:
    local, domain = sender
    answer = partial(
        SpfResult, identity=identity, domain=domain, sender=f"{local}@{domain}" if domain else local, question=question
    )
    name = _checkable(domain)
    if not name:
        # RFC 7208 §4.3: malformed, or no fully-qualified name.
        return answer(result=Word.NONE, reason=f"{domain or 'nothing'} is no domain with a record")
    evaluation = _Evaluation(resolver, question, local, domain)
    try:
        found = await evaluation.domain(name)
    except _Ended as ended:
        return answer(result=ended.result, reason=ended.reason, mechanism=evaluation.term)
    explanation = await evaluation.explained(found) if found.result is Word.FAIL else ""
    return answer(
        result=found.result,
        reason=_reason(found, evaluation.client, answer.keywords["sender"]),
        mechanism=found.mechanism,
        explanation=explanation,
    )


def _checkable(domain: str) -> str:
    try:
        name = normalise_domain(domain.removesuffix("."))
    except DomainError:
        return ""
    return name if "." in name else ""


def _reason(found: "_Found", client: object, sender: str) -> str:
    # RFC 7208 §9.1's wording, which people know from other servers.
    match found.result:
        case Word.PASS:
            return f"domain of {sender} designates {client} as permitted sender"
        case Word.FAIL:
            return f"domain of {sender} does not designate {client} as permitted sender"
        case Word.SOFTFAIL:
            return f"domain of transitioning {sender} does not designate {client} as permitted sender"
        case Word.NEUTRAL:
            return f"{client} is neither permitted nor denied by domain of {sender}"
    return f"{sender.rpartition('@')[2]} has no SPF record"


class _Ended(Exception):  # noqa: N818 - no error: how an evaluation ends early, within this file
    """The evaluation's result is known before its end: temperror or permerror."""

    def __init__(self, result: Word, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


@value()
class _Found:
    """A domain's result, and whose record explains a *fail*."""

    result: Word
    mechanism: str
    domain: str
    exp: MacroString | None = None


class _Evaluation:
    """One identity's evaluation: the counts of §4.6.4 run through all records asked for."""

    def __init__(self, resolver: Resolver, question: SpfQuestion, local: str, domain: str) -> None:
        self._resolver = resolver
        self._question = question
        self._local = local
        self._sender_domain = domain
        mapped = getattr(question.client, "ipv4_mapped", None)
        self.client: IPv4Address | IPv6Address = mapped or question.client
        self._bits = int(self.client)
        self._v4 = self.client.version == 4  # noqa: PLR2004 - the IP version
        self._lookups = 0
        self._voids = 0
        self._validated: str | None = None
        self.term = ""

    async def domain(self, domain: str) -> _Found:
        """Return the result of ``domain``'s record, following redirect= (RFC 7208 §6.1)."""
        redirected = False
        while True:
            record = await self._record(domain)
            if record is None:
                if redirected:
                    raise _Ended(Word.PERMERROR, f"redirect={domain} has no SPF record")
                return _Found(Word.NONE, "", domain)
            for mechanism in record.mechanisms:
                if await self._matches(mechanism, domain):
                    return _Found(mechanism.qualifier, mechanism.text, domain, record.exp)
            if record.redirect is None:
                # RFC 7208 §4.7: the default is neutral.
                return _Found(Word.NEUTRAL, "default", domain, record.exp)
            self._count_lookup(f"redirect= of {domain}")
            domain = await self._expanded(record.redirect, domain)
            redirected = True

    async def explained(self, found: _Found) -> str:
        """Return the explanation of a *fail* (RFC 7208 §6.2), "" when there is none or anything is wrong with it."""
        if found.exp is None:
            return ""
        answer = await self._resolver.query(await self._expanded(found.exp, found.domain), "TXT")
        if len(answer.records) != 1 or not answer.records[0].isascii():
            return ""
        try:
            text = parse_explanation(answer.records[0])
        except MacroError:
            return ""
        explanation = text.expand(await self._values(text, found.domain))[:MAX_EXPLANATION]
        return explanation if explanation.isprintable() and explanation.isascii() else ""

    async def _record(self, domain: str) -> Record | None:
        if not _askable(domain):
            return None
        answer = await self._resolver.query(domain, "TXT")
        if answer.is_temperror:
            # RFC 7208 §4.4
            raise _Ended(Word.TEMPERROR, f"TXT of {domain}: {answer.reason}")
        texts = [text for text in answer.records if is_spf(text)]
        if not texts:
            return None
        if len(texts) > 1:
            # RFC 7208 §4.5
            raise _Ended(Word.PERMERROR, f"{domain} has {len(texts)} SPF records")
        record = parse_record(texts[0])
        if isinstance(record, RecordFault):
            raise _Ended(Word.PERMERROR, f"SPF record of {domain}: {record.reason}")
        return record

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        match mechanism.kind:
            case "ip4" | "ip6":
                version, network, mask = mechanism.network
                return version == self.client.version and self._bits & mask == network
            case "all":
                return True
        self.term = mechanism.text
        self._count_lookup(f"{mechanism.text} of {domain}")
        matched = await self._asked(mechanism, await self._expanded(mechanism.spec, domain))
        self.term = ""
        return matched

    async def _asked(self, mechanism: Mechanism, target: str) -> bool:
        match mechanism.kind:
            case "include":
                return await self._included(target)
            case "a":
                return self._has_client(await self._query(target, "A" if self._v4 else "AAAA"), mechanism)
            case "mx":
                return await self._mx(mechanism, target)
            case "exists":
                # RFC 7208 §5.7: an A query, even when the client's address is IPv6.
                return (await self._query(target, "A")).is_found
        return await self._ptr(target)

    async def _included(self, target: str) -> bool:
        found = await self.domain(target)
        if found.result is Word.NONE:
            # RFC 7208 §5.2
            raise _Ended(Word.PERMERROR, f"include:{target} has no SPF record")
        return found.result is Word.PASS

    async def _mx(self, mechanism: Mechanism, target: str) -> bool:
        hosts = mx_records(await self._query(target, "MX"))
        if len(hosts) > MAX_MX_NAMES:
            raise _Ended(Word.PERMERROR, f"{target} has more than {MAX_MX_NAMES} MX records")
        for host in hosts:
            answer = await self._ask(host.exchange, "A" if self._v4 else "AAAA")
            if self._has_client(answer, mechanism):
                return True
        return False

    async def _ptr(self, target: str) -> bool:
        # RFC 7208 §5.5: an error of DNS makes the mechanism not match.
        found = await reverse_names(self._resolver, self.client)
        if found.absent:
            self._count_void(f"PTR of {self.client}")
        return any(_is_within(name, target) for name in found.validated)

    def _has_client(self, answer: Answer, mechanism: Mechanism) -> bool:
        mask = mechanism.masks[0] if self._v4 else mechanism.masks[1]
        return any(int(ip_address(record)) & mask == self._bits & mask for record in answer.records)

    async def _query(self, name: str, rdtype: str) -> Answer:
        """Ask a term's own question: no answer counts as void."""
        answer = await self._ask(name, rdtype)
        if answer.is_absent:
            self._count_void(f"{rdtype} of {name}")
        return answer

    async def _ask(self, name: str, rdtype: str) -> Answer:
        answer = await self._resolver.query(name, rdtype)
        if answer.is_temperror:
            # RFC 7208 §5
            raise _Ended(Word.TEMPERROR, f"{rdtype} of {name}: {answer.reason}")
        return answer

    def _count_lookup(self, what: str) -> None:
        self._lookups += 1
        if self._lookups > MAX_LOOKUPS:
            raise _Ended(Word.PERMERROR, f"{what}: more than {MAX_LOOKUPS} terms that ask DNS")

    def _count_void(self, what: str) -> None:
        self._voids += 1
        if self._voids > MAX_VOID_LOOKUPS:
            raise _Ended(Word.PERMERROR, f"{what}: more than {MAX_VOID_LOOKUPS} questions without an answer")

    async def _expanded(self, spec: MacroString | None, domain: str) -> str:
        if spec is None:
            return domain
        if spec.literal is not None:
            return shortened(spec.literal)
        return shortened(spec.expand(await self._values(spec, domain)))

    async def _values(self, text: MacroString, domain: str) -> Mapping[str, Callable[[], str]]:
        if "p" in text.letters and self._validated is None:
            self._validated = await self._validated_name(domain)
        question = self._question
        return {
            "s": lambda: f"{self._local}@{self._sender_domain}",
            "l": lambda: self._local,
            "o": lambda: self._sender_domain,
            "d": lambda: domain,
            "i": lambda: _dotted(self.client),
            "p": lambda: self._validated or "unknown",
            "v": lambda: "in-addr" if self._v4 else "ip6",
            "h": lambda: question.helo,
            "c": lambda: str(self.client),
            "r": lambda: question.receiver,
            "t": lambda: str(question.utc_second),
        }

    async def _validated_name(self, domain: str) -> str:
        # RFC 7208 §7.3: the domain itself, else a subdomain of it, else any; "unknown" when there is none.
        found = (await reverse_names(self._resolver, self.client)).validated
        return _preferred(found[:MAX_NAMES], domain)


def _preferred(names: Iterable[str], domain: str) -> str:
    wanted = domain.lower()
    ranked = sorted(names, key=lambda name: (name.lower() != wanted, not _is_within(name, wanted)))
    return ranked[0] if ranked else "unknown"


def _is_within(name: str, domain: str) -> bool:
    name, domain = name.lower(), domain.lower()
    return name == domain or name.endswith(f".{domain}")


def _dotted(client: IPv4Address | IPv6Address) -> str:
    # RFC 7208 §7.3: IPv6 as nibbles with dots; upper case as the conformance suite has it, DNS does not mind.
    return str(client) if client.version == 4 else ".".join(client.packed.hex().upper())  # noqa: PLR2004 - IP version


def _askable(domain: str) -> bool:
    # RFC 7208 §4.3: a malformed domain has no record; DNS would not say so for a name it cannot carry.
    return all(0 < len(label) <= MAX_LABEL_OCTETS for label in domain.split("."))
