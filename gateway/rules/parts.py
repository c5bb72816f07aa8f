"""The parts of one content as rules ask for them: text parts decoded once, attachments by their facts.

Bounds keep a hostile mail from costing more than a large honest one; each bound that was reached is in ``limits``.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from gateway.mail.content import Content
from gateway.mail.filetype import FileFacts, inspect
from gateway.mail.mime import MimePart
from gateway.mail.mime.transfer import decode
from gateway.mail.text import charsets, hosts, html, normal, urls
from gateway.rules.values import Text

# Of all text parts together, decoded. People's mail has some tens of KiB, newsletters some hundreds.
MAX_TEXT_OCTETS = 512 * 1024
# Quoted-printable needs three octets for one at most.
_ENCODED_TO_DECODED = 3
# Text parts: a digest has some hundreds.
MAX_TEXT_PARTS = 500
MAX_ATTACHMENTS = 200
# Of one attachment, decoded, for its type; larger ones are named by what is within it.
MAX_ATTACHMENT_OCTETS = 32 * 1024 * 1024
MAX_LINKS = 2_000
# Of one attachment's name.
MAX_NAME_CHARACTERS = 1_000
# Where a content's links are remembered, for those who ask again.
_LINKS = "links"
# Of no type that has a signature of its own: libmagic is asked.
_UNKNOWN = bytes(range(256))


def warm(subjects: Collection[str]) -> None:
    """Load now what the first message to be asked for these subjects would wait for: some 20 ms each."""
    if any(subject.startswith("url") for subject in subjects):
        hosts.warm()
    if any(subject.startswith("attachment") for subject in subjects):
        inspect(_UNKNOWN)


@dataclass(slots=True, kw_only=True)
class Limits:
    """Which bounds were reached, in order of reaching."""

    reached: dict[str, None] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Remember a bound that was reached; "" is none."""
        if text:
            self.reached[text] = None


class TextPart:
    """One text part: ``octets`` after the transfer encoding, ``written`` decoded, ``shown`` as it is read."""

    def __init__(self, part: MimePart, octets: bytes) -> None:
        self.part = part
        self.octets = octets

    @property
    def is_html(self) -> bool:
        """Whether the part is HTML."""
        return self.part.media_type in {"text/html", "application/xhtml+xml"}

    @cached_property
    def written(self) -> str:
        """The decoded text, mark-up and all."""
        charset = self.part.charset
        if not charset and self.is_html:
            charset = html.declared_charset(self.octets)
        return charsets.decode(self.octets, charset)

    @cached_property
    def _markup(self) -> html.HtmlText:
        return html.to_text(self.written)

    @cached_property
    def shown(self) -> Text:
        """What is read of it."""
        text = self._markup.text if self.is_html else self.written
        return Text(normal.shown(text), owner=self.part.index, place=self.place, raw=self.octets)

    @cached_property
    def source(self) -> Text:
        """The decoded text with its mark-up."""
        return Text(normal.shown(self.written), owner=self.part.index, place=self.place, raw=self.octets)

    @property
    def limit(self) -> str:
        """The bound that reading the mark-up reached, or ""."""
        reached = self._markup.truncated if self.is_html else ""
        return f"text: {self.place} was read in part ({reached})" if reached else ""

    @cached_property
    def links(self) -> tuple[urls.Url, ...]:
        """The links in it, each once."""
        found = urls.find(self.shown.shown)
        return (*self._markup.urls, *found) if self.is_html else found

    @property
    def links_limit(self) -> str:
        """The bound that looking for links reached, or ""."""
        many = len(self.links) >= min(urls.MAX_URLS, html.MAX_LINKS)
        return f"url: of {self.place} the first {len(self.links)} were looked at" if many else ""

    @property
    def place(self) -> str:
        """Which part it is."""
        return f"part {self.part.index + 1}" if self.part.parent >= 0 else "body"


