r"""One form of a text for matching: what looks the same to a reader is the same string.

``shown`` keeps case: invisible characters are removed (zero-width characters, soft hyphens, bidirectional controls,
variation selectors, tags, fillers: Unicode's Default_Ignorable_Code_Point; ASCII controls too), NFKC folds full-width,
half-width, mathematical and enclosed forms, and every run of white space becomes one space, without one at the ends;
a line end that wraps Chinese or Japanese text becomes nothing.
``folded`` is ``shown`` with its case folded. ``letters`` is ``folded`` with letters, marks and digits only, for words
that are spaced or dotted out ("代 开*发.票").

All three are idempotent. Texts of ASCII alone, most of the world's mail, take a short way.

Departure: NFKC is applied with at most 30 combining marks in a row (Unicode UAX #15, Stream-Safe Text Format). A
reader cannot tell; CPython orders marks by insertion, and 40,000 of them took 1.4 s.
"""

import re
import unicodedata

# One line end between two Chinese characters or kana wraps a line: those scripts have no spaces (CSS Text §4.1.3 has
# browsers drop it too). Hangul has spaces.
_UNSPACED = "[\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_WRAPPED = re.compile(rf"\n(?={_UNSPACED})(?<={_UNSPACED}\n)")

# UAX #15 §13: no word of any language has more.
_MAX_MARKS = 30

# Default_Ignorable_Code_Point of Unicode 15, with the interlinear annotation marks (FFF9..FFFB), which no reader
# shows either, and C0 and C1 controls other than white space (0085 is a line end).
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]+"
)
# The same for a text of ASCII alone, as octets: what goes, and white space (what ``str.split`` splits at) to a space.
_CONTROLS = bytes([*range(0x09), *range(0x0E, 0x1C), 0x7F])
_SPACES = bytes(0x20 if octet in b"\t\n\v\f\r\x1c\x1d\x1e\x1f" else octet for octet in range(256))
# Neither letters nor white space: every combining mark is one, and few other characters stand so many in a row.
# Half as many and fewer: NFKC makes two marks of some, and takes some off the letter before them.
_LONG_RUN = re.compile(rf"[^\w\s\x00-\x7f]{{{_MAX_MARKS // 2 - 1},}}")
# The full-width punctuation of every Chinese sentence (U+FF01 to U+FF5E are ASCII's 0x21 to 0x7E).
_PUNCTUATION = tuple((chr(ord(narrow) + 0xFEE0), narrow) for narrow in "!(),:;?")
_NOT_LETTERS = re.compile(r"(?:[^\w]|_)+")


def shown(text: str) -> str:
    """Return ``text`` as a reader sees it, case kept."""
    if text.isascii():
        return _plain(text)
    wrapped = _composed(_INVISIBLE.sub("", text)).replace("\r\n", "\n")
    text = _WRAPPED.sub("", wrapped)
    if len(text) != len(wrapped):
        # A sound mark may have come to its kana.
        text = _composed(text)
    return " ".join(text.split())


def folded(text: str) -> str:
    """Return ``shown(text)`` with case folded: the form in which texts and patterns meet."""
    text = shown(text)
    if text.isascii():
        return text.lower()
    changed = text.casefold()
    # Folding may leave a text that is not composed (Unicode §3.13, toNFKC_Casefold).
    return text if changed == text else _composed(changed)


def letters(text: str) -> str:
    """Return ``folded(text)`` without anything that is not a letter or a digit."""
    return _NOT_LETTERS.sub("", folded(text))


def _plain(text: str) -> str:
    octets = text.encode("ascii").translate(_SPACES, _CONTROLS)
    # Each turn halves every run, so the whole is linear.
    while b"  " in octets:
        octets = octets.replace(b"  ", b" ")
    return octets.strip(b" ").decode("ascii")


def _composed(text: str) -> str:
    # What NFKC does to them anyhow; without them most Chinese is in that form already, which is found out quickly.
    for wide, narrow in _PUNCTUATION:
        text = text.replace(wide, narrow)
    if _LONG_RUN.search(text) is None:
        return unicodedata.normalize("NFKC", text)
    # Before, for the time it takes, and behind, for what it has made two of.
    return _LONG_RUN.sub(_fewer_marks, unicodedata.normalize("NFKC", _LONG_RUN.sub(_fewer_marks, text)))


def _fewer_marks(run: re.Match[str]) -> str:
    kept: list[str] = []
    marks = 0
    for character in run[0]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= _MAX_MARKS:
            kept.append(character)
    return "".join(kept)
