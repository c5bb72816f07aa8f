"""Every way a mail client may read one content, so that whatever any of them shows can be scanned.

``leaves`` walks the data of one tree: its leaves, those of messages that were transfer-encoded, and blocks within
encoded text. ``readings`` does so for the usual reader first, then for every combination of other habits that the
ambiguities met call for, and gives only leaves that no earlier reading gave.

The octets of the whole content are not among the leaves: whoever scans must scan them too.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import field, replace
from typing import NamedTuple

from gateway.mail.content import Content
from gateway.mail.mime.blocks import may_hold_blocks
from gateway.mail.mime.habits import ANSWERS, USUAL, Habits
from gateway.mail.mime.limits import DEFAULT_LIMITS, MimeLimits
from gateway.mail.mime.octets import octets_of
from gateway.mail.mime.part import MESSAGE_TYPES, MimePart, MimeTree
from gateway.mail.mime.scanner import parse
from gateway.mail.mime.transfer import Decoded, alternatives, may_have_alternatives
from gateway.value import value

_NOT_MIME = replace(USUAL, mime="ignored")

# Where a content's walk is kept: the parts, ambiguities, limit. Leaves would hold the content that holds them, and its
# octets would wait for the garbage collector.
_WALK = "walk"

# Octets ``start`` to ``end`` and what was undone to them.
Place = tuple[int, int, str]


@value(kw_only=True, slots=False)
class Leaf:
    """Data in one place. ``part`` counts in ``content``, which is not the received one when ``origin`` is not empty.

    ``origin`` names, outermost first, what had to be undone to get there: an encoded message, encoded text, another
    line end. Only a leaf without origin can be cut out of the received octets.
    """

    part: MimePart
    content: Content
    origin: tuple[Place, ...] = ()

    @property
    def is_separable(self) -> bool:
        """Whether its octets stand in the received content as one range."""
        return not self.origin

    def decode(self, *, max_octets: int = DEFAULT_LIMITS.max_decoded_octets) -> Decoded:
        """Return the data."""
        return self.part.decode(self.content, max_octets=max_octets)

    def alternatives(self) -> tuple[bytes, ...]:
        """Return what other decoders make of the body, where it differs: base64 with padding within, for one."""
        part, content = self.part, self.content
        if part.encoding != "base64":
            return ()
        if content.path is not None and not may_have_alternatives(content.chunks(part.body_start, part.body_end)):
            return ()
        return alternatives(part.raw(content), part.encoding)

    @property
    def place(self) -> Place:
        """Where its body lies in ``content``, and how it is encoded."""
        return self.part.body_start, self.part.body_end, self.part.encoding

    @property
    def size(self) -> int:
        """The octets of its body, encoded as they stand."""
        return self.part.body_end - self.part.body_start

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two leaves the same to a scanner: place, encoding, type and names."""
        return (self.origin, self.place, self.part.media_type, self.part.filenames)


@value(kw_only=True, slots=False)
class Walk:
    """The leaves of one tree and of what is encoded in it, with the ambiguities of all.

    ``truncated`` is the limit that was reached, or "".
    """

    leaves: tuple[Leaf, ...]
    ambiguities: tuple[str, ...] = ()
    truncated: str = ""


@value(kw_only=True, slots=False)
class Reading:
    """One reader's view: ``leaves`` are those that no earlier reading had; ``tree`` counts in ``content``.

    ``ambiguities`` are those of the tree and of what is encoded in it.
    """

    habits: Habits
    content: Content
    tree: MimeTree
    leaves: tuple[Leaf, ...] = field(repr=False)
    ambiguities: tuple[str, ...] = ()
    truncated: str = ""

    @property
    def name(self) -> str:
        """What this reader does differently, or "usual"."""
        return str(self.habits)

    @property
    def is_usual(self) -> bool:
        """Whether it is that of the reader most people have."""
        return self.habits is USUAL or self.habits == USUAL


def leaves(content: Content, *, limits: MimeLimits = DEFAULT_LIMITS) -> Walk:
    """Return the leaves of a content as the usual reader sees them; walked once with the default limits."""
    if limits is not DEFAULT_LIMITS:
        return _walk(_Scanned(content, _tree(content, USUAL, limits)), USUAL, limits)
    kept: tuple[tuple[MimePart, ...], tuple[str, ...], str] | None = content.__dict__.get(_WALK)
    if kept is not None:
        parts, ambiguities, truncated = kept
        found = tuple([Leaf(part=part, content=content) for part in parts])
        return Walk(leaves=found, ambiguities=ambiguities, truncated=truncated)
    walk = _walk(_Scanned(content, content.mime), USUAL, limits)
    # Leaves that something was undone for hold what it was undone to.
    if all(leaf.is_separable for leaf in walk.leaves):
        parts = tuple([leaf.part for leaf in walk.leaves])
        content.__dict__[_WALK] = parts, walk.ambiguities, walk.truncated
    return walk


def readings(content: Content, *, limits: MimeLimits = DEFAULT_LIMITS) -> Iterator[Reading]:
    """Yield the usual reading, then every other one that has more leaves; lazily, since each costs a scan.

    The last one yielded has ``truncated`` set when there are more readings than ``limits.max_readings``.
    """
    if limits is DEFAULT_LIMITS and (text := content.one_text) is not None:
        yield Reading(habits=USUAL, content=content, tree=text, leaves=(Leaf(part=text.parts[0], content=content),))
        return
    seen: set[tuple[object, ...]] = set()
    known: set[str] = set()
    waiting = deque([USUAL, _NOT_MIME])
    met = set(waiting)
    scans = 0
    usual: MimeTree | None = None
    while waiting:
        habits = waiting.popleft()
        if habits is _NOT_MIME and usual is not None and not _may_add_blocks(content, usual):
            continue
        reading = _read(content, habits, limits)
        usual = usual or reading.tree
        scans += 1
        fresh = tuple(leaf for leaf in reading.leaves if leaf.key not in seen and (leaf.size or habits is USUAL))
        seen.update(leaf.key for leaf in fresh)
        if fresh or not known.issuperset(reading.ambiguities):
            known.update(reading.ambiguities)
            others = [other for other in _others(habits, reading.ambiguities) if other not in met]
            met.update(others)
            waiting.extend(others)
        exhausted = scans >= limits.max_readings and bool(waiting)
        if exhausted:
            waiting.clear()
        if fresh or exhausted or habits is USUAL:
            yield replace(reading, leaves=fresh, truncated=reading.truncated or ("readings" if exhausted else ""))


