"""The octets that signatures cover (RFC 6376 §3.4), computed once per message for all its signatures and seals.

``SignedMessage`` hands out header fields from the bottom up, their canonical forms, and digests of the body. Bodies
are read in pieces and never held; one pass serves every form and length asked for. Beyond ``_INLINE_OCTETS`` the pass
runs in a thread: its pieces are small, so the loop gets the interpreter back within a millisecond or two, whatever
the body.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from dkim.canonicalization import Relaxed, Simple

from gateway.mail.content import Content
from gateway.mail.header import MAX_HEADER_OCTETS, HeaderField, HeaderSection, has_end
from gateway.mail.rendition import AS_RECEIVED, Rendition
from gateway.value import value

# Hashing this much costs less than handing it to a thread and back, about 0.2 ms.
_INLINE_OCTETS = 96 * 1024

# A spilled content is read in larger pieces; these keep every single step on the interpreter short.
_PIECE_OCTETS = 64 * 1024

# One: several that want the interpreter at once make the loop wait for each in turn (measured: five bodies of 10 MB at
# once, 74 ms), and they would not be done sooner.
_THREAD = ThreadPoolExecutor(max_workers=1, thread_name_prefix="body-digest")

_CRLF = b"\r\n"
# What dkimpy strips beyond the WSP of RFC 6376 §2.8.
_STRIPPED_TOO_MUCH = (b"\x0b", b"\x0c")


@value()
class BodyForm:
    """A body canonicalisation, "simple" or "relaxed", and the octets that count (``l=``), None for all."""

    algorithm: str
    length: int | None = None


@value()
class BodyDigest:
    """SHA-256 over what counts, and how many octets the whole canonical body has."""

    digest: bytes
    octets: int


class SignedMessage:
    """A message as signatures see it: ``header``, and ``body`` which gives its octets in pieces, each time anew.

    ``size`` in octets, of all.
    """

    def __init__(self, header: HeaderSection, body: Callable[[], Iterator[bytes]], size: int) -> None:
        self.header = header
        self._body = body
        self._size = size
        self._relaxed: dict[int, bytes] = {}
        self._digests: dict[BodyForm, BodyDigest] = {}

    @classmethod
    def of(cls, content: Content, rendition: Rendition = AS_RECEIVED) -> "SignedMessage":
        """Return a content as received, or as it leaves in ``rendition``."""
        as_received = rendition == AS_RECEIVED
        header = content.header if as_received else HeaderSection(_head(rendition.chunks(content)))
        # A twin, because what is kept with a content must not keep that content: a circle waits for the collector.
        source = Content(content.octets, path=content.path, size=content.size)
        return cls(header, lambda: _after_header(header, rendition.chunks(source)), rendition.size(content))

    def fields(self, name: str) -> list[HeaderField]:
        """Return the fields called ``name``, first to last."""
        return self.header.get_all(name)

    def selected(self, names: Iterable[str]) -> Iterator[HeaderField]:
        """Yield the fields that ``h=`` names (RFC 6376 §5.4.2): from the bottom up, nothing for those missing."""
        left: dict[str, list[HeaderField]] = {}
        for name in names:
            if name not in left:
                left[name] = self.fields(name)
            if left[name]:
                yield left[name].pop()

    def canonical(self, field: HeaderField, algorithm: str) -> bytes:
        """Return a field's canonical octets, CR LF included (RFC 6376 §3.4.1, §3.4.2)."""
        if algorithm == "simple":
            octets = self.header.octets[field.start : field.end]
            return octets if octets.endswith(b"\n") else octets + _CRLF
        known = self._relaxed.get(field.start)
        if known is None:
            known = self._relaxed[field.start] = canonical_field(field.name, field.raw_value, "relaxed")
        return known

    async def prepare(self, forms: Iterable[BodyForm]) -> None:
        """Digest the body in every form at once, off the loop when it is large."""
        missing = {form for form in forms if form not in self._digests}
        if not missing:
            return
        if self._size <= _INLINE_OCTETS:
            self._digests |= digests(self._body(), missing)
        else:
            loop = asyncio.get_running_loop()
            self._digests |= await loop.run_in_executor(_THREAD, lambda: digests(self._body(), missing))

    def body_digest(self, form: BodyForm) -> BodyDigest:
        """Return a digest that was prepared."""
        return self._digests[form]


def _head(chunks: Iterator[bytes]) -> bytes:
    head = b""
    for chunk in chunks:
        head += chunk
        if has_end(head) or len(head) > MAX_HEADER_OCTETS:
            break
    return head


