"""A reply: code, enhanced status code and text (RFC 5321 §4.2, RFC 2034, RFC 3463).

Every reply the gateway gives is named in ``gateway.smtp.replies``; no digit strings stand at call sites. A reply's
text is printable ASCII: whatever came from outside is escaped here, so no reply can carry an injected line.
"""

from dataclasses import replace
from functools import lru_cache

from gateway.value import value

# RFC 5321 §4.5.3.1.5: a reply line, code and CR LF included, is at most 512 octets.
MAX_REPLY_LINE_OCTETS = 512


@value()
class EnhancedStatus:
    """An enhanced status code ``class.subject.detail`` (RFC 3463 §2); ``str()`` gives ``5.7.1``."""

    kind: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.kind}.{self.subject}.{self.detail}"


@value()
class Reply:
    """One SMTP reply.

    ``status`` is None where RFC 2034 gives none (banner, EHLO, 354, 221 keeps one). ``text`` may hold several lines
    separated by LF. ``cause``, ``filter``, the name of the filter whose finding decided ("" for none), and
    ``grounds``, the contract's for a refusal, are for the journal only and never reach the wire.
    """

    code: int
    status: EnhancedStatus | None
    text: str
    cause: str = ""
    filter: str = ""
    grounds: tuple[str, ...] = ()

    @property
    def is_success(self) -> bool:
        """Whether the code is 2yz."""
        return 200 <= self.code < 300  # noqa: PLR2004 - RFC 5321 §4.2.1

    @property
    def is_transient(self) -> bool:
        """Whether the code is 4yz."""
        return 400 <= self.code < 500  # noqa: PLR2004 - RFC 5321 §4.2.1

    @property
    def is_permanent(self) -> bool:
        """Whether the code is 5yz."""
        return self.code >= 500  # noqa: PLR2004 - RFC 5321 §4.2.1

    def because(self, cause: str) -> "Reply":
        """Return this reply with the cause for the journal; the wire text stays."""
        return replace(self, cause=cause)

    def saying(self, text: str) -> "Reply":
        """Return this reply with another text."""
        return replace(self, text=text)

    def wire(self, trace_id: str = "") -> bytes:
        """Return the octets to send, CR LF included; ``trace_id`` is shown in brackets after the status code."""
        return _wire(self.code, self.status, self.text, trace_id)

    def __str__(self) -> str:
        status = f" {self.status}" if self.status else ""
        return f"{self.code}{status} {self.text}"


class RefusalError(ValueError):
    """What the client wrote is refused, and ``reply`` says so on the wire.

    ``AddressError``, ``ParameterError`` and ``CommandError`` are its kinds; nothing else leaves the parsers of this
    package.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def _wire(code: int, status: EnhancedStatus | None, text: str, trace_id: str) -> bytes:
    prefix = _prefix(code, status)
    mark = f"[{trace_id}] " if trace_id else ""
    if "\n" not in text:
        return f"{code} {prefix}{mark}{printable(text)}"[: MAX_REPLY_LINE_OCTETS - 2].encode("ascii") + b"\r\n"
    lines = text.split("\n")
    last = len(lines) - 1
    out = [
        f"{code}{' ' if i == last else '-'}{prefix}{mark}{printable(line)}"[: MAX_REPLY_LINE_OCTETS - 2]
        for i, line in enumerate(lines)
    ]
    return "\r\n".join(out).encode("ascii") + b"\r\n"


@lru_cache(maxsize=512)  # as many as there are named replies, with room
def _prefix(code: int, status: EnhancedStatus | None) -> str:
    del code
    return f"{status} " if status else ""


def printable(text: str) -> str:
    r"""Return ``text`` as printable ASCII: control characters and the rest as ``\xNN`` or ``\uNNNN`` escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isascii() and c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
