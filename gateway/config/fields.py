"""The kinds of value a configuration has beside durations and sizes: domains, networks, endpoints, paths, texts.

Each is an annotation whose ``ValueError`` says what is allowed. ``Folder`` is what a relative path starts from; it
comes in as pydantic's validation context and is absent when the program itself builds a model, whose values are then
taken as they are.
"""

import re
from dataclasses import dataclass
from datetime import time
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, PlainSerializer, PlainValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from gateway.config.units import parse_duration
from gateway.smtp.address import Mailbox
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.smtp.path import parse_forward_path
from gateway.smtp.reply import RefusalError

# More waits than five days have minutes: the schedule is held expanded.
MAX_REPEATS = 9_999
# Long enough for any name or telephone number; these texts go into header fields and replies.
MAX_TEXT_CHARACTERS = 200
MAX_PORT = 65_535
_CLOCK_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)", re.ASCII)
WANTED_ADDRESS = "an address such as anna@example.com is wanted"


@dataclass(frozen=True, slots=True)
class Folder:
    """The folder of the file being read."""

    path: Path


def folder_of(info: ValidationInfo) -> Path | None:
    """Return the folder of the file being read, None when the program builds the model."""
    return info.context.path if isinstance(info.context, Folder) else None


def wrong_at(path: tuple[str | int, ...], text: str) -> PydanticCustomError:
    """Return the error of a check over several keys; ``path`` leads from the table checked to the key to be changed."""
    return PydanticCustomError("wrong_at", "{text}", {"text": text, "path": path})


def endpoint(text: str, default_port: int | None = None) -> str:
    """Return ``host:port`` or ``[v6]:port`` in normal form; host is an IP address or ``localhost``; ValueError."""
    host, port = _host_and_port(text, default_port)
    if host != "localhost":
        try:
            address = ip_address(host)
        except ValueError:
            raise ValueError('an address such as "0.0.0.0:25", "[::]:25" or "localhost:2525" is wanted') from None
        host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 - the version of IP
    return f"{host}:{port}"


def scanner_address(text: str) -> str:
    """Return ``unix:PATH`` or ``host:port`` of a virus scanner as written; ValueError."""
    if text.startswith("unix:/") and "\0" not in text:
        return text
    host, _, port = text.rpartition(":")
    named = (host.startswith("[") and host.endswith("]")) or (host and ":" not in host)
    if text.startswith("unix:") or not named or not port_number(port):
        raise ValueError('a scanner such as "unix:/run/clamav/clamd.ctl" or "127.0.0.1:3310" is wanted')
    return text


def several(value: Any) -> Any:
    """Return one value as a list of one."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def port_number(text: str) -> int:
    """Return a port from 0 to 65535; ValueError says so."""
    if not (text.isascii() and text.isdigit() and int(text[:6]) <= MAX_PORT):
        raise ValueError("a port is a number from 0 to 65535")
    return int(text)


def domain_name(text: str) -> str:
    """Return a domain in its normal form; ValueError says why it is none."""
    try:
        return normalise_domain(text)
    except DomainError as error:
        raise ValueError(f"not a domain: {error}") from error


def mailbox(text: str) -> Mailbox:
    """Return the mailbox of an address as an administrator writes it; ValueError says why it is none."""
    try:
        found = parse_forward_path(f"<{text}>".encode(), smtputf8=True)[0].mailbox
    except RefusalError as error:
        why = f": {error.reply.cause}" if error.reply.cause else ""
        raise ValueError(f"{WANTED_ADDRESS}{why}") from error
    if not found.domain or found.wire != text:
        raise ValueError(WANTED_ADDRESS)
    return found


def mailbox_or_domain(text: str) -> Mailbox:
    """Return the mailbox of an address, or of a domain one without local part; ValueError says why it is neither."""
    return mailbox(text) if "@" in text else Mailbox("", domain_name(text), text)


def _host_and_port(text: str, default_port: int | None) -> tuple[str, int]:
    bare = text.count(":") != 1 and not text.startswith("[")
    if default_port is not None and (bare or text.endswith("]")):
        return text.strip("[]"), default_port
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError('host:port is wanted, an IPv6 address in brackets, such as "0.0.0.0:25" or "[::]:25"')
    return host.removeprefix("[").removesuffix("]"), port_number(port)


def _network(value: Any) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    if not isinstance(value, str):
        raise ValueError('a network such as "10.0.0.0/8" or "2001:db8::/32" is wanted')  # noqa: TRY004 - pydantic takes ValueError
    try:
        found = ip_network(value, strict=False)
    except ValueError:
        raise ValueError(
            'not a network; an address or a network such as "10.0.0.0/8" or "2001:db8::/32" is wanted'
        ) from None
    if "/" in value and str(found.network_address) != str(ip_address(value.partition("/")[0])):
        raise ValueError(f'bits are set behind the prefix; write "{found}", or one address without a prefix')
    return found


def _resolved(value: Any, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path is wanted")
    folder = folder_of(info)
    return (folder / value).absolute() if folder is not None else Path(value)


def _printable(text: str) -> str:
    if len(text) > MAX_TEXT_CHARACTERS or not text.isprintable():
        raise ValueError(f"at most {MAX_TEXT_CHARACTERS} printable characters in one line are wanted")
    return text


def _listening(text: str) -> str:
    return endpoint(text)


def _listening_or_off(text: str) -> str:
    return endpoint(text) if text else ""


def _server(text: str) -> str:
    server = endpoint(text, default_port=53)
    if server.startswith("localhost"):
        raise ValueError('the IP address of a DNS server, such as "127.0.0.1:53", is wanted')
    return server


def _address(text: str) -> str:
    if text:
        mailbox(text)
    return text


def _wait(text: str) -> str:
    duration, star, times = text.partition("*")
    if parse_duration(duration) <= 0:
        raise ValueError("a wait is more than 0s")
    if star and times and not (times.isascii() and times.isdigit() and 1 <= int(times[:5]) <= MAX_REPEATS):
        raise ValueError(f'"1h*4" repeats 1 to {MAX_REPEATS} times, "4h*" until the mail expires')
    return text


def _clock_time(value: Any) -> time:
    if isinstance(value, time):
        return value
    match = _CLOCK_TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a time of day such as "03:00" is wanted (UTC)')
    return time(int(match[1]), int(match[2]))


def _clock_text(value: time) -> str:
    return f"{value:%H:%M}"


ClockTime = Annotated[
    time, PlainValidator(_clock_time), PlainSerializer(_clock_text, return_type=str, when_used="json")
]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(_network), PlainSerializer(str, when_used="json")]
PathField = Annotated[Path, PlainValidator(_resolved), PlainSerializer(str, when_used="json")]
OptionalPath = Annotated[
    Path | None,
    PlainValidator(lambda value, info: _resolved(value, info) if value else None),
    PlainSerializer(str, when_used="json-unless-none"),
]
Address = Annotated[str, AfterValidator(_address)]
Text = Annotated[str, AfterValidator(_printable)]
Domain = Annotated[str, AfterValidator(domain_name)]
Endpoint = Annotated[str, AfterValidator(_listening)]
OptionalEndpoint = Annotated[str, AfterValidator(_listening_or_off)]
DnsServer = Annotated[str, AfterValidator(_server)]
Wait = Annotated[str, AfterValidator(_wait)]
ScannerField = Annotated[str, AfterValidator(scanner_address)]
