"""Cut parts out of a mail: their octets become a text part, every other octet stays (invariant 5).

``cut`` gives edits for a rendition. A part of a multipart is replaced whole; of the message itself, or the message of
a message/rfc822, only the body and the Content- fields are; of a file within text (uuencode, yEnc, BinHex) its lines.

What cannot be cut is a value, ``NotSeparable``: where some reader sees other parts outside of those that go, where
not everything was looked at, and text that is no attachment: it is the mail.

The replacement is text/plain in UTF-8 (RFC 2046 §4.1), in a transfer encoding that fits (RFC 2045 §6), and cannot hold
a delimiter, whatever the text says.
"""

from base64 import encodebytes
from binascii import b2a_qp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gateway.mail.content import Content
from gateway.mail.mime import MimePart, MimeTree
from gateway.mail.mime.habits import USUAL
from gateway.mail.mime.names import codec
from gateway.mail.mime.readings import Leaf, readings
from gateway.mail.rendition import Edit

# RFC 5322 §2.1.1: lines of at most 998 octets; RFC 2045 §6.7: of at most 76 when encoded.
MAX_LINE_OCTETS = 998
# Above this part of octets that are no ASCII, base64 is shorter than quoted-printable.
MAX_QUOTED = 1 / 6

_BEGINNINGS = ("begin", "=ybegin", "(This file")
_NOT_MIME = replace(USUAL, mime="ignored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Part ``index`` of a tree goes, ``text`` comes; lines end in LF.

    ``ascii_text`` stands in where the text around a file cannot hold ``text``: another charset, seven bits.
    """

    index: int
    text: str
    ascii_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSeparable:
    """Nothing was cut. ``index`` is the part that is in the way, -1 for the mail as a whole."""

    reason: Literal["ambiguous", "truncated", "text"]
    index: int = -1


def cut(content: Content, tree: MimeTree, removals: Sequence[Removal]) -> tuple[Edit, ...] | NotSeparable:
    """Return the edits that make each removal; ``tree`` is the usual reading of ``content``, ``content.mime``.

    A removal within another one's part is left out: the part is gone.
    """
    if tree.truncated:
        return NotSeparable(reason="truncated")
    going = _outermost(tree, removals)
    if _is_ambiguous(content, tree, [tree.parts[removal.index] for removal in going]):
        return NotSeparable(reason="ambiguous")
    edits: list[Edit] = []
    for removal in going:
        part = tree.parts[removal.index]
        if _is_the_mail(part):
            return NotSeparable(reason="text", index=part.index)
        edits += _edits(content, tree, part, removal)
    return tuple(edits)


def _is_ambiguous(content: Content, tree: MimeTree, gone: Sequence[MimePart]) -> bool:
    """Tell whether some reader of MIME sees data that go neither whole nor not at all.

    What another reader sees within a part that goes, goes with it. Readers from before MIME see one text in any case.
    """
    if not tree.ambiguities:
        return False
    return any(
        not any(part.start <= start and end <= part.end for part in gone)
        for reading in readings(content)
        if reading.habits not in (USUAL, _NOT_MIME)
        for start, end, _ in (leaf.origin[0] if leaf.origin else leaf.place for leaf in reading.leaves)
    )


def holder(tree: MimeTree, leaf: Leaf) -> MimePart | None:
    """Return the part of the received octets that holds a leaf: itself, or what had to be decoded to find it."""
    place = leaf.origin[0] if leaf.origin else leaf.place
    return next((own for own in tree.leaves if (own.body_start, own.body_end, own.encoding) == place), None)


def _outermost(tree: MimeTree, removals: Sequence[Removal]) -> list[Removal]:
    indices = {removal.index for removal in removals}
    return [removal for removal in removals if indices.isdisjoint(_ancestors(tree, tree.parts[removal.index]))]


def _ancestors(tree: MimeTree, part: MimePart) -> Iterator[int]:
    while part.parent >= 0:
        yield part.parent
        part = tree.parts[part.parent]


def _is_the_mail(part: MimePart) -> bool:
    return part.is_leaf and part.media_type.startswith("text/") and not part.is_attachment


def _edits(content: Content, tree: MimeTree, part: MimePart, removal: Removal) -> Iterator[Edit]:
    if part.is_block:
        yield Edit(part.start, part.end, _lines_within(tree.parts[part.parent], removal, _line_end(content, part)))
    elif part.parent < 0 or tree.parts[part.parent].is_message:
        yield from _body_edits(content, part, removal.text)
    else:
        fields, text = _as_part(removal.text)
        octets = _joined([*fields, "", *text], _line_end(content, part))
        # RFC 2046 §5.1.1: a delimiter needs a line end of its own before it.
        follows = _octets(content, part.end, part.end + 1)
        yield Edit(part.start, part.end, octets if follows in (b"\r", b"\n") else octets + _line_end(content, part))


def _body_edits(content: Content, part: MimePart, text: str) -> Iterator[Edit]:
    """Replace what describes the body and the body; the other fields are the message's."""
    line_end = _line_end(content, part)
    fields, lines = _as_part(text)
    old = [field for field in part.header.fields if field.name[:8].lower() == b"content-"]
    new = _joined(fields, line_end) + line_end
    body = _joined(lines, line_end) + line_end
    if not old:
        yield Edit(part.header_end, part.body_end, new + line_end + body)
        return
    yield Edit(old[0].start, old[0].end, new)
    for field in old[1:]:
        yield Edit(field.start, field.end)
    if part.body_start == part.header_end:
        body = line_end + body if old[-1].end == part.header_end else line_end + line_end + body
    yield Edit(part.body_start, part.body_end, body)


def _as_part(text: str) -> tuple[list[str], list[str]]:
    """Return the fields and the lines of a text part."""
    encoding, lines = _encoded(text.replace("\r", "").removesuffix("\n"))
    return [
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Transfer-Encoding: {encoding}",
        # RFC 2183 §2.1: to be shown where it stands.
        "Content-Disposition: inline",
    ], lines


def _encoded(text: str) -> tuple[str, list[str]]:
    octets = text.encode("utf-8", "replace")
    lines = text.split("\n")
    # Two hyphens anywhere are a delimiter to some readers, and quoted-printable may break a line before them.
    hyphens = "--" in text
    if text.isascii() and not hyphens and _is_plain(lines):
        return "7bit", lines
    high = sum(octet > 0x7F for octet in octets)  # noqa: PLR2004 - ASCII ends there
    if hyphens or high > len(octets) * MAX_QUOTED:
        # RFC 2045 §6.8: text is encoded with its line ends in canonical form.
        return "base64", encodebytes(octets.replace(b"\n", b"\r\n")).decode("ascii").splitlines()
    return "quoted-printable", b2a_qp(octets, istext=True).decode("ascii").split("\n")


def _is_plain(lines: Sequence[str]) -> bool:
    return all(line.isprintable() and len(line) <= MAX_LINE_OCTETS for line in lines)


def _lines_within(around: MimePart, removal: Removal, line_end: bytes) -> bytes:
    """Return the replacement of lines within a text, in the text's own charset; none begins a delimiter or a file."""
    # Two hyphens anywhere are a delimiter to some readers.
    text = _fitting(around, removal).replace("\r", "").replace("--", "- -").replace("--", "- -").removesuffix("\n")
    lines = [f" {line}" if line.startswith(_BEGINNINGS) else line for line in text.split("\n")]
    return line_end.join(line.encode(_charset(around), "replace") for line in lines) + line_end


def _fitting(around: MimePart, removal: Removal) -> str:
    if removal.text.isascii():
        return removal.text
    if around.encoding != "7bit":
        try:
            removal.text.encode(_charset(around))
        except UnicodeError:
            return removal.ascii_text or removal.text
        return removal.text
    # RFC 2045 §2.7: 7bit is ASCII.
    return removal.ascii_text or removal.text.encode("ascii", "replace").decode("ascii")


def _charset(around: MimePart) -> str:
    name = codec(around.charset) if around.charset else ""
    # Charsets in which ASCII is not ASCII cannot stand in a body that uuencode stands in.
    return "ascii" if not name or name.startswith(("utf_16", "utf_32", "utf_7")) else name


def _joined(lines: Sequence[str], line_end: bytes) -> bytes:
    return line_end.join(line.encode("ascii") for line in lines)


def _line_end(content: Content, part: MimePart) -> bytes:
    """Return the line end in use around a part."""
    before = _octets(content, max(part.start - 2, 0), part.start) or part.header.octets[-2:]
    return b"\n" if before.endswith(b"\n") and not before.endswith(b"\r\n") else b"\r\n"


def _octets(content: Content, start: int, end: int) -> bytes:
    return b"".join(content.chunks(start, end))
