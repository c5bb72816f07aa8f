"""What was decoded of a content in memory, for whoever asks next: rules, filters and the virus scanner all do."""

from gateway.mail.mime.transfer import Decoded

# Of one message: most mail in memory, and little beside what a session holds.
MAX_KEPT_OCTETS = 256 * 1024

# Where a body begins and ends, and its encoding.
Body = tuple[int, int, str]


class Decodings:
    """Whole bodies, MAX_KEPT_OCTETS of them at most; those that found no room are decoded again."""

    __slots__ = ("_found", "_left")

    def __init__(self) -> None:
        self._found: dict[Body, Decoded] = {}
        self._left = MAX_KEPT_OCTETS

    def get(self, body: Body) -> Decoded | None:
        """Return what a body's octets are, None where it has to be decoded."""
        return self._found.get(body)

    def keep(self, body: Body, decoded: Decoded) -> None:
        """Keep it where it is whole and there is room."""
        if not decoded.truncated and len(decoded.octets) <= self._left:
            self._left -= len(decoded.octets)
            self._found[body] = decoded
