"""One message scanned: the whole as it is, and every decoded part of every reading a mail client might take.

What a scanner makes of the whole depends on how it reads mail; what a client shows its user depends on the client. So
each part is decoded as every client would and scanned by itself, and archives are walked beside that. The result is
the gravest of all; which parts are infected, and which of them can be cut out, is told part by part.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import partial
from typing import Protocol

from gateway.antivirus.archive.kinds import SHUT_DOCUMENTS, is_shut_document
from gateway.antivirus.archive.report import NOBODY_LOOKED, ArchiveReport
from gateway.antivirus.archive.walker import ArchiveWalker
from gateway.antivirus.framing import MAX_STREAM_OCTETS, FileSpan, Piece
from gateway.antivirus.mail_text import passwords_in
from gateway.antivirus.preparing import Depot, Part, Prepared, prepare
from gateway.antivirus.reach import Reach
from gateway.antivirus.result import CLEAN, Cause, Outcome, ScanResult, temperror, worst
from gateway.mail.content import Content
from gateway.mail.filetype import FileFacts
from gateway.mail.mime.readings import Leaf
from gateway.value import value

# Decoding and hashing more than this, some 300 µs, leaves the loop.
_INLINE_OCTETS = 256 * 1024
# Of a large message its largest part is in memory while it is prepared, and what has to be undone around parts until
# it is scanned: for so many at a time, one that is hard to prepare and the others.
_LARGE_AT_ONCE = 2
_KEPT_OCTETS = 1024 * 1024
# Of all archives of one mail together: a mail has some, which take milliseconds each, and who sends two hundred that
# take their time one by one must not have everybody else's wait.
_WALK_SECONDS = 60.0
# What stands for something that is elsewhere, or for a piece of something: never delivered silently.
_ELSEWHERE = frozenset({"message/partial", "message/external-body"})


@value(kw_only=True)
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


@value(kw_only=True)
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


class PieceScanner(Protocol):
    """``Scanners``, or what stands for them in tests."""

    @property
    def stream_limit(self) -> int:
        """The octets that a stream may have, 0 while not known."""
        ...

    @property
    def reach(self) -> Reach | None:
        """How far is looked without a word about the rest; None where everything is told."""
        ...

    async def found_reach(self) -> Reach | None:
        """Return ``reach``, waiting a while for what is being found out."""
        ...

    async def scan(self, pieces: Sequence[Piece]) -> tuple[ScanResult, ...]:
        """Return each piece's result, in order."""
        ...


class MessageScanner:
    """Scans messages; never raises but for cancellation and for a content that cannot be read (OSError)."""

    def __init__(self, scanners: PieceScanner, walker: ArchiveWalker) -> None:
        self._scanners = scanners
        self._walker = walker
        self._places = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def scan(self, content: Content) -> MessageScan:
        """Return what is known about a message after everything in it was looked at."""
        if content.size <= _INLINE_OCTETS:
            return await self._scan(content, prepare(content))
        await self._places.acquire()
        preparing = asyncio.ensure_future(asyncio.to_thread(prepare, content))
        try:
            prepared = await asyncio.shield(preparing)
        except BaseException:
            # The thread goes on when nobody waits for it any more, and so does what it needs.
            preparing.add_done_callback(self._leave)
            raise
        if prepared.kept_octets <= _KEPT_OCTETS:
            self._places.release()
            return await self._scan(content, prepared)
        try:
            return await self._scan(content, prepared)
        finally:
            self._places.release()

    def _leave(self, preparing: asyncio.Task[Prepared]) -> None:
        self._places.release()
        if not preparing.cancelled():
            preparing.exception()

    async def _scan(self, content: Content, prepared: Prepared) -> MessageScan:
        before = self._scanners.reach
        with _whole(content, prepared.digest) as whole:
            # The whole last: a scanner that closes because it is too large has then answered for the parts.
            pieces = [*(piece for part in prepared.parts for piece in part.pieces), whole]
            if archives := _archives(prepared.parts):
                with _the_first_failure():
                    async with asyncio.TaskGroup() as both:
                        scanning = both.create_task(self._scan_pieces(pieces))
                        walking = both.create_task(self._walk_all(content, archives, prepared.depot))
                results, walked = scanning.result(), walking.result()
            else:
                results, walked = await self._scan_pieces(pieces), {}
        if walked:
            await self._overlook(before, archives, walked)
        return _conclude(prepared, results, walked, whole)

    async def _scan_pieces(self, pieces: Sequence[Piece]) -> dict[str, ScanResult]:
        """Return a result for each digest."""
        limit = self._scanners.stream_limit or MAX_STREAM_OCTETS
        results = {piece.digest: _too_large(piece, limit) for piece in pieces if piece.size > limit}
        before = self._scanners.reach
        if before is not None and before.measured:
            results = _unseen(pieces, before) | results
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
        for reach in await self._reaches(before, partial(_unseen, pieces)):
            hidden = _unseen(pieces, reach)
            results |= {digest: result for digest, result in hidden.items() if results[digest].clean}
        return results

    async def _reaches(self, before: Reach | None, hidden: Callable[[Reach], object]) -> list[Reach]:
        """Return how far they look who may have answered: who was there ``before``, and who is now.

        What is not known yet is waited for where something may be ``hidden`` from who looks no further than that.
        """
        now = self._scanners.reach
        if now is not None and not now.measured and hidden(now):
            now = await self._scanners.found_reach()
        earlier = [before] if before is not None and before.measured and before != now else []
        return earlier if now is None else [*earlier, now]

    async def _overlook(
        self, before: Reach | None, archives: "dict[str, tuple[Piece, str]]", walked: "dict[str, _Walked]"
    ) -> None:
        """Add to what was found in archives what a scanner may have passed without a look."""

        def hidden(reach: Reach) -> dict[str, tuple[ScanResult, ...]]:
            found = ((d, reach.overlooked(walk.report, archives[d][0].size)) for d, walk in walked.items())
            return {digest: results for digest, results in found if results}

        for reach in await self._reaches(before, hidden):
            for digest, results in hidden(reach).items():
                walked[digest] = replace(walked[digest], overlooked=results)

    async def _walk_all(
        self, content: Content, found: "dict[str, tuple[Piece, str]]", depot: Depot
    ) -> "dict[str, _Walked]":
        """Return what archives hold, for each digest."""
        turns = _Turns(self._walker)
        async with asyncio.TaskGroup() as all_of_them:
            walking = [
                all_of_them.create_task(self._walk(content, *archive, depot, turns)) for archive in found.values()
            ]
        return {digest: walk.result() for digest, walk in zip(found, walking, strict=True)}

    async def _walk(self, content: Content, piece: Piece, name: str, depot: Depot, turns: "_Turns") -> "_Walked":
        report = await turns.walk(piece, name)
        if report.encrypted and (passwords := await asyncio.to_thread(passwords_in, content)):
            report = await turns.walk(piece, name, passwords)
        if sum(map(len, report.carried)) <= _INLINE_OCTETS:
            inner = _put(report, depot)
        else:
            inner = await asyncio.to_thread(_put, report, depot)
        if not inner:
            return _Walked(report)
        # What was carried lies in the depot from now on.
        report = report.without_octets()
        results = await self._scan_pieces(inner)
        return _Walked(report, tuple(results[p.digest] for p in inner))