def _after_header(header: HeaderSection, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield what follows the empty line that ends the header section."""
    skip = header.end
    held = b""
    for chunk in chunks:
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        piece = held + (memoryview(chunk)[skip:].tobytes() if skip else chunk)
        skip = 0
        if len(piece) < len(_CRLF):
            held = piece
            continue
        yield piece[2 if piece.startswith(_CRLF) else 1 if piece[:1] == b"\n" else 0 :]
        break
    yield from chunks


def canonical_field(name: bytes, raw_value: bytes, algorithm: str) -> bytes:
    """Return a field's canonical octets, CR LF included."""
    if algorithm == "simple":
        ((kept_name, value),) = Simple.canonicalize_headers([(name, raw_value)])
        return bytes(kept_name + b":" + value)
    plain = raw_value.removesuffix(b"\n").removesuffix(b"\r")
    if not (b"\n" in plain or b"\r" in plain or b"\t" in plain or b"  " in plain):
        # Half of all fields are one line without a double space, and only at its ends a single one counts.
        return name.lower() + b":" + plain.strip(b" ") + _CRLF
    if any(octet in raw_value for octet in _STRIPPED_TOO_MUCH):
        return name.lower() + b":" + _relaxed_value(raw_value) + _CRLF
    ((lower_name, value),) = Relaxed.canonicalize_headers([(name, raw_value)])
    return bytes(lower_name + b":" + value)


def _relaxed_value(raw_value: bytes) -> bytes:
    # RFC 6376 §3.4.2: WSP is space and tab; form feeds and vertical tabs stay.
    return _collapsed(raw_value.replace(_CRLF, b"").replace(b"\n", b"")).strip(b" ")


def _collapsed(octets: bytes) -> bytes:
    if b"\t" in octets:
        octets = octets.replace(b"\t", b" ")
    # Each round halves every run, so the rounds are few and their work is linear together.
    while b"  " in octets:
        octets = octets.replace(b"  ", b" ")
    return octets


# --- The body.


def digests(pieces: Iterable[bytes], forms: Iterable[BodyForm]) -> dict[BodyForm, BodyDigest]:
    """Return the digest for each form in one pass over ``pieces``."""
    by_algorithm: dict[str, set[int | None]] = {}
    for form in forms:
        by_algorithm.setdefault(form.algorithm, set()).add(form.length)
    bodies = [CanonicalBody(algorithm, lengths) for algorithm, lengths in by_algorithm.items()]
    for piece in pieces:
        for at in range(0, len(piece), _PIECE_OCTETS):
            part = piece[at : at + _PIECE_OCTETS]
            for body in bodies:
                body.feed(part)
    return {BodyForm(body.algorithm, length): digest for body in bodies for length, digest in body.finished().items()}


class CanonicalBody:
    """A body in one canonicalisation (RFC 6376 §3.4.3, §3.4.4), fed in pieces, digested up to several lengths.

    What may still turn out to be trailing (empty lines, a space before a line's end, half a line's end) is held back.
    """

    def __init__(self, algorithm: str, lengths: Iterable[int | None]) -> None:
        self.algorithm = algorithm
        lengths = set(lengths)
        self._wanted = sorted(length for length in lengths if length is not None)
        self._whole = None in lengths
        self._hash = hashlib.sha256()
        self._digests: dict[int | None, bytes] = {}
        self._octets = 0
        self._held = b""
        self._held_lines = 0

    def feed(self, piece: bytes) -> None:
        """Take the next octets."""
        block = self._lines(self._held + piece)
        keep = len(block) - 1 if block.endswith(b"\r") else len(block)
        if self.algorithm == "relaxed" and block.endswith(b" ", 0, keep):
            keep -= 1
        self._held = block[keep:]
        self._take(block[:keep])

    def finished(self) -> dict[int | None, BodyDigest]:
        """Return the digest up to each length."""
        rest = self._held
        if self.algorithm == "relaxed":
            # The end of the content ends its last line.
            rest = rest.removesuffix(b" ")
        self._take(rest)
        # RFC 6376 §3.4.3: an empty body is one CR LF; §3.4.4: it is empty; both: a last line without an end gets one.
        if self._octets or self.algorithm == "simple":
            self._digest(_CRLF)
        self._digests |= dict.fromkeys(self._wanted, self._hash.digest())
        if self._whole:
            self._digests[None] = self._hash.digest()
        return {length: BodyDigest(digest, self._octets) for length, digest in self._digests.items()}

    def _lines(self, block: bytes) -> bytes:
        if self.algorithm == "simple":
            return block
        # RFC 6376 §3.4.4: white space at the end of lines goes, any other becomes one space.
        return _collapsed(block).replace(b" \r\n", _CRLF)

    def _take(self, block: bytes) -> None:
        if not block:
            return
        lines = _trailing_lines(block)
        text = block[: len(block) - 2 * lines]
        if text:
            self._release()
            self._digest(text)
            self._held_lines = lines
        else:
            self._held_lines += lines

    def _release(self) -> None:
        while self._held_lines:
            lines = min(self._held_lines, _PIECE_OCTETS // 2)
            self._digest(_CRLF * lines)
            self._held_lines -= lines

    def _digest(self, octets: bytes) -> None:
        end = self._octets + len(octets)
        while self._wanted and self._wanted[0] <= end:
            length = self._wanted.pop(0)
            upto = self._hash.copy()
            upto.update(octets[: length - self._octets])
            self._digests[length] = upto.digest()
        self._hash.update(octets)
        self._octets = end


def _trailing_lines(block: bytes) -> int:
    """Return how many CR LF ``block`` ends with."""
    if not block.endswith(_CRLF):
        return 0
    if not block.endswith(_CRLF * 2):
        return 1
    tail = block[len(block.rstrip(_CRLF)) :]
    if tail == _CRLF * (len(tail) // 2):
        return len(tail) // 2
    count = 0
    for piece in reversed(tail.split(_CRLF)):
        if piece:
            break
        count += 1
    return count
