"""Are the files of this mail what their names say, and of a kind that people send? See RFC 2183 §5.

Each file is judged by its content and its name, whatever type is declared (``mail.filetype``), for what a desktop does
when it is opened. Files in messages within the mail count; what lies in archives is the antivirus's (``antivirus``),
which unpacks them. It says ``macros``, ``encrypted`` and ``mime-ambiguous`` too, and better: these are said here only
where this gateway has no scanner.

What is said of a file is what ``mail.filetype.risks`` says of any, wherever it lies.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

from gateway.antivirus.desk import Antivirus
from gateway.mail.content import Content
from gateway.mail.filetype import inspect
from gateway.mail.filetype.kinds import KINDS
from gateway.mail.filetype.risks import PAGES, risks
from gateway.mail.filetype.signatures import signed
from gateway.mail.mime.part import MESSAGE_TYPES
from gateway.mail.mime.readings import Leaf, leaves
from gateway.mail.mime.transfer import decode
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding

# Decoding and looking at more than this, some milliseconds, leaves the loop.
_INLINE_OCTETS = 256 * 1024
# What is named of a mail with many of a kind; the journal is no inventory.
_NAMED = 5
_MAX_NAME = 100

# What a kind's own octets at the beginning tell, decoded from so much of the body.
_HEAD_OCTETS = 12 * 1024
_SKIMMED = frozenset(
    kind for name, kind in KINDS.items() if name not in PAGES and kind.family in ("image", "audio", "video", "font")
)
# Passwords, macros and what is inside are told by the antivirus; that a zip is a program, its names tell.
_SKIMMED_BESIDE_A_SCANNER = _SKIMMED | {
    kind for name, kind in KINDS.items() if name == "pdf" or (kind.family == "archive" and name != "zip")
}


class Attachments(Filter[NoOptions]):
    """Looks at each file; a mail without any is not its business."""

    stage = Stage.DATA
    # It waits for a thread where files are large.
    io = True
    # In descending gravity.
    results: ClassVar[Mapping[str, str]] = {
        "double-extension": "a harmless extension in front of one that runs: invoice.pdf.exe",
        "deceptive-name": "a name turned round, or with white space or dots behind its extension",
        "executable": "a program, by its content or by a name that a desktop runs",
        "shortcut": "a link of the desktop, which runs what it names",
        "html-smuggling": "a web page whose script makes a file on the reader's machine",
        "disk-image": "a disk image: what is in it opens without a warning",
        "onenote": "a OneNote section: files in it open by a click",
        "type-mismatch": "the content is of another kind than the name or the declared type says",
        "script": "a script of a Unix shell or interpreter",
        "html-script": "a web page with a script",
        "macros": "a document with macros",
        "encrypted": "a document or archive that wants a password",
        "mime-ambiguous": "mail clients take the mail's structure differently",
    }
    on: ClassVar[Mapping[str, float | Action]] = {
        "double-extension": 6.0,
        "deceptive-name": 6.0,
        "executable": 6.0,
        "shortcut": 6.0,
        "html-smuggling": 6.0,
        "disk-image": 4.0,
        "onenote": 4.0,
        "type-mismatch": 1.5,
        "script": 1.5,
        "html-script": 1.0,
    }
    grounds: ClassVar[Mapping[str, Ground]] = {
        "double-extension": Ground.HARMFUL,
        "deceptive-name": Ground.HARMFUL,
        "html-smuggling": Ground.HARMFUL,
    }

    def concerns(self, tx: Transaction) -> bool:
        """Whether there is a file, or structure to wonder about; of a large mail only a thread is to tell."""
        content = tx.content
        if content.size > _INLINE_OCTETS:
            return True
        if content.one_text is not None:
            return False
        tree = content.mime
        return bool(tree.ambiguities) or any(
            part.is_attachment or part.media_type in MESSAGE_TYPES for part in tree.parts
        )

    async def examine(self, tx: Transaction, ctx: Context) -> tuple[Finding, ...] | None:
        """Return a finding for each kind of file there is, the gravest first."""
        if not self.concerns(tx):
            return None
        content = tx.content
        antivirus = ctx.service(Antivirus)
        deep = antivirus is None or not antivirus.is_configured
        if content.size > _INLINE_OCTETS:
            found, ambiguities = await asyncio.to_thread(_look, content, deep=deep)
        else:
            found, ambiguities = _look(content, deep=deep)
        return tuple(self._told(found, ambiguities))

    def _told(self, found: "Mapping[str, Sequence[_File]]", ambiguities: Sequence[str]) -> Iterator[Finding]:
        for result, meaning in self.results.items():
            if files := found.get(result):
                names = _several(file.name for file in files)
                told = self.found(result, meaning.partition(":")[0], names=names)
                yield told.about(tuple(dict.fromkeys(file.place for file in files)))
        if ambiguities:
            yield self.found("mime-ambiguous", self.results["mime-ambiguous"], names=_several(ambiguities))


class _File(NamedTuple):
    name: str
    # Where it, or what is encoded around it, stands in the received octets.
    place: tuple[int, int]


def _look(content: Content, *, deep: bool) -> tuple[dict[str, list[_File]], tuple[str, ...]]:
    """Return the files of each kind, and what is ambiguous; what the antivirus says too only when ``deep``."""
    found: dict[str, list[_File]] = {}
    walk = leaves(content)
    for leaf in walk.leaves:
        if leaf.part.is_attachment:
            start, end, _ = leaf.origin[0] if leaf.origin else leaf.place
            file = _File(leaf.part.filename or leaf.part.media_type, (start, end))
            for result in _results(leaf, deep=deep):
                found.setdefault(result, []).append(file)
    return found, walk.ambiguities if deep else ()


def _octets(leaf: Leaf, *, deep: bool) -> bytes:
    """Return what must be seen of a file: of most, whose beginning says it all, no more than that."""
    part = leaf.part
    if part.body_end - part.body_start <= _HEAD_OCTETS:
        return leaf.decode().octets
    head = b"".join(leaf.content.chunks(part.body_start, part.body_start + _HEAD_OCTETS))
    octets = decode(head, part.encoding, max_octets=_HEAD_OCTETS).octets
    kind = KINDS.get(signed(octets))
    if kind is None or kind not in (_SKIMMED if deep else _SKIMMED_BESIDE_A_SCANNER):
        return leaf.decode().octets
    return octets


def _results(leaf: Leaf, *, deep: bool) -> Iterator[str]:
    octets = _octets(leaf, deep=deep)
    facts = inspect(octets, leaf.part.filename, leaf.part.media_type)
    yield from risks(octets, facts, leaf.part.filenames)
    if deep and facts.macros:
        yield "macros"
    if deep and facts.encrypted:
        yield "encrypted"


def _several(names: Iterable[str]) -> str:
    several = list(dict.fromkeys(name[:_MAX_NAME] for name in names))
    more = f" and {len(several) - _NAMED} more" if len(several) > _NAMED else ""
    return ", ".join(several[:_NAMED]) + more
