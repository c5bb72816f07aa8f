r"""clamd's answers in a session (clamd(8), IDSESSION): ``N: text`` and a NUL, in any order, possibly in pieces.

``stream: OK`` is clean, and nothing else is: not a prefix of it, not with white space, not in another case, not
without its NUL, not under a number that was not asked or has been answered. One word that does not belong here and
nothing that the session says is believed, since then it cannot be told which answer belongs to which piece.
"""

import re

from gateway.antivirus.result import CLEAN, Cause, ScanResult, found, temperror

# The longest answer is a signature's name; clamd cuts those far below this.
MAX_ANSWER_OCTETS = 4096
_NUMBERED = re.compile(rb"([1-9][0-9]{0,5}): ([ -~]+)")
_FOUND = re.compile(r"stream: (\S(?:.*\S)?) FOUND")
_TOLD_CHARACTERS = 120


class GarbageError(Exception):
    """What came is no answer to what was asked; the text says why."""


class AnswerReader:
    """Puts the pieces together: ``asked`` numbers from ``first`` on, each answered once."""

    def __init__(self, asked: int, first: int = 1) -> None:
        self._first = first
        self._asked = asked
        self._buffer = b""
        self.answers: dict[int, str] = {}

    def ask_another(self) -> None:
        """Expect one answer more."""
        self._asked += 1

    @property
    def next(self) -> int:
        """The number of the first question after these."""
        return self._first + self._asked

    def feed(self, octets: bytes) -> None:
        """Take what was read; raise GarbageError."""
        *whole, self._buffer = (self._buffer + octets).split(b"\0")
        for line in whole:
            self._take(line)
        if len(self._buffer) > MAX_ANSWER_OCTETS:
            raise GarbageError("an answer without an end")
        if self.complete and self._buffer:
            raise GarbageError("more answers than questions")

    def _take(self, line: bytes) -> None:
        match = _NUMBERED.fullmatch(line)
        if match is None or len(line) > MAX_ANSWER_OCTETS:
            raise GarbageError(f"no answer of a scanner: {_shown(line)}")
        number = int(match[1])
        if not self._first <= number < self.next or number in self.answers:
            raise GarbageError(f"an answer that was not asked for: {_shown(line)}")
        self.answers[number] = match[2].decode("ascii")

    @property
    def complete(self) -> bool:
        """Whether every number is answered."""
        return len(self.answers) == self._asked


def read_verdict(text: str) -> ScanResult:
    """Return what one answer, without its number, says of a stream."""
    if text == "stream: OK":
        return CLEAN
    if match := _FOUND.fullmatch(text):
        return found(match[1])
    told = text[:_TOLD_CHARACTERS]
    if text == "INSTREAM size limit exceeded. ERROR":
        return temperror(Cause.SIZE_LIMIT, "larger than the scanner takes (StreamMaxLength)")
    if text.endswith(" ERROR"):
        return temperror(Cause.ERROR, f"the scanner answered {told}")
    return temperror(Cause.GARBAGE, f"the scanner answered {told}")


def read_version(text: str) -> str:
    """Return the version an answer tells; GarbageError when it is an error or a verdict."""
    if text.endswith(("ERROR", "UNKNOWN COMMAND")) or text.startswith("stream:"):
        raise GarbageError(f"no version: {text[:_TOLD_CHARACTERS]}")
    return text


def _shown(line: bytes) -> str:
    return ascii(line[:_TOLD_CHARACTERS].decode("latin-1"))
