"""What a scan found: parts with exact octet ranges (RFC 2045 §2, RFC 2046 §5.1), and the partition of all octets."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

from gateway.mail.header import HeaderField, HeaderSection
from gateway.mail.mime import fields
from gateway.mail.mime.limits import DEFAULT_LIMITS
from gateway.mail.mime.names import decoded_words
from gateway.mail.mime.transfer import IDENTITIES, Decoded, cut, decode, decode_base64
from gateway.value import value

if TYPE_CHECKING:
    from gateway.mail.content import Content

MESSAGE_TYPES = frozenset({"message/rfc822", "message/global", "message/news"})

RangeKind = Literal["header", "separator", "preamble", "delimiter", "epilogue", "body", "text", "block"]


class Range(NamedTuple):
    """Octets ``start`` to ``end``, of the part with index ``part``: header or body of a leaf, or what lies between."""

    start: int
    end: int
    kind: RangeKind
    part: int


@value(kw_only=True, slots=False)
class MimePart:
    """One entity, or one block of uuencode, yEnc or BinHex within the text of its parent (``is_block``).

    ``start``, ``header_end``, ``body_start`` and ``body_end`` are offsets in the content that was parsed; the line end
    before a delimiter belongs to the delimiter (RFC 2046 §5.1.1). ``index`` is the place in ``MimeTree.parts``,
    ``parent`` that of the enclosing part or -1. ``is_divided`` says that the body is a message or parts of this tree.
    Of a multipart ``preamble_end`` is where its first delimiter begins, ``epilogue_start`` the end of its
    close-delimiter's line; both are ``body_end`` where it has none.
    ``type_value`` is the Content-Type that counted, unfolded; b"" when there was none.
    """

    index: int
    parent: int
    depth: int
    start: int
    header_end: int
    body_start: int
    body_end: int
    header: HeaderSection
    media_type: str
    encoding: str
    boundary: bytes = b""
    type_value: bytes = b""
    block_name: bytes | None = None
    preamble_end: int = 0
    epilogue_start: int = 0
    is_divided: bool = False
    defects: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """Where the part ends: with its body."""
        return self.body_end

    @property
    def is_multipart(self) -> bool:
        """Whether it is declared or read as a multipart, with delimiters or without."""
        return bool(self.boundary) or self.media_type.startswith("multipart/")

    @property
    def is_message(self) -> bool:
        """Whether its body is a message whose octets stand there as they are."""
        return self.media_type in MESSAGE_TYPES and not self.is_encoded

    @property
    def is_block(self) -> bool:
        """Whether it is a block within text, without a header of its own."""
        return self.block_name is not None

    @property
    def is_leaf(self) -> bool:
        """Whether its body is data, and no message or parts of this tree; a multipart without delimiters is one."""
        return not self.is_divided

    @property
    def is_encoded(self) -> bool:
        """Whether the body's octets are not the data themselves."""
        return self.encoding not in IDENTITIES

    @property
    def is_attachment(self) -> bool:
        """Whether a reader is offered it as a file.

        True when the disposition says so, when it has a file name, and for what is neither text nor multipart; the
        message itself counts only when it has a name or the disposition.
        """
        if self.is_multipart:
            return False
        if self.is_block or self.disposition == "attachment" or self.filename:
            return True
        return self.parent >= 0 and not self.media_type.startswith("text/")

    @cached_property
    def _parameters(self) -> list[fields.Parameter]:
        return fields.parameters(self.type_value) if b"=" in self.type_value else []

    @cached_property
    def _disposition_field(self) -> HeaderField | None:
        return self.header.first("content-disposition")

    def parameter(self, name: str) -> str:
        """Return a parameter of Content-Type, decoded, or ""."""
        return next(iter(fields.parameter_texts(name, self._parameters)), "")

    @property
    def charset(self) -> str:
        """The declared charset in lower case, or ""."""
        return self.parameter("charset").strip(" '\"").lower()

    @cached_property
    def disposition(self) -> str:
        """RFC 2183: "inline", "attachment" or another word in lower case; "" when there is none."""
        field = self._disposition_field
        return fields.token(field.value) if field else ""

    @cached_property
    def filename(self) -> str:
        """The name that most readers show, or "": Content-Disposition before Content-Type, RFC 2231 before plain."""
        return next(iter(self.filenames), "")

    @cached_property
    def filenames(self) -> tuple[str, ...]:
        """Every name that some reader shows, the usual one first: readers differ where several are given."""
        if self.block_name is not None:
            return (decoded_words(self.block_name),) if self.block_name else ()
        names: list[str] = []
        # RFC 2183 §2.3: filename; the name of Content-Type is older, and what some clients still write alone.
        for field in self.header.get_all("content-disposition"):
            names += fields.parameter_texts("filename", fields.parameters(field.value))
        names += fields.parameter_texts("name", self._parameters)
        return tuple(dict.fromkeys(name for name in names if name))

    def raw(self, content: "Content") -> bytes:
        """Return the body's octets as they are; ``content`` is the one that was parsed."""
        return content.slice(self.body_start, self.body_end)

    def decode(self, content: "Content", *, max_octets: int = DEFAULT_LIMITS.max_decoded_octets) -> Decoded:
        """Return the data, leniently decoded, and what was wrong with it.

        Of a content in a file, base64 is decoded as it is read: what it takes is the data, not five times that. Of one
        in memory it is kept for the next who asks.
        """
        if content.octets is not None and self.is_encoded:
            return self._kept(content, max_octets)
        if content.path is not None and self.encoding == "base64":
            chunks = content.chunks(self.body_start, self.body_end)
            if (done := decode_base64(chunks, max_octets=max_octets)) is not None:
                return done
        return decode(self.raw(content), self.encoding, max_octets=max_octets)

    def _kept(self, content: "Content", max_octets: int) -> Decoded:
        body = (self.body_start, self.body_end, self.encoding)
        kept = content.decodings.get(body)
        if kept is not None:
            return cut(kept, max_octets)
        done = decode(self.raw(content), self.encoding, max_octets=max_octets)
        content.decodings.keep(body, done)
        return done

    def decoded(self, content: "Content") -> bytes:
        """Return the data, leniently decoded; bounded by the default limits."""
        return self.decode(content).octets


