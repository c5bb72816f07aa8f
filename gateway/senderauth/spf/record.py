"""An SPF record (RFC 7208 §4.6, §5, §6, §12) as values.

``parse_record`` returns a ``Record`` or a ``RecordFault``; it holds the whole record to the grammar before anything
is evaluated, because a syntax error anywhere makes the result *permerror* (§4.6). Answers are remembered by text:
most mail comes from few domains.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from gateway.senderauth.spf.macro import MacroError, MacroString, parse_domain_spec, parse_macro_string
from gateway.senderauth.word import Word

_QUALIFIERS = {"+": Word.PASS, "-": Word.FAIL, "~": Word.SOFTFAIL, "?": Word.NEUTRAL}
# RFC 7208 §12: name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ), then "=": that it is no mechanism is told by it.
_MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9._-]*)=(.*)", re.DOTALL)
_MECHANISM = re.compile(r"([-+~?]?)([A-Za-z][A-Za-z0-9._-]*)([:/].*)?", re.DOTALL)
# RFC 7208 §5.6: ip4-cidr-length = "/" ("0" / %x31-39 0*1DIGIT); ip6 likewise with three digits.
_DUAL_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?$")
_CIDR = re.compile(r"([^/]*)(?:/(0|[1-9][0-9]{0,2}))?")
_V4_BITS, _V6_BITS = 32, 128


# RFC 7208 §3.4 wants records to fit into 512 octets of UDP; the longest in use have some 4,000. Each term costs time.
MAX_RECORD_CHARACTERS = 8192


class _TermError(ValueError):
    """Within this file: what is wrong with a term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanism:
    """One directive; ``text`` as written.

    ``spec`` is the domain-spec of include, a, mx, ptr and exists (None: the current domain); ``masks`` the cidr
    lengths of a and mx as bit masks for IPv4 and IPv6; ``network`` version, network and mask of ip4 and ip6.
    """

    kind: str
    qualifier: Word
    text: str
    spec: MacroString | None = None
    masks: tuple[int, int] = (0, 0)
    network: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record in order; ``redirect`` counts when no mechanism matches, ``exp`` explains a *fail*."""

    mechanisms: tuple[Mechanism, ...]
    redirect: MacroString | None = None
    exp: MacroString | None = None


@dataclass(frozen=True, slots=True)
class RecordFault:
    """Why a text is no SPF record."""

    reason: str


def is_spf(text: str) -> bool:
    """Tell whether a TXT record is one of version 1 (RFC 7208 §4.5): "v=spf1" and a space or the end."""
    return text[:6].lower() == "v=spf1" and (len(text) == 6 or text[6] == " ")  # noqa: PLR2004 - the version's length


# 4,096 records of some 500 octets, a few MB: the domains of a busy hour.
@lru_cache(maxsize=4096)
def parse_record(text: str) -> Record | RecordFault:
    """Return the record that ``text`` (``is_spf``) is, or what is wrong with it."""
    if len(text) > MAX_RECORD_CHARACTERS:
        return RecordFault("the record is too long")
    if not text.isascii():
        return RecordFault("a character that is not ASCII")
    try:
        return _record(text[6:])
    except (_TermError, MacroError) as fault:
        return RecordFault(str(fault))


def _record(text: str) -> Record:
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, MacroString] = {}
    # RFC 7208 §4.6.1: terms are separated by spaces; a tab is part of a term and so an error.
    for term in filter(None, text.split(" ")):
        modifier = _MODIFIER.fullmatch(term)
        if modifier is None:
            mechanisms.append(_mechanism(term))
            continue
        name = modifier[1].lower()
        if name not in {"redirect", "exp"}:
            parse_macro_string(modifier[2])
        elif name in modifiers:
            # RFC 7208 §6: each at most once.
            raise _TermError(f"more than one {name}=")
        else:
            modifiers[name] = _domain_spec(modifier[2], term)
    return Record(mechanisms=tuple(mechanisms), redirect=modifiers.get("redirect"), exp=modifiers.get("exp"))


def _mechanism(term: str) -> Mechanism:
    found = _MECHANISM.fullmatch(term)
    if found is None:
        raise _TermError(f"{term[:80]!r} is no term")
    kind, rest = found[2].lower(), found[3] or ""
    parts = _parts(kind, rest, term)
    return Mechanism(kind=kind, qualifier=_QUALIFIERS[found[1] or "+"], text=term, **parts)  # type: ignore[arg-type]


def _parts(kind: str, rest: str, term: str) -> dict[str, object]:
    match kind:
        case "all":
            if rest:
                raise _TermError(f"{term[:80]!r}: all takes nothing")
            return {}
        case "include" | "exists":
            return {"spec": _domain_spec(_after_colon(rest, term), term)}
        case "a" | "mx":
            return _host_and_masks(rest, term)
        case "ptr":
            return {"spec": _domain_spec(_after_colon(rest, term), term) if rest else None}
        case "ip4":
            return {"network": _network(_after_colon(rest, term), IPv4Address, _V4_BITS)}
        case "ip6":
            return {"network": _network(_after_colon(rest, term), IPv6Address, _V6_BITS)}
    raise _TermError(f"{term[:80]!r}: no such mechanism")


def _after_colon(rest: str, term: str) -> str:
    if not rest.startswith(":") or len(rest) == 1:
        raise _TermError(f"{term[:80]!r} lacks its argument")
    return rest[1:]


def _domain_spec(text: str, term: str) -> MacroString:
    if not text:
        raise _TermError(f"{term[:80]!r} lacks its domain")
    return parse_domain_spec(text)


def _host_and_masks(rest: str, term: str) -> dict[str, object]:
    # RFC 7208 §5.3, §5.4: [ ":" domain-spec ] [ dual-cidr-length ]
    cidr = _DUAL_CIDR.search(rest)
    host, v4, v6 = (rest[: cidr.start()], cidr[1], cidr[2]) if cidr else (rest, None, None)
    if "/" in host and not host.startswith(":"):
        raise _TermError(f"{term[:80]!r}: not a prefix length")
    return {
        "spec": _domain_spec(_after_colon(host, term), term) if host else None,
        "masks": (_mask(v4, _V4_BITS), _mask(v6, _V6_BITS)),
    }


def _network(text: str, kind: type[IPv4Address] | type[IPv6Address], bits: int) -> tuple[int, int, int]:
    found = _CIDR.fullmatch(text)
    if found is None:
        raise _TermError(f"{text[:80]!r} is no network")
    try:
        address = kind(found[1])
    except ValueError as error:
        raise _TermError(f"{text[:80]!r} is no network") from error
    if getattr(address, "scope_id", None):
        raise _TermError(f"{text[:80]!r} has a zone")
    mask = _mask(found[2], bits)
    return address.version, int(address) & mask, mask


def _mask(length: str | None, bits: int) -> int:
    prefix = bits if length is None else int(length)
    if prefix > bits:
        raise _TermError(f"/{prefix} is too long")
    return ((1 << prefix) - 1) << (bits - prefix)
