"""XCLIENT: a listed proxy tells who its client is (Postfix's XCLIENT_README). No input or output.

``parse_xclient`` reads ``ADDR NAME PORT PROTO HELO``; values are xtext (RFC 1891 §5, now RFC 3461 §4),
``[UNAVAILABLE]`` and ``[TEMPUNAVAIL]`` say that the proxy does not know. ``LOGIN``, ``DESTADDR`` and ``DESTPORT`` are
not offered and refused, as is everything malformed.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from gateway.intake.proxy_protocol import plain_address
from gateway.smtp import replies
from gateway.smtp.command import CommandError
from gateway.smtp.limits import MAX_DOMAIN_OCTETS
from gateway.smtp.parameters import ParameterError, decode_xtext

_UNKNOWN = frozenset(["[UNAVAILABLE]", "[TEMPUNAVAIL]"])
_NAMES = frozenset(["ADDR", "NAME", "PORT", "PROTO", "HELO"])
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_PORT = re.compile(r"[0-9]{1,5}")
_MOST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFacts:
    """What XCLIENT said; None where it said nothing, "" or port 0 where the proxy does not know."""

    address: IPv4Address | IPv6Address | None = None
    port: int | None = None
    name: str | None = None
    helo: str | None = None
    esmtp: bool | None = None


def parse_xclient(argument: bytes) -> ClientFacts:
    """Return the facts of one XCLIENT command; raise ``CommandError``."""
    said = _attributes(argument)
    return ClientFacts(
        address=_address(said["ADDR"]) if "ADDR" in said else None,
        port=_port(said["PORT"]) if "PORT" in said else None,
        name=_name(said["NAME"]) if "NAME" in said else None,
        helo=_helo(said["HELO"]) if "HELO" in said else None,
        esmtp=_protocol(said["PROTO"]) if "PROTO" in said else None,
    )


def _bad() -> CommandError:
    return CommandError(replies.BAD_ARGUMENTS)


def _attributes(argument: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in argument.decode("ascii").split(" "):
        if not word:
            continue
        name, _, value = word.partition("=")
        name = name.upper()
        if name not in _NAMES or name in found or not value:
            raise _bad()
        found[name] = _decoded(value)
    if not found:
        raise _bad()
    return found


def _decoded(value: str) -> str:
    if value.upper() in _UNKNOWN:
        return ""
    try:
        return decode_xtext(value)
    except ParameterError as error:
        raise _bad() from error


def _address(text: str) -> IPv4Address | IPv6Address | None:
    if not text:
        return None
    try:
        return plain_address(ip_address(text[5:] if text[:5].upper() == "IPV6:" else text))
    except ValueError as error:
        raise _bad() from error


def _port(text: str) -> int:
    if not text:
        return 0
    if not _PORT.fullmatch(text) or int(text) > _MOST_PORT:
        raise _bad()
    return int(text)


def _name(text: str) -> str:
    if text and (len(text) > MAX_DOMAIN_OCTETS or not _NAME.fullmatch(text)):
        raise _bad()
    return text


def _helo(text: str) -> str:
    if len(text) > MAX_DOMAIN_OCTETS:
        raise _bad()
    return text


def _protocol(text: str) -> bool:
    if text.upper() not in ("SMTP", "ESMTP"):
        raise _bad()
    return text.upper() == "ESMTP"