def _may_add_blocks(content: Content, usual: MimeTree) -> bool:
    """Tell whether one text with its blocks, for who knows no MIME, can hold more than was found.

    That reader ends the header section where the usual one does and has nothing but blocks to add.
    """
    if len(usual.parts) == 1 or usual.parts[1].is_block:
        message = usual.parts[0]
        if message.media_type.startswith("text/") and not message.is_encoded and not message.boundary:
            return False
    with octets_of(content) as octets:
        return may_hold_blocks(octets)


def _others(habits: Habits, ambiguities: tuple[str, ...]) -> Iterator[Habits]:
    for ambiguity in ambiguities:
        for name, word in ANSWERS.get(ambiguity, ()):
            yield replace(habits, **{name: word})  # type: ignore[arg-type] # ANSWERS holds words of Habits


def _tree(content: Content, habits: Habits, limits: MimeLimits) -> MimeTree:
    if habits == USUAL and limits == DEFAULT_LIMITS:
        return content.mime
    return parse(content, limits=limits, habits=habits)


def _read(content: Content, habits: Habits, limits: MimeLimits) -> Reading:
    seen_as = _changed(content, habits, limits)
    origin = () if seen_as is content else ((0, content.size, "octets"),)
    tree = _tree(seen_as, habits, limits)
    if habits is USUAL and seen_as is content:
        walk = leaves(content, limits=limits)
    else:
        walk = _walk(_Scanned(seen_as, tree, origin), habits, limits)
    found = walk.leaves
    if habits.mime == "ignored":
        found = tuple(leaf for leaf in found if leaf.part.is_block)
    return Reading(
        habits=habits,
        content=seen_as,
        tree=tree,
        leaves=found,
        ambiguities=walk.ambiguities,
        truncated=walk.truncated,
    )


def _changed(content: Content, habits: Habits, limits: MimeLimits) -> Content:
    """Return the octets as a reader with other line ends sees them."""
    if (habits.bare_cr, habits.nul) == ("octet", "octet") or content.size > limits.max_decoded_octets:
        return content
    octets = b"".join(content.chunks())
    if habits.nul == "removed":
        octets = octets.replace(b"\0", b"")
    if habits.bare_cr == "line-end":
        octets = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Content(octets)


class _Scanned(NamedTuple):
    content: Content
    tree: MimeTree
    origin: tuple[Place, ...] = ()
    blocks_only: bool = False


def _walk(first: _Scanned, habits: Habits, limits: MimeLimits) -> Walk:
    found: list[Leaf] = []
    ambiguities: set[str] = set()
    truncated = ""
    left = limits.max_decoded_octets
    waiting = deque([first])
    while waiting:
        scanned = waiting.popleft()
        truncated = truncated or scanned.tree.truncated
        ambiguities.update(scanned.tree.ambiguities)
        found += _leaves_of(scanned)
        for part in filter(_holds_more, scanned.tree.parts):
            left -= part.body_end - part.body_start
            if left < 0 or len(scanned.origin) >= limits.max_depth:
                truncated = truncated or ("decoded" if left < 0 else "depth")
                break
            if not _is_plain(part, scanned.content):
                waiting.append(_undone(part, scanned, habits, limits))
    return Walk(leaves=tuple(found), ambiguities=tuple(sorted(ambiguities)), truncated=truncated)


def _leaves_of(scanned: _Scanned) -> Iterator[Leaf]:
    for part in scanned.tree.leaves:
        if part.is_block or not scanned.blocks_only:
            yield Leaf(part=part, content=scanned.content, origin=scanned.origin)


def _undone(part: MimePart, scanned: _Scanned, habits: Habits, limits: MimeLimits) -> _Scanned:
    inner = _within(part, scanned.content)
    origin = (*scanned.origin, (part.body_start, part.body_end, part.encoding))
    # Encoded text is a leaf already; what may be new are the blocks in it.
    return _Scanned(inner, parse(inner, limits=limits, habits=habits), origin, part.media_type.startswith("text/"))


def _holds_more(part: MimePart) -> bool:
    """Tell whether undoing its encoding gives something with parts of its own, or text that may hold blocks."""
    if not part.is_encoded or part.is_block:
        return False
    return part.is_multipart or part.media_type in MESSAGE_TYPES or part.media_type.startswith("text/")


def _is_plain(part: MimePart, content: Content) -> bool:
    """Tell whether it is encoded text without blocks, which is a leaf and nothing else."""
    return part.media_type.startswith("text/") and not part.is_multipart and not may_hold_blocks(part.decoded(content))


def _within(part: MimePart, content: Content) -> Content:
    """Return the decoded octets as a message: an enclosed one is one, for others a header is put in front."""
    octets = part.decoded(content)
    if part.media_type in MESSAGE_TYPES:
        return Content(octets)
    if part.is_multipart:
        return Content(b"Content-Type: " + part.type_value + b"\r\n\r\n" + octets)
    return Content(b"\r\n" + octets)