class Attachment:
    """One attachment; its octets are decoded when size or type is asked for."""

    def __init__(self, part: MimePart, content: Content, limits: Limits) -> None:
        self.part = part
        self._content = content
        self._limits = limits

    @property
    def place(self) -> str:
        """Which part it is."""
        return f"part {self.part.index + 1}"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every name that some reader shows, as it is shown."""
        return tuple(normal.shown(name[:MAX_NAME_CHARACTERS]) for name in self.part.filenames)

    @cached_property
    def extensions(self) -> tuple[str, ...]:
        """The last extension of each name, lower case; trailing dots and blanks do not hide it."""
        ends = (name.rstrip(". ").rpartition(".") for name in self.names)
        return tuple(dict.fromkeys(extension.casefold() for stem, dot, extension in ends if dot))

    @cached_property
    def _decoded(self) -> tuple[bytes, int]:
        most = MAX_ATTACHMENT_OCTETS
        octets, truncated = _octets(self.part, self._content, most)
        if truncated:
            self._limits.note(f"attachment: the first {most // 1024**2} MiB of {self.place} were looked at")
        return octets, len(octets)

    @property
    def size(self) -> int:
        """Octets, decoded."""
        return self._decoded[1]

    @cached_property
    def facts(self) -> FileFacts:
        """What it is."""
        # As it was written: what an override of the writing direction does is among the facts.
        name = self.part.filenames[0][:MAX_NAME_CHARACTERS] if self.part.filenames else ""
        facts = inspect(self._decoded[0], name, self.part.media_type)
        if facts.truncated:
            self._limits.note(f"attachment: {self.place}, {facts.truncated}")
        # The size is kept, the octets are not: a message of many attachments need not lie in memory decoded.
        self.__dict__["_decoded"] = (b"", self._decoded[1])
        return facts


class Parts:
    """The text parts and attachments of a content; ``breathe`` is called between them and may end it all."""

    def __init__(self, content: Content, limits: Limits, breathe: Callable[[], None]) -> None:
        self._content = content
        self._limits = limits
        self._breathe = breathe
        if content.mime.truncated:
            limits.note(f"parts: not all were looked at ({content.mime.truncated})")

    @cached_property
    def read(self) -> tuple[TextPart, ...]:
        """The text parts that a reader shows as the message."""
        return tuple(self._texts(part for part in self._text_leaves if not part.is_attachment))

    @cached_property
    def all_texts(self) -> tuple[TextPart, ...]:
        """Those, and attached text files behind them."""
        return (*self.read, *self._texts(part for part in self._text_leaves if part.is_attachment))

    def shown(self, parts: Iterable[TextPart]) -> Iterator[Text]:
        """Yield what is read of each part."""
        for part in parts:
            self._breathe()
            yield part.shown
            self._limits.note(part.limit)

    @cached_property
    def _text_leaves(self) -> tuple[MimePart, ...]:
        return tuple(part for part in self._content.mime.leaves if part.media_type.startswith("text/"))

    @cached_property
    def attachments(self) -> tuple[Attachment, ...]:
        """The attachments, as many as are looked at."""
        found = [part for part in self._content.mime.leaves if part.is_attachment]
        if len(found) > MAX_ATTACHMENTS:
            self._limits.note(f"attachment: the first {MAX_ATTACHMENTS} of {len(found)} were looked at")
        return tuple(Attachment(part, self._content, self._limits) for part in found[:MAX_ATTACHMENTS])

    @cached_property
    def charsets(self) -> tuple[tuple[str, MimePart], ...]:
        """Each declared charset with its part."""
        return tuple((part.charset, part) for part in self._text_leaves[:MAX_TEXT_PARTS] if part.charset)

    @cached_property
    def links(self) -> tuple[tuple[urls.Url, TextPart], ...]:
        """Each link once, with the first part that has it."""
        found = self._all_links()[:MAX_LINKS]
        self._content.__dict__[_LINKS] = tuple(link for link, _ in found)
        return found

    def _all_links(self) -> tuple[tuple[urls.Url, TextPart], ...]:
        found: dict[urls.Url, TextPart] = {}
        for part in self.read:
            self._limits.note(part.links_limit)
            for link in part.links:
                found.setdefault(link, part)
                if len(found) > MAX_LINKS:
                    self._limits.note(f"url: the first {MAX_LINKS} were looked at")
                    return tuple(found.items())
            self._breathe()
        return tuple(found.items())

    def _texts(self, leaves: Iterator[MimePart]) -> Iterator[TextPart]:
        left = MAX_TEXT_OCTETS
        for number, part in enumerate(leaves):
            if number >= MAX_TEXT_PARTS or left <= 0:
                self._limits.note(
                    f"text: the first {MAX_TEXT_PARTS} parts and {MAX_TEXT_OCTETS // 1024} KiB were looked at"
                )
                return
            self._breathe()
            octets, truncated = _octets(part, self._content, left)
            left -= len(octets)
            if truncated:
                self._limits.note(f"text: the first {MAX_TEXT_OCTETS // 1024} KiB were looked at")
            yield TextPart(part, octets)


def links_found(content: Content) -> tuple[urls.Url, ...] | None:
    """Return a content's links, None where nobody has looked for them yet."""
    found: tuple[urls.Url, ...] | None = content.__dict__.get(_LINKS)
    return found


def _octets(part: MimePart, content: Content, most: int) -> tuple[bytes, bool]:
    """Return a part's data, ``most`` octets at most, and whether there is more."""
    if part.body_end - part.body_start <= most:
        done = part.decode(content, max_octets=most)
        return done.octets, done.truncated
    stop = min(part.body_end, part.body_start + most * _ENCODED_TO_DECODED)
    raw = b"".join(content.chunks(part.body_start, stop))
    done = decode(raw, part.encoding, max_octets=most)
    return done.octets, done.truncated or stop < part.body_end
