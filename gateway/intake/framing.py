r"""Where a content ends and what its octets are: DATA up to ``CR LF . CR LF`` (RFC 5321 §4.5.2). No input or output.

``DotFramer`` takes octets as they arrive, split anywhere, and finds the end in bulk: one search a chunk, no line is
ever cut out, so that lines of any length pass. Only the standard sequence ends the data; ``LF . LF``, ``CR LF . LF``,
``LF . CR LF`` and ``CR . CR`` are content (and refused or normalised by ``gateway.intake.content``). Dots are
unstuffed at the beginning of lines that a CR LF begins.
"""

_END = b"\r\n.\r\n"
_DOT_LINE = b"\r\n."
# Stuffed dots taken one by one in a chunk before the rest is done by two bulk passes: a mail has a few, an attack
# millions.
_SINGLE_DOTS = 16


class DotFramer:
    """Collects one content; feed until ``rest`` is not None."""

    __slots__ = ("_skip", "_tail", "rest")

    def __init__(self) -> None:
        # The CR LF of the DATA command begins the first line (RFC 5321 §4.1.1.4); it is no content, hence the two
        # octets to skip.
        self._tail = b"\r\n"
        self._skip = 2
        self.rest: bytes | None = None
        """What followed the end of data, once that was found; None before."""

    def feed(self, chunk: bytes) -> bytes:
        """Return the content octets that ``chunk`` completes; at most four that may begin the end are held back."""
        data = self._tail + chunk
        pieces: list[bytes] = []
        start = 0
        for _ in range(_SINGLE_DOTS):
            dot = data.find(_DOT_LINE, start)
            # The two octets that would complete the end may not have come.
            if dot < 0 or _END.startswith(data[dot : dot + 5]):
                break
            # RFC 5321 §4.5.2: a first period is deleted when other characters follow on the line.
            pieces.append(data[start : dot + 2])
            start = dot + 3
        else:
            dot = data.find(_END, start)
        last = self._last(data, start, dot)
        pieces.append(last.replace(_DOT_LINE, b"\r\n") if len(pieces) == _SINGLE_DOTS else last)
        return self._without_lead(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _last(self, data: bytes, start: int, end: int) -> bytes:
        if end >= 0 and len(data) - end >= len(_END):
            self.rest = data[end + 5 :]
            return data[start : end + 2]
        # The cut falls before a CR, so no CR LF and no CR LF dot is ever split between two pieces.
        held = data.find(b"\r", max(start, len(data) - 4))
        cut = len(data) if held < 0 else held
        self._tail = data[cut:]
        return data[start:cut]

    def _without_lead(self, piece: bytes) -> bytes:
        if self._skip and piece:
            self._skip = 0
            return piece[2:]
        return piece