class _Turns:
    """The walks of one mail's archives: one at a time, so that whoever waits for a child waits by mail."""

    def __init__(self, walker: ArchiveWalker) -> None:
        self._walker, self._turn, self._left = walker, asyncio.Lock(), _WALK_SECONDS

    async def walk(self, piece: Piece, name: str, passwords: Sequence[str] = ()) -> ArchiveReport:
        """Return what is inside; a mail whose time is over is one that takes too long."""
        async with self._turn:
            if self._left <= 0:
                return ArchiveReport(limit="seconds")
            begun = asyncio.get_running_loop().time()
            report = await self._walker.walk(piece.octets, name=name, passwords=passwords)
            self._left -= asyncio.get_running_loop().time() - begun
            return report


@contextmanager
def _the_first_failure() -> Iterator[None]:
    """Raise what went wrong first in a group of tasks by itself.

    A group, because what goes on when another part has failed would send from files that are closed by then.
    """
    try:
        yield
    except BaseExceptionGroup as failed:
        first: BaseException = failed
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None


def _put(report: ArchiveReport, depot: Depot) -> list[Piece]:
    return list(map(depot.piece, report.carried))


@value()
class _Walked:
    report: ArchiveReport
    inner: tuple[ScanResult, ...] = ()
    overlooked: tuple[ScanResult, ...] = ()

    @property
    def results(self) -> tuple[ScanResult, ...]:
        """What the archive adds to its part's result: finds inside, and what could not be looked into."""
        inner = map(_opened, self.inner) if self.report.opened else self.inner
        return (*inner, *self.overlooked, *_of_archive(self.report))


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


def _unseen(pieces: Sequence[Piece], reach: Reach) -> dict[str, ScanResult]:
    """Return what to say of pieces that were not looked at, by digest."""
    most = reach.stream_octets
    return {
        piece.digest: _too_large(piece, most) if reach.measured else reach.beyond("larger")
        for piece in pieces
        if piece.size > most
    }


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
    prepared: Prepared, results: dict[str, ScanResult], archives: dict[str, _Walked], whole: Piece
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


def _archives(parts: Sequence[Part]) -> dict[str, tuple[Piece, str]]:
    """Return the pieces that are archives or encrypted documents, with their parts' names, by digest."""
    found: dict[str, tuple[Piece, str]] = {}
    for part in parts:
        for piece in part.archives:
            found.setdefault(piece.digest, (piece, part.leaf.part.filename))
    return found


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


def _scanned(part: Part, results: dict[str, ScanResult], archives: dict[str, _Walked], whole: ScanResult) -> PartScan:
    own = [results[piece.digest] for piece in part.pieces]
    if part.size and not part.pieces:
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
        size=part.size,
        archive=report,
        facts=part.facts,
        risks=part.risks,
    )
