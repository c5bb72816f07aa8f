"""One message scanned: the whole as it is, and every decoded part of every reading a mail client might take.

What a scanner makes of the whole depends on how it reads mail; what a client shows its user depends on the client. So
each part is decoded as every client would and scanned by itself, and archives are walked beside that. The result is
the gravest of all; which parts are infected, and which of them can be cut out, is told part by part.
"""

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from gateway.antivirus.archive.kinds import SHUT_DOCUMENTS, is_shut_document, kinds_of
from gateway.antivirus.archive.report import NOBODY_LOOKED, ArchiveReport
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.cms import unwrap
from gateway.antivirus.framing import MAX_STREAM_OCTETS, FileSpan, Octets, Piece
from gateway.antivirus.mail_text import passwords_in
from gateway.antivirus.result import CLEAN, Cause, Outcome, ScanResult, temperror, worst
from gateway.mail.content import Content
from gateway.mail.filetype import FileFacts, inspect
from gateway.mail.filetype.risks import risks
from gateway.mail.mime.readings import Leaf, Place, readings

# Decoding and hashing more than this, some 300 µs, leaves the loop.
_INLINE_OCTETS = 256 * 1024
# Messages in signed messages in encoded messages; people come to two.
_MAX_WRAPPED = 8
_UNWRAPPED_OCTETS = 128 * 1024 * 1024
# A sequence in DER, and a zero in ASCII.
_DER = b"\x30"
# By how a file begins clamd tells that it is a mail. Of the names of header fields it knows more with some signature
# databases than with others, and these always.
_SURELY_MAIL = (b"Received: ", b"From: ")
# What stands for something that is elsewhere, or for a piece of something: never delivered silently.
_ELSEWHERE = frozenset({"message/partial", "message/external-body"})


