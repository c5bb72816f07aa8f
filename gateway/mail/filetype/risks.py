"""What opening a file may do to whoever opens it: words for ``filters`` to react to, from one look for every file.

The same look serves an attachment, a file in an archive in an archive, and what an encrypted document or a signed
message was hiding: where octets came from changes nothing about what they do. No verdicts here; what each word is worth
is the policy's.

HTML smuggling: a web page as a file whose script puts a file together on the reader's machine, which no scanner sees
because it does not exist before. Told by the words a script needs for that: they may be hidden, so that any script in
an attached page is a word of its own.
"""

import re
from collections.abc import Iterable, Iterator

from gateway.mail.filetype.facts import FileFacts
from gateway.mail.filetype.kinds import KINDS, PROMISED
from gateway.mail.filetype.names import RUNS, read_name

# Pages that people attach are smaller; a smuggled file's script stands at one end.
_PAGE_OCTETS = 2 * 1024 * 1024

_SHORTCUTS = frozenset(
    ["lnk", "url", "website", "scf", "desktop", "library-ms", "search-ms", "settingcontent-ms", "appref-ms"]
)
_IMAGES = frozenset({"iso", "vhd", "vhdx", "dmg"})
_IMAGE_NAMES = frozenset(["iso", "img", "vhd", "vhdx", "dmg", "udf"])
_NOTE_NAMES = frozenset(["one", "onepkg", "onetoc2"])
PAGES = frozenset({"html", "svg"})
_PAGE_NAMES = frozenset(["html", "htm", "shtml", "xhtml", "xht", "svg"])
# What a Unix shell reads; a desktop opens it as text.
_UNIX_SCRIPTS = frozenset(["sh", "ksh", "csh", "bash", "pl", "py", "rb", "command"])

_SCRIPT = re.compile(rb"(?i)<script\b|\bon(?:load|error|click|mouseover|focus|toggle|begin)\s*=|javascript:")
_MAKES_FILE = re.compile(rb"(?i)\bnew\s+(?:Blob|File)\s*\(|createObjectURL|ms(?:SaveOrOpen|Save)Blob")
_DECODES = re.compile(rb"(?i)\batob\s*\(|fromCharCode|fromCodePoint|Uint8Array|\bunescape\s*\(|decodeURIComponent\s*\(")
_HANDS_OVER = re.compile(rb"(?i)\.download\b|['\"]download['\"]|\.click\s*\(|location\s*(?:\.|=)|document\s*\.\s*write")
# RFC 2397: a file within a link. Browsers open none of these from a page, they save them.
_LINK = re.compile(rb"(?i)<a\b[^<>]{0,1000}")
_DATA = re.compile(rb"(?i)\bhref\s*=\s*['\"]?\s*data:(image/)?")


def risks(octets: bytes, facts: FileFacts, names: Iterable[str]) -> Iterator[str]:
    """Yield each risk of a file once; ``facts`` are those of its ``octets``, ``names`` what readers may call it.

    The words: ``double-extension``, ``deceptive-name``, ``executable``, ``shortcut``, ``disk-image``, ``onenote``,
    ``script``, ``type-mismatch``, ``html-script``, ``html-smuggling``.
    """
    # Readers differ on which of several names they show.
    said = [read_name(name) for name in names]
    if any(one.double_extension for one in said):
        yield "double-extension"
    if any(one.turns or one.trails for one in said):
        yield "deceptive-name"
    yield from _by_kind(facts)
    if _is_other_kind(facts):
        yield "type-mismatch"
    if is_page(facts):
        yield from of_page(octets)


def is_page(facts: FileFacts) -> bool:
    """Tell whether a browser would show the file."""
    return facts.kind in PAGES or facts.extension in _PAGE_NAMES


def _by_kind(facts: FileFacts) -> Iterator[str]:
    kind, extension = facts.kind, facts.extension
    if kind in ("lnk", "url-shortcut") or extension in _SHORTCUTS:
        yield "shortcut"
    elif kind in _IMAGES or extension in _IMAGE_NAMES:
        yield "disk-image"
    elif kind == "script" or (extension in _UNIX_SCRIPTS and facts.family in ("text", "script")):
        yield "script" if extension not in RUNS or extension in _UNIX_SCRIPTS else "executable"
    elif facts.executable:
        yield "executable"
    if kind == "onenote" or extension in _NOTE_NAMES:
        yield "onenote"


def _is_other_kind(facts: FileFacts) -> bool:
    """Tell whether a mismatch is more than one picture format called another, as cameras and programs do."""
    if not facts.mismatch:
        return False
    promised = {KINDS[kind].family for kind in PROMISED.get(facts.extension, ())}
    return facts.family not in promised or facts.kind == "html"


def of_page(octets: bytes) -> Iterator[str]:
    """Yield what a web page's script or links are able to do."""
    # UTF-16 is what some pages are in, and NUL octets are what browsers pass over.
    page = octets[:_PAGE_OCTETS].replace(b"\0", b"")
    if len(octets) > _PAGE_OCTETS:
        page += octets[-_PAGE_OCTETS:].replace(b"\0", b"")
    if any(map(_holds_a_file, _LINK.findall(page))):
        yield "html-smuggling"
    if not _SCRIPT.search(page):
        return
    yield "html-script"
    makes, decodes = _MAKES_FILE.search(page), _DECODES.search(page)
    if (makes and (decodes or _HANDS_OVER.search(page))) or (decodes and re.search(rb"(?i)\.download\b", page)):
        yield "html-smuggling"


def _holds_a_file(link: bytes) -> bool:
    data = _DATA.search(link)
    return data is not None and (not data[1] or b"download" in link.lower())
