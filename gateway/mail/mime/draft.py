"""A part while it is being read: its end is not known yet."""

from gateway.mail.header import HeaderSection
from gateway.mail.mime.blocks import Block
from gateway.mail.mime.part import MESSAGE_TYPES, MimePart
from gateway.mail.mime.transfer import IDENTITIES

_NO_HEADER = HeaderSection(b"")


class Draft:
    """See ``MimePart``; ``watched`` while its delimiters are looked for, offsets not known are -1."""

    __slots__ = (
        "block_name",
        "body_end",
        "body_start",
        "boundary",
        "defects",
        "depth",
        "encoding",
        "epilogue_start",
        "header",
        "header_end",
        "index",
        "is_divided",
        "media_type",
        "parent",
        "preamble_end",
        "start",
        "type_value",
        "watched",
    )

    def __init__(
        self, index: int, parent: "Draft | None", header: HeaderSection, start: int, header_end: int, body_start: int
    ) -> None:
        self.index = index
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent else 0
        self.header = header
        self.start, self.header_end, self.body_start = start, header_end, body_start
        self.body_end = self.preamble_end = self.epilogue_start = -1
        # RFC 2045 §5.2 and §6.1: what is not declared is text/plain in 7bit.
        self.media_type, self.encoding = "text/plain", "7bit"
        self.boundary = self.type_value = b""
        self.block_name: bytes | None = None
        self.defects: list[str] = []
        self.watched = self.is_divided = False

    @classmethod
    def of_block(cls, index: int, parent: "Draft", block: Block) -> "Draft":
        """Return a block within the text of ``parent``."""
        draft = cls(index, parent, _NO_HEADER, block.start, block.start, block.start)
        draft.body_end = block.end
        draft.media_type, draft.encoding = "application/octet-stream", block.encoding
        draft.block_name = block.name
        return draft

    @property
    def is_multipart(self) -> bool:
        """As of the part."""
        return bool(self.boundary) or self.media_type.startswith("multipart/")

    @property
    def is_plain_text(self) -> bool:
        """Whether blocks are looked for: text that stands there as it is."""
        return self.media_type.startswith("text/") and self.encoding in IDENTITIES and not self.boundary

    @property
    def encloses_message(self) -> bool:
        """Whether its body is a message whose octets stand there as they are."""
        return self.media_type in MESSAGE_TYPES and self.encoding in IDENTITIES

    def part(self) -> MimePart:
        """Return it finished."""
        return MimePart(
            index=self.index,
            parent=self.parent.index if self.parent else -1,
            depth=self.depth,
            start=self.start,
            header_end=self.header_end,
            body_start=self.body_start,
            body_end=self.body_end,
            header=self.header,
            media_type=self.media_type,
            encoding=self.encoding,
            boundary=self.boundary,
            type_value=self.type_value,
            block_name=self.block_name,
            preamble_end=self.preamble_end if self.preamble_end >= 0 else self.body_end,
            epilogue_start=self.epilogue_start if self.epilogue_start >= 0 else self.body_end,
            is_divided=self.is_divided,
            defects=tuple(self.defects),
        )