@dataclass(frozen=True, slots=True, kw_only=True)
class PartScan:
    """One leaf's result, the gravest of its decodings and of what its archives hold.

    ``usual`` tells whether the reader that most people have sees it; ``facts`` are an attachment's. ``risks`` are
    those of a file that only undoing a wrapping or another reading shows (``mail.filetype.risks``).
    """

    leaf: Leaf = field(repr=False)
    result: ScanResult
    usual: bool
    size: int
    archive: ArchiveReport | None = None
    facts: FileFacts | None = None
    risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageScan:
    """Everything known about one message; ``result`` is the gravest, ``whole`` that of the octets as received.

    ``ambiguities`` are what readers take differently, archives' included. ``versions`` are the signatures it was
    scanned with.
    """

    result: ScanResult
    whole: ScanResult
    parts: tuple[PartScan, ...] = ()
    ambiguities: tuple[str, ...] = ()

    @property
    def infected(self) -> tuple[PartScan, ...]:
        """The parts in which a virus was found."""
        return tuple(part for part in self.parts if part.result.outcome is Outcome.INFECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A leaf with its decodings as pieces; one without pieces, but not empty, is scanned as the whole message."""

    leaf: Leaf
    usual: bool
    pieces: tuple[Piece, ...]
    cut_short: bool
    encrypted: bool
    # What the usual decoder makes of it.
    first: bytes
    facts: FileFacts | None
    risks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    parts: tuple[_Part, ...]
    ambiguities: tuple[str, ...]
    truncated: str
    digest: str


class PieceScanner(Protocol):
    """``Scanners``, or what stands for them in tests."""

    @property
    def stream_limit(self) -> int:
        """The octets that a stream may have, 0 while not known."""
        ...

    async def scan(self, pieces: Sequence[Piece]) -> tuple[ScanResult, ...]:
        """Return each piece's result, in order."""
        ...


class MessageScanner:
    """Scans messages; never raises but for cancellation and for a content that cannot be read (OSError)."""

    def __init__(self, scanners: PieceScanner, walker: ArchiveWalker) -> None:
        self._scanners = scanners
        self._walker = walker

    async def scan(self, content: Content) -> MessageScan:
        """Return what is known about a message after everything in it was looked at."""
        if content.size <= _INLINE_OCTETS:
            prepared = _prepare(content)
        else:
            prepared = await asyncio.to_thread(_prepare, content)
        with _whole(content, prepared.digest) as whole:
            # The whole last: a scanner that closes because it is too large has then answered for the parts.
            pieces = [*(piece for part in prepared.parts for piece in part.pieces), whole]
            if archives := _archives(prepared.parts):
                results, walked = await asyncio.gather(self._scan_pieces(pieces), self._walk_all(content, archives))
            else:
                results, walked = await self._scan_pieces(pieces), {}
        return _conclude(prepared, results, walked, whole)

    async def _scan_pieces(self, pieces: Sequence[Piece]) -> dict[str, ScanResult]:
        """Return a result for each digest."""
        limit = self._scanners.stream_limit or MAX_STREAM_OCTETS
        results = {piece.digest: _too_large(piece, limit) for piece in pieces if piece.size > limit}
        left = [piece for piece in pieces if piece.digest not in results]
        # A limit that was not known is met once; the scanner has then closed on the others.
        for _ in range(2):
            if not left:
                break
            for piece, result in zip(left, await self._scanners.scan(left), strict=True):
                results[piece.digest] = _too_large(piece) if result.cause is Cause.SIZE_LIMIT else result
            if not any(results[piece.digest].outcome is Outcome.TOO_LARGE for piece in left):
                break
            left = [piece for piece in left if results[piece.digest].outcome is Outcome.TEMPERROR]
        return results

    async def _walk_all(self, content: Content, found: "dict[str, tuple[Piece, str]]") -> "dict[str, _Walked]":
        """Return what archives hold, for each digest."""
        walked = await asyncio.gather(*(self._walk(content, piece, name) for piece, name in found.values()))
        return dict(zip(found, walked, strict=True))

    async def _walk(self, content: Content, piece: Piece, name: str) -> "_Walked":
        octets = piece.octets
        if isinstance(octets, FileSpan):
            return _Walked(ArchiveReport(limit="unavailable"), ())
        report = await self._walker.walk(octets, name=name)
        if report.encrypted and (passwords := await asyncio.to_thread(passwords_in, content)):
            report = await self._walker.walk(octets, name=name, passwords=passwords)
        inner = [_piece(bytes(entry.octets)) for entry in report.entries if entry.octets]
        if not inner:
            return _Walked(report, ())
        results = await self._scan_pieces(inner)
        return _Walked(report, tuple(results[p.digest] for p in inner))


@dataclass(frozen=True, slots=True)
class _Walked:
    report: ArchiveReport
    inner: tuple[ScanResult, ...]

    @property
    def results(self) -> tuple[ScanResult, ...]:
        """What the archive adds to its part's result: finds inside, and what could not be looked into."""
        inner = map(_opened, self.inner) if self.report.opened else self.inner
        return (*inner, *_of_archive(self.report))


def _opened(result: ScanResult) -> ScanResult:
    """Return what a scanner's "encrypted" is worth once all that was encrypted was opened, and scanned by itself."""
    if result.outcome is not Outcome.ENCRYPTED:
        return result
    return replace(CLEAN, scanner=result.scanner, version=result.version, reason="opened with a password")


def _of_archive(report: ArchiveReport) -> Iterator[ScanResult]:
    if report.limit in NOBODY_LOOKED:
        yield temperror(Cause.BUSY, f"an archive was not looked into: {report.limit}")
    elif report.limit:
        reason = f"archive: {report.limit}"
        yield ScanResult(outcome=Outcome.UNSCANNABLE, name=f"Archive.Limit.{report.limit}", reason=reason)
    if report.damaged:
        reason = f"archive damaged: {report.damaged}"
        yield ScanResult(outcome=Outcome.UNSCANNABLE, name="Archive.Damaged", reason=reason)
    if report.encrypted:
        what = "document" if SHUT_DOCUMENTS.issuperset(report.kinds) else "archive"
        name = f"Document.Encrypted.{report.kinds[0]}" if what == "document" else "Archive.Encrypted"
        yield ScanResult(outcome=Outcome.ENCRYPTED, name=name, reason=f"encrypted {what}")


def _archives(parts: Sequence[_Part]) -> dict[str, tuple[Piece, str]]:
    """Return the pieces that are archives or encrypted documents, with their parts' names, by digest."""
    found: dict[str, tuple[Piece, str]] = {}
    for part in parts:
        for piece in part.pieces:
            if not isinstance(piece.octets, FileSpan) and (kinds_of(piece.octets) or _is_shut(part, piece.octets)):
                found.setdefault(piece.digest, (piece, part.leaf.part.filename))
    return found


def _is_shut(part: _Part, octets: Octets) -> bool:
    if part.facts is None or octets is part.first:
        return part.facts is not None and is_shut_document(part.facts)
    # Another decoder's: rare enough to look at twice.
    return is_shut_document(inspect(bytes(octets), part.leaf.part.filename))


def _prepare(content: Content) -> _Prepared:
    """Find and decode every leaf of every reading, and of what is wrapped in S/MIME."""
    gathered = _Gathered()
    gathered.read(content, (), usual=True)
    return _Prepared(
        parts=tuple(gathered.parts),
        ambiguities=tuple(sorted(gathered.ambiguities)),
        truncated=gathered.truncated,
        digest=content.sha256,
    )


def _only_text(content: Content) -> _Part | None:
    """Return a mail's one text without encoding as a part without pieces: clamd takes it out of the whole and scans it.

    It does where it takes the whole for a mail; else that is octets to it, in which signatures of a file's beginning,
    hash or kind find nothing.
    Scanning it once more by itself would cost half as much again (measured with clamd 1.4) and find the same.
    """
    tree = content.one_text
    if tree is None or not content.header.octets.startswith(_SURELY_MAIL):
        return None
    part = tree.parts[0]
    octets = part.raw(content)
    # What begins as S/MIME does is looked into first.
    if octets.startswith(_DER):
        return None
    leaf = Leaf(part=part, content=content)
    return _Part(leaf=leaf, usual=True, pieces=(), cut_short=False, encrypted=False, first=octets, facts=None)


@dataclass(slots=True)
class _Gathered:
    """What reading a message and the messages within it brings together."""

    parts: list[_Part] = field(default_factory=list)
    ambiguities: set[str] = field(default_factory=set)
    truncated: str = ""

    def read(self, content: Content, origin: tuple[Place, ...], *, usual: bool) -> None:
        """Take every reading of a content that was unwrapped from ``origin``."""
        if not origin and (text := _only_text(content)):
            self.parts.append(text)
            return
        found = tuple(readings(content))
        for reading in found:
            self.ambiguities.update(reading.ambiguities)
            self.truncated = self.truncated or reading.truncated
        for reading in found:
            for leaf in reading.leaves:
                inner = replace(leaf, origin=(*origin, *leaf.origin)) if origin else leaf
                self._take(inner, usual=usual and reading.is_usual)

    def _take(self, leaf: Leaf, *, usual: bool) -> None:
        part = _part(leaf, usual=usual)
        opaque = unwrap(part.first, _UNWRAPPED_OCTETS) if part.first.startswith(_DER) else None
        if opaque is None:
            self.parts.append(part)
            return
        self.parts.append(replace(part, encrypted=opaque.encrypted))
        if not opaque.content:
            return
        if len(leaf.origin) >= _MAX_WRAPPED:
            self.truncated = self.truncated or "depth"
            return
        place = (leaf.part.body_start, leaf.part.body_end, "cms")
        self.read(Content(opaque.content), (*leaf.origin, place), usual=usual)


def _part(leaf: Leaf, *, usual: bool) -> _Part:
    decoded = leaf.decode()
    variants = dict.fromkeys(octets for octets in (decoded.octets, *leaf.alternatives()) if octets)
    facts = inspect(decoded.octets, leaf.part.filename) if leaf.part.is_attachment and decoded.octets else None
    # Of a file that the usual reader finds, the filter of attachments tells them.
    is_hidden = not usual or any(undone == "cms" for _, _, undone in leaf.origin)
    return _Part(
        leaf=leaf,
        usual=usual,
        pieces=tuple(map(_piece, variants)),
        cut_short=decoded.truncated,
        encrypted=leaf.part.media_type == "application/pgp-encrypted",
        first=decoded.octets,
        facts=facts,
        risks=tuple(risks(decoded.octets, facts, leaf.part.filenames)) if facts is not None and is_hidden else (),
    )


def _piece(octets: bytes) -> Piece:
    return Piece(octets=octets, digest=hashlib.sha256(octets).hexdigest())


@contextmanager
def _whole(content: Content, digest: str) -> Iterator[Piece]:
    """Give the content as it lies for as long as the block runs; OSError when its file cannot be read."""
    if content.path is None:
        yield Piece(octets=content.octets or b"", digest=digest)
        return
    with content.path.open("rb") as file:
        yield Piece(octets=FileSpan(file.fileno(), content.size), digest=digest)


def _too_large(piece: Piece, limit: int = 0) -> ScanResult:
    reason = f"{piece.size} octets are more than the scanner takes" + (f" ({limit})" if limit else "")
    return ScanResult(outcome=Outcome.TOO_LARGE, name="Stream.TooLarge", reason=reason)


def _of_facts(facts: FileFacts | None) -> Iterator[ScanResult]:
    """Yield what a document adds to its part's result; whether what was walked is shut, the walk knows better."""
    if facts is None or facts.archive:
        return
    if facts.encrypted and not is_shut_document(facts):
        yield ScanResult(
            outcome=Outcome.ENCRYPTED, name=f"Document.Encrypted.{facts.kind}", reason="encrypted document"
        )
    if facts.macros:
        yield ScanResult(outcome=Outcome.MACROS, name=f"Document.Macros.{facts.kind}", reason="document with macros")


def _conclude(
    prepared: _Prepared, results: dict[str, ScanResult], archives: dict[str, _Walked], whole: Piece
) -> MessageScan:
    results = _without_opened(results, archives, whole)
    parts = tuple(_scanned(part, results, archives, results[whole.digest]) for part in prepared.parts)
    ambiguities = set(prepared.ambiguities)
    for walked in archives.values():
        ambiguities.update(walked.report.ambiguous)
    everything = [*(part.result for part in parts), results[whole.digest]]
    if prepared.truncated:
        reason = f"too many {prepared.truncated} to look at all"
        name = f"Mime.Limit.{prepared.truncated}"
        everything.append(ScanResult(outcome=Outcome.UNSCANNABLE, name=name, reason=reason))
    return MessageScan(
        result=worst(everything), whole=results[whole.digest], parts=parts, ambiguities=tuple(sorted(ambiguities))
    )


def _without_opened(
    results: dict[str, ScanResult], archives: dict[str, _Walked], whole: Piece
) -> dict[str, ScanResult]:
    """Return the results without the scanner's "encrypted" of what was opened, and of the whole if that is all."""
    opened = {digest for digest, walked in archives.items() if walked.report.opened}
    if not opened:
        return results
    shut = {d for d, r in results.items() if r.outcome is Outcome.ENCRYPTED and d != whole.digest}
    settled = {digest: _opened(result) if digest in opened else result for digest, result in results.items()}
    if shut <= opened:
        settled[whole.digest] = _opened(settled[whole.digest])
    return settled


def _scanned(part: _Part, results: dict[str, ScanResult], archives: dict[str, _Walked], whole: ScanResult) -> PartScan:
    own = [results[piece.digest] for piece in part.pieces]
    if part.first and not part.pieces:
        own.append(whole)
    report = None
    for piece in part.pieces:
        if (walked := archives.get(piece.digest)) is not None:
            report = report or walked.report
            own += walked.results
    if part.cut_short:
        own.append(ScanResult(outcome=Outcome.UNSCANNABLE, name="Mime.Limit.decoded", reason="too much to decode"))
    own += _of_facts(part.facts)
    if part.encrypted:
        own.append(ScanResult(outcome=Outcome.ENCRYPTED, name="Mail.Encrypted", reason="encrypted for its recipient"))
    media_type = part.leaf.part.media_type
    if media_type in _ELSEWHERE:
        reason = f"{media_type}: the content is elsewhere"
        own.append(ScanResult(outcome=Outcome.UNSCANNABLE, name="Mime.Elsewhere", reason=reason))
    # An empty part has no octets to be infected.
    result = worst(own) if own else ScanResult(outcome=Outcome.CLEAN, reason="empty")
    return PartScan(
        leaf=part.leaf,
        result=result,
        usual=part.usual,
        size=len(part.first),
        archive=report,
        facts=part.facts,
        risks=part.risks,
    )
