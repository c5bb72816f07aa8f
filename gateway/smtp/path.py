"""Paths: what follows ``MAIL FROM:`` and ``RCPT TO:`` → ``ReversePath`` or ``ForwardPath`` and the parameters after it.

The grammar is RFC 5321 §4.1.2 with RFC 6531 §3.3: dot-string or quoted-string, domain or address literal, source
route, ``<>`` for a reverse-path only, a bare ``postmaster`` (any case) for a forward-path only. One space after the
colon is tolerated, as Postfix does. The brackets are required.

Refused, each with a named reply in an ``AddressError`` and never by any other exception: local parts over 128, domains
over 255 and paths over 256 octets; control characters and NUL; octets over 127 without SMTPUTF8, invalid UTF-8, and
with SMTPUTF8 the C1 controls and the line separators of Unicode; domains that ``gateway.smtp.domain`` refuses;
literals that are no IPv4 or IPv6 address (RFC 5321 §4.1.3: no other tag is standardised), IPv6 zone identifiers
included; dots at either end of a local part or two in a row; and, a departure, the empty quoted-string: the grammar
has it, no mailbox does, and its comparison form would read as a whole domain.

SMTPUTF8 is a parameter behind the path it governs: ``gateway.smtp.parameters.parse_mail`` reads both in order.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from gateway.smtp import replies
from gateway.smtp.address import NULL_REVERSE_PATH, ForwardPath, Mailbox, ReversePath
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.smtp.limits import MAX_DOMAIN_OCTETS, MAX_LABEL_OCTETS, MAX_LOCAL_PART_OCTETS, MAX_PATH_OCTETS
from gateway.smtp.reply import RefusalError, Reply


class AddressError(RefusalError):
    """The path is refused; ``reply`` answers the command."""


def parse_reverse_path(text: bytes, *, smtputf8: bool) -> tuple[ReversePath, bytes]:
    """Return the reverse-path and the octets behind it; raise ``AddressError``."""
    quick = _ORDINARY.match(text)
    if quick is not None and len(quick[3]) <= MAX_LABEL_OCTETS and len(quick[2]) <= MAX_LOCAL_PART_OCTETS:
        return ReversePath(_ordinary_mailbox(quick)), text[quick.end() :]
    inner, rest = _unbracketed(text, _SENDER)
    if not inner:
        return NULL_REVERSE_PATH, rest
    mailbox, _ = _mailbox(_decoded(inner, _SENDER, smtputf8=smtputf8), _SENDER)
    return ReversePath(mailbox), rest


def parse_forward_path(text: bytes, *, smtputf8: bool) -> tuple[ForwardPath, bytes]:
    """Return the forward-path and the octets behind it; raise ``AddressError``."""
    quick = _ORDINARY.match(text)
    if quick is not None and len(quick[3]) <= MAX_LABEL_OCTETS and len(quick[2]) <= MAX_LOCAL_PART_OCTETS:
        return ForwardPath(_ordinary_mailbox(quick)), text[quick.end() :]
    inner, rest = _unbracketed(text, _RECIPIENT)
    # RFC 5321 §4.1.1.3: "<Postmaster>" alone, without a domain, in any case.
    if inner.lower() == b"postmaster":
        name = inner.decode("ascii")
        return ForwardPath(Mailbox(name, "", name)), rest
    mailbox, routed = _mailbox(_decoded(inner, _RECIPIENT, smtputf8=smtputf8), _RECIPIENT)
    return ForwardPath(mailbox, routed), rest


@dataclass(frozen=True, slots=True)
class _Refusals:
    """The replies for one of the two paths."""

    syntax: Reply
    too_long: Reply
    domain: Reply
    not_utf8: Reply
    non_ascii: Reply


_SENDER = _Refusals(
    syntax=replies.BAD_SENDER_SYNTAX,
    too_long=replies.SENDER_TOO_LONG,
    domain=replies.BAD_SENDER_DOMAIN,
    not_utf8=replies.SENDER_NOT_UTF8,
    non_ascii=replies.SENDER_NON_ASCII,
)
_RECIPIENT = _Refusals(
    syntax=replies.BAD_RECIPIENT_SYNTAX,
    too_long=replies.RECIPIENT_TOO_LONG,
    domain=replies.BAD_RECIPIENT_DOMAIN,
    not_utf8=replies.RECIPIENT_NOT_UTF8,
    non_ascii=replies.RECIPIENT_NON_ASCII,
)

# RFC 5322 §3.2.3: atext.
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"

# The path nearly every mail has: a dot-string and an ASCII domain whose last label begins with a letter. Every
# repetition is possessive, so that a hostile path costs one pass. What it does not match goes to the full parser.
_ORDINARY = re.compile(
    rf" ?<(([{_ATEXT}]++(?>(?:\.[{_ATEXT}]++)*))@"
    r"((?:[A-Za-z0-9]++(?>(?:-++[A-Za-z0-9]++)*)\.)*[A-Za-z][A-Za-z0-9]*+(?>(?:-++[A-Za-z0-9]++)*)))>(?= |\Z)".encode(
        "ascii"
    ),
)

# Up to the ">" that closes the path: one inside a quoted-string does not. Control characters nowhere, spaces in
# quotes only.
_BRACKETED = re.compile(
    rb' ?<((?:[^"<>\x00-\x20\x7f]|"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*+")*+)>(?= |\Z)',
)

# RFC 5321 §4.1.2: A-d-l = At-domain *("," At-domain), then ":".
_SOURCE_ROUTE = re.compile(r"@([^,:@\"\[\]]++(?>(?:,@[^,:@\"\[\]]++)*)):")

# RFC 6531 §3.3 adds UTF8-non-ascii to atext and qtextSMTP; C1 controls and line separators are refused as controls.
_UTF8_TEXT = r"\u00a0-\u2027\u202a-\U0010ffff"
_DOT_STRING = re.compile(rf"[{_ATEXT}{_UTF8_TEXT}]++(?>(?:\.[{_ATEXT}{_UTF8_TEXT}]++)*)")
_QUOTED_STRING = re.compile(rf'"((?:[\x20\x21\x23-\x5b\x5d-\x7e{_UTF8_TEXT}]|\\[\x20-\x7e])*+)"')
_QUOTED_PAIR = re.compile(r"\\(.)")


def _ordinary_mailbox(match: re.Match[bytes]) -> Mailbox:
    wire, local_part, domain = match[1].decode(), match[2].decode(), match[3].decode()
    return Mailbox(local_part, domain.lower(), wire)


def _unbracketed(text: bytes, refusals: _Refusals) -> tuple[bytes, bytes]:
    match = _BRACKETED.match(text)
    if match is None:
        raise AddressError(refusals.syntax)
    # RFC 5321 §4.5.3.1.3: "including the punctuation and element separators", hence the two brackets.
    if len(match[1]) + 2 > MAX_PATH_OCTETS:
        raise AddressError(refusals.too_long)
    return match[1], text[match.end() :]


def _decoded(inner: bytes, refusals: _Refusals, *, smtputf8: bool) -> str:
    if inner.isascii():
        return inner.decode("ascii")
    try:
        text = inner.decode("utf-8")
    except UnicodeDecodeError as error:
        raise AddressError(refusals.not_utf8) from error
    if not smtputf8:
        raise AddressError(refusals.non_ascii)
    return text


def _mailbox(inner: str, refusals: _Refusals) -> tuple[Mailbox, bool]:
    route = _SOURCE_ROUTE.match(inner)
    if route is not None:
        for at_domain in route[1].split(",@"):
            _domain(at_domain, refusals)
    wire = inner[route.end() :] if route else inner
    local_part, end = _local_part(wire, refusals)
    if wire[end : end + 1] != "@":
        raise AddressError(refusals.syntax)
    return Mailbox(local_part, _domain(wire[end + 1 :], refusals), wire), route is not None


def _local_part(wire: str, refusals: _Refusals) -> tuple[str, int]:
    quoted = _QUOTED_STRING.match(wire)
    match = quoted or _DOT_STRING.match(wire)
    if match is None:
        raise AddressError(refusals.syntax)
    if len(match[0].encode("utf-8")) > MAX_LOCAL_PART_OCTETS:
        raise AddressError(refusals.too_long.because("local part"))
    local_part = _QUOTED_PAIR.sub(r"\1", quoted[1]) if quoted else match[0]
    if not local_part:
        raise AddressError(refusals.syntax.because("empty quoted-string"))
    return local_part, match.end()


def _domain(text: str, refusals: _Refusals) -> str:
    if len(text.encode("utf-8")) > MAX_DOMAIN_OCTETS:
        raise AddressError(refusals.too_long.because("domain"))
    normalise: Callable[[str], str] = normalise_literal if text.startswith("[") else normalise_domain
    try:
        return normalise(text)
    except DomainError as error:
        raise AddressError(refusals.domain.because(str(error))) from error


def normalise_literal(text: str) -> str:
    """Return an address literal in normal form, brackets included (RFC 5321 §4.1.3); raise ``DomainError``."""
    if not text.endswith("]"):
        raise DomainError("an address literal ends with a bracket")
    inner = text[1:-1]
    try:
        if inner[:5].lower() == "ipv6:":
            return f"[IPv6:{_ipv6(inner[5:])}]"
        return f"[{IPv4Address(inner)}]"
    except AddressValueError as error:
        raise DomainError("an address literal holds an IPv4 address, or IPv6: and an IPv6 address") from error


def _ipv6(text: str) -> IPv6Address:
    # RFC 5321 §4.1.3 has no zone identifier; a link-local zone means nothing to another host.
    if "%" in text:
        raise DomainError("an address literal has no zone identifier")
    return IPv6Address(text)
