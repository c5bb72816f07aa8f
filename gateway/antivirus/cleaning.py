"""Cleaning: the infected parts' octets, and nothing else, become a text that tells of them.

What cannot be cut exactly is not cut: a virus in the text itself, a match of the whole message that no part explains,
a mail that readers take differently. What was cut is scanned again before it may go on, under the same reading as any
mail; only then is it called cleaned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from gateway.antivirus.message import MessageScan, MessageScanner, PartScan
from gateway.antivirus.notices import Circumstances, Language, part_removed
from gateway.antivirus.result import Outcome, ScanResult
from gateway.mail.content import Content
from gateway.mail.cutter import NotSeparable, Removal, cut, holder
from gateway.mail.rendition import Edit, Rendition


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """``edits`` of the received octets make the clean mail; ``removed`` names what went.

    ``rest`` is the result of scanning it again: no virus and nothing unscanned, though perhaps something encrypted.
    """

    edits: tuple[Edit, ...]
    removed: tuple[str, ...]
    rest: ScanResult


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCleanable:
    """Why the mail cannot be cleaned.

    ``whole``: no part by itself is infected. ``ambiguous``, ``truncated``, ``text``: the cutter's reasons.
    ``still-infected``, ``not-rescanned``: what the second scan said.
    """

    reason: Literal["whole", "ambiguous", "truncated", "text", "still-infected", "not-rescanned"]


async def clean(
    scanner: MessageScanner, content: Content, scan: MessageScan, language: Language, about: Circumstances
) -> Cleaned | NotCleanable:
    """Return how ``content`` is cleaned of what ``scan`` found, told in ``language``; raises OSError."""
    if not scan.infected:
        return NotCleanable(reason="whole")
    removals = _removals(content, scan.infected, language, about)
    if removals is None:
        return NotCleanable(reason="ambiguous")
    edits = cut(content, content.mime, removals)
    if isinstance(edits, NotSeparable):
        return NotCleanable(reason=edits.reason)
    rest = await scanner.scan(Content(b"".join(Rendition.of(edits).chunks(content))))
    if rest.result.outcome is Outcome.INFECTED:
        return NotCleanable(reason="still-infected")
    if rest.result.outcome in (Outcome.TEMPERROR, Outcome.TOO_LARGE):
        return NotCleanable(reason="not-rescanned")
    names = tuple(content.mime.parts[removal.index].filename for removal in removals)
    return Cleaned(edits=edits, removed=names, rest=rest.result)


def _removals(
    content: Content, infected: Sequence[PartScan], language: Language, about: Circumstances
) -> list[Removal] | None:
    """Return what is to go, each once; None when a part cannot be found in the received octets."""
    tree = content.mime
    found: dict[int, Removal] = {}
    for part in infected:
        held_by = holder(tree, part.leaf)
        if held_by is None:
            return None
        if held_by.index not in found:
            told = partial(part_removed, about=about, file=held_by.filename, size=part.size, virus=part.result.name)
            plain = told(Language.EN).encode("ascii", "replace").decode("ascii")
            found[held_by.index] = Removal(index=held_by.index, text=told(language), ascii_text=plain)
    return list(found.values())
