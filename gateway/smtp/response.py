"""Replies of a next hop, octets in, values out; no input or output (RFC 5321 §4.2, RFC 2034).

``ReplyParser`` takes octets as they arrive, split anywhere. Like Postfix it takes LF alone for a line's end and drops
every CR before it, takes a code without text, and takes three digits whatever the second. Text becomes printable
ASCII, lines joined by LF; an enhanced status code is taken out of it when its class agrees with the code's.

Refused with ``ProtocolError``, after which the parser is dead: a line that is no reply, a code outside 2yz to 5yz,
lines of one reply that disagree about success (the last line's code counts among codes of one class), and anything
beyond the bounds of ``gateway.smtp.limits``. Replies complete before the fault are returned first, since a 250 to the
final dot counts whatever follows it; the error is then raised by the next ``feed`` and stands in ``error`` at once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from gateway.smtp.limits import (
    MAX_REPLY_LINE_OCTETS_FROM_NEXT_HOP,
    MAX_REPLY_LINES_FROM_NEXT_HOP,
    MAX_REPLY_OCTETS_FROM_NEXT_HOP,
)
from gateway.smtp.reply import EnhancedStatus, Reply, printable


class ProtocolError(ValueError):
    """The next hop does not speak SMTP; the message says how. The connection is of no further use."""


# RFC 5321 §4.2: Reply-line = Reply-code [ SP textstring ] CRLF, with "-" where more lines follow.
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)

# RFC 3463 §2, RFC 2034 §4.
_STATUS = re.compile(r"([245])\.([0-9]{1,3})\.([0-9]{1,3})(?: |\Z)")


class ReplyParser:
    """Collects the replies of one connection."""

    __slots__ = ("_lines", "_octets", "_pending", "error")

    def __init__(self) -> None:
        self._pending = b""
        self._lines: list[tuple[int, str]] = []
        self._octets = 0
        self.error: ProtocolError | None = None
        """What broke the stream; no further reply will come."""

    @property
    def is_idle(self) -> bool:
        """Whether no part of a reply is waiting for the rest."""
        return not self._pending and not self._lines

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that ``data`` completes, in order; raise ``ProtocolError``."""
        if self.error is not None:
            raise self.error
        done: list[Reply] = []
        try:
            self._take(data, done)
        except ProtocolError as error:
            self.error = error
            if not done:
                raise
        return done

    def _take(self, data: bytes, done: list[Reply]) -> None:
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._count(len(line) + 1)
            self._line(line.rstrip(b"\r"), done)
        if len(self._pending) >= MAX_REPLY_LINE_OCTETS_FROM_NEXT_HOP:
            raise ProtocolError("reply line too long")

    def _count(self, octets: int) -> None:
        self._octets += octets
        if octets > MAX_REPLY_LINE_OCTETS_FROM_NEXT_HOP:
            raise ProtocolError("reply line too long")
        if self._octets > MAX_REPLY_OCTETS_FROM_NEXT_HOP or len(self._lines) >= MAX_REPLY_LINES_FROM_NEXT_HOP:
            raise ProtocolError("reply too long")

    def _line(self, line: bytes, done: list[Reply]) -> None:
        if not self._lines and (reply := _whole(line)) is not None:
            done.append(reply)
            self._octets = 0
            return
        match = _LINE.fullmatch(line)
        if match is None:
            raise ProtocolError(f"not a reply: {_text(line[:80])}")
        code = int(match[1])
        if self._lines and self._lines[-1][0] // 100 != code // 100:
            raise ProtocolError(f"reply codes {self._lines[-1][0]} and {code} in one reply")
        self._lines.append((code, _text(match[3] or b"")))
        if match[2] != b"-":
            done.append(_reply(self._lines))
            self._lines = []
            self._octets = 0


# A next hop says the same to every mail but for its last reply; an entry has a line's octets thrice at most.
@lru_cache(maxsize=256)
def _whole(line: bytes) -> Reply | None:
    """Return the reply that this line is by itself, None when it is none or has more lines."""
    match = _LINE.fullmatch(line)
    return None if match is None or match[2] == b"-" else _reply([(int(match[1]), _text(match[3] or b""))])


def _text(octets: bytes) -> str:
    # RFC 6531 §3.7.4.2: replies may be UTF-8; what is not ASCII is shown escaped.
    return printable(octets.decode("utf-8", "backslashreplace"))


def _reply(lines: list[tuple[int, str]]) -> Reply:
    code, text = lines[-1]
    match = _STATUS.match(text)
    if match is None or int(match[1]) != code // 100:
        return Reply(code, None, text if len(lines) == 1 else "\n".join(line for _, line in lines))
    status = EnhancedStatus(int(match[1]), int(match[2]), int(match[3]))
    if len(lines) == 1:
        return Reply(code, status, text[match.end() :])
    # RFC 2034 §4: every line of the reply carries the same status code.
    prefix = text[: match.end()].rstrip()
    return Reply(code, status, "\n".join(line.removeprefix(prefix).removeprefix(" ") for _, line in lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """What a next hop offered in its answer to EHLO; all False and empty after HELO.

    ``size_limit`` is None without SIZE and where SIZE names no fixed maximum (RFC 1870 §4); ``limits`` holds RFC
    9422's names, MAILMAX, RCPTMAX and RCPTDOMAINMAX, as far as they are offered.
    """

    pipelining: bool = False
    size: bool = False
    size_limit: int | None = None
    eightbitmime: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    chunking: bool = False
    enhancedstatuscodes: bool = False
    limits: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


NO_EXTENSIONS = Extensions()

# RFC 9422 §4: the limits defined; each is a number of one to six digits.
_LIMIT_NAMES = frozenset(["MAILMAX", "RCPTMAX", "RCPTDOMAINMAX"])
_LIMIT = re.compile(r"([A-Z0-9]+)=([1-9][0-9]{0,5})")
_SIZE_LIMIT = re.compile(r"[0-9]{1,20}")


def parse_ehlo(reply: Reply) -> Extensions:
    """Return what ``reply``, the answer to EHLO, offers; a keyword counts in any case, an unknown one is ignored."""
    if not reply.is_success:
        return NO_EXTENSIONS
    # RFC 5321 §4.1.1.1: the first line is the server's name, each other one a keyword and its parameters.
    offered = dict(_keyword(line) for line in reply.text.split("\n")[1:])
    return Extensions(
        pipelining="PIPELINING" in offered,
        size="SIZE" in offered,
        size_limit=_size_limit(offered.get("SIZE", "")),
        eightbitmime="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        dsn="DSN" in offered,
        starttls="STARTTLS" in offered,
        chunking="CHUNKING" in offered,
        enhancedstatuscodes="ENHANCEDSTATUSCODES" in offered,
        limits=_limits(offered.get("LIMITS", "")),
    )


def _keyword(line: str) -> tuple[str, str]:
    keyword, _, parameters = line.strip().partition(" ")
    return keyword.upper(), parameters.strip()


def _size_limit(parameters: str) -> int | None:
    # RFC 1870 §4: 0, and no number, mean that no fixed maximum is in force.
    return (int(parameters) or None) if _SIZE_LIMIT.fullmatch(parameters) else None


def _limits(parameters: str) -> Mapping[str, int]:
    # RFC 9422 §3: a limit that is unknown or badly written is ignored.
    matches = (_LIMIT.fullmatch(word) for word in parameters.upper().split(" "))
    return MappingProxyType({match[1]: int(match[2]) for match in matches if match and match[1] in _LIMIT_NAMES})