@value(kw_only=True, slots=False)
class MimeTree:
    """All parts, depth first, which is the order of their octets; ``parts[0]`` is the message itself.

    ``ambiguities`` are names, sorted, of what readers take differently; ``truncated`` is the limit that was reached,
    or "". ``size`` is the content's.
    """

    parts: tuple[MimePart, ...]
    size: int
    ambiguities: tuple[str, ...] = ()
    truncated: str = ""

    @cached_property
    def _children(self) -> dict[int, list[MimePart]]:
        found: dict[int, list[MimePart]] = {}
        for part in self.parts[1:]:
            found.setdefault(part.parent, []).append(part)
        return found

    def children(self, part: MimePart) -> tuple[MimePart, ...]:
        """Return the parts directly within one, in order."""
        return tuple(self._children.get(part.index, ()))

    @property
    def leaves(self) -> Iterator[MimePart]:
        """Every part that holds data, blocks included."""
        return (part for part in self.parts if part.is_leaf)

    def ranges(self) -> tuple[Range, ...]:
        """Return the partition: ascending, without gap or overlap, empty ranges left out."""
        return tuple(sorted(r for part in self.parts for r in self._own(part) if r.start < r.end))

    def _own(self, part: MimePart) -> Iterator[Range]:
        index = part.index
        yield Range(part.start, part.header_end, "header", index)
        yield Range(part.header_end, part.body_start, "separator", index)
        children = self._children.get(index, [])
        if part.is_leaf and children:
            yield from _between(children, part.body_start, part.body_end, "text", index)
        elif part.is_leaf:
            yield Range(part.body_start, part.body_end, "block" if part.is_block else "body", index)
        elif not part.is_message:
            yield Range(part.body_start, part.preamble_end, "preamble", index)
            yield from _between(children, part.preamble_end, part.epilogue_start, "delimiter", index)
            yield Range(part.epilogue_start, part.body_end, "epilogue", index)


def _between(children: list[MimePart], start: int, end: int, kind: RangeKind, index: int) -> Iterator[Range]:
    for child in children:
        yield Range(start, child.start, kind, index)
        start = child.end
    yield Range(start, end, kind, index)
