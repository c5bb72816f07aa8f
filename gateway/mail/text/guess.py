"""Which charset reads these octets as a language: a score over a sample, for text whose label is missing or wrong.

A character's weight is how much it speaks for its reading: common characters of Chinese, Japanese and Korean
(``frequency``), Cyrillic in lower case, punctuation; rare Han, private use and replacement characters speak against
it. A reading's score is the mean weight per octet that is not ASCII. The declared charset has an advantage, and is not
contested at all when what it gives looks good.

Bounded: at most SAMPLE_OCTETS are read, in at most nine charsets; about 0.2 ms.
"""

import codecs
import re

from gateway.mail.text.frequency import HANGUL, JAPANESE, SIMPLIFIED, TRADITIONAL

# Two or three hundred characters tell languages apart beyond doubt; a subject line has twenty.
SAMPLE_OCTETS = 512

DOUBLE_OCTET = frozenset({"gb18030", "big5", "cp932", "euc_jp", "cp949"})
# Beside what is declared; in order of how common they are among mail without a good label.
_DOUBLE_AND_UTF8 = ("utf-8", "gb18030", "big5", "cp949", "cp932", "euc_jp")
_CANDIDATES = (*_DOUBLE_AND_UTF8, "cp1251", "koi8_r")
# Alphabets of Latin letters share their ASCII half and are judged by how high octets are strewn among it.
_LATIN = frozenset(
    {"windows-1252", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_10", "iso8859_13", "iso8859_14", "iso8859_15"}
    | {"iso8859_16", "cp1250", "cp1254", "cp1257", "cp1258", "mac_roman", "cp437", "cp850", "cp852"}
)
_PYTHON = {"big5": "cp950"}

# Above this a reading is a language: right readings give 1.2 to 2, wrong ones seldom more than 0.9.
_GOOD = 1.15
# What being declared is worth, in the same measure.
_DECLARED = 0.25

# How much of the ASCII text before the first accent is looked at.
_BEFORE = 64

# One or two signs apart, such as a copyright or currency sign: nothing to guess by.
_FEW_SIGNS = re.compile(rb"[\x00-\x7f]*+(?:[\x80-\xff][\x00-\x7f]++){0,1}+[\x80-\xff]?+[\x00-\x7f]*+")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


# By last code point of a range.
_BLOCKS = (
    (0x7F, 0.0),
    (0x9F, -4.0),  # C1 controls
    (0xBF, -0.2),
    (0x24F, 0.2),  # Latin letters
    (0x36F, -0.5),
    (0x3FF, 1.3),  # Greek, which is no candidate: only who declares it gets it, as of the next three
    (0x42F, 0.6),  # Cyrillic capitals
    (0x45F, 1.1),
    (0x52F, 0.2),
    (0x6FF, 1.3),  # Armenian, Hebrew, Arabic
    (0xDFF, 0.2),
    (0xE7F, 1.3),  # Thai
    (0x1FFF, 0.0),
    (0x206F, 0.5),  # dashes and quotation marks
    (0x24FF, 0.2),
    (0x25FF, -0.5),  # box drawing
    (0x2FFF, 0.0),
    (0x303F, 1.5),  # 、。「」
    (0x309F, 3.2),  # hiragana
    (0x30FF, 3.0),  # katakana
    (0x33FF, -0.5),
    (0x4DFF, -3.0),  # Han, extension A
    (0x9FFF, -1.2),  # Han that is not among the common ones
    (0xABFF, -1.0),
    (0xD7A3, -0.8),  # Hangul that is not among the common ones
    (0xDFFF, -4.0),
    (0xF8FF, -4.0),  # private use
    (0xFAFF, -2.0),
    (0xFEFF, -1.0),
    (0xFF60, 2.0),  # full-width forms
    (0xFF9F, -1.0),  # half-width katakana, one octet each in Shift_JIS
    (0xFFEF, -1.0),
    (0xFFFF, -6.0),  # U+FFFD
)


def _weights() -> list[float]:
    """Return a weight for each UTF-16 code unit: an index is faster than a dictionary, and half a megabyte small."""
    weights: list[float] = []
    for last, weight in _BLOCKS:
        weights += [weight] * (last + 1 - len(weights))
    for characters, weight in (
        (_level("gb2312", 0xB0, 0xD8), 0.6),
        (_level("cp950", 0xA4, 0xC6), 0.4),
        (TRADITIONAL + JAPANESE + SIMPLIFIED + HANGUL, 3.2),
        (SIMPLIFIED[:220] + TRADITIONAL[:80] + HANGUL[:120], 4.0),
        ("оеаинтсрвлкмдпу", 1.7),
    ):
        for character in characters:
            weights[ord(character)] = weight
    return weights


def _level(name: str, first: int, end: int) -> str:
    """Return the characters of the rows that a standard keeps for common ones."""
    pairs = (bytes((row, cell)) for row in range(first, end) for cell in range(0xA1, 0xFF))
    return b"".join(pairs).decode(name, "ignore")


_WEIGHT = _weights().__getitem__


def codec(octets: bytes, declared: str) -> str:
    """Return the codec that reads ``octets`` best: ``declared`` (a codec or ""), "utf-8" or one of the candidates."""
    first = _HIGH_RUN.search(octets)
    start = first.start() if first else 0
    sample = octets[start : start + SAMPLE_OCTETS]
    if declared in _LATIN and _FEW_SIGNS.fullmatch(octets):
        return declared
    latin = _latin_score(octets[max(0, start - _BEFORE) : start + SAMPLE_OCTETS])
    own = _score(sample, declared) if declared and declared not in _LATIN else latin
    if own >= (_GOOD if declared else _GOOD + _DECLARED):
        return declared or "windows-1252"
    best, most = declared or "windows-1252", own + (_DECLARED if declared else 0.0)
    if latin > most:
        best, most = "windows-1252", latin
    # Accents among ASCII letters are no Cyrillic, though each of them could be.
    for candidate in _CANDIDATES if latin < 0 else _DOUBLE_AND_UTF8:
        if candidate != declared and (score := _score(sample, candidate)) > most:
            best, most = candidate, score
    return best


def prefers(octets: bytes, declared: str) -> bool:
    """Tell whether octets that are valid UTF-8, in pairs only, are more likely to be what they are declared as.

    One pair of Chinese in seven is valid UTF-8 by chance; five of them are no chance any more, and one that stands
    among ASCII letters is an accent.
    """
    runs = _HIGH_RUN.findall(octets[:SAMPLE_OCTETS])
    if sum(map(len, runs)) > _BY_CHANCE or _WITHIN_WORD.search(octets):
        return False
    sample = b"".join(runs)
    return _score(sample, declared) > _score(sample, "utf-8")


# Octets: four pairs.
_BY_CHANCE = 8
_WITHIN_WORD = re.compile(rb"[A-Za-z][\x80-\xff]{2}[A-Za-z]")


def _score(sample: bytes, name: str) -> float:
    found = "".join(_NOT_ASCII.findall(_sampled(sample, _PYTHON.get(name, name))))
    if not found:
        return -6.0
    weight = sum(map(_WEIGHT, memoryview(found.encode("utf-16-le", "replace")).cast("H")))
    if name in _KANA_BY_ACCIDENT:
        weight -= _KANA_EXCESS * len(_KANA.findall(found))
    return weight / _octets(found, name)


def _sampled(sample: bytes, codec: str) -> str:
    try:
        # The sample may end within a character, which speaks neither for nor against.
        return codecs.getincrementaldecoder(codec)("replace").decode(sample)
    except UnicodeError:
        # CPython's decoders of escape sequences keep eight octets of one that is not finished, and raise at the ninth.
        return sample.decode(codec, "replace")


def _octets(found: str, name: str) -> float:
    if name == "utf-8":
        # Three octets a character, but no other reading of them is as unlikely to be valid by chance.
        return len(found) * 2.0
    if name not in DOUBLE_OCTET:
        return len(found)
    # Half-width katakana and replacements stand for one octet.
    single = len(_SINGLE.findall(found))
    return 2.0 * len(found) - single


# The Chinese and Korean sets have kana at the places where EUC-JP has them; nobody writes them there.
_KANA_BY_ACCIDENT = frozenset({"gb18030", "big5", "cp949"})
_KANA = re.compile("[\u3041-\u30fe]")
_KANA_EXCESS = 2.5
_SINGLE = re.compile("[\uff61-\uff9f\ufffd]")


# Windows-1252 and its kin: letters (C0 and above), quotation marks and dashes (85, 91 to 97).
_LATIN_LETTER = re.compile(rb"[\xc0-\xff\x85\x91-\x97]")


def _latin_score(sample: bytes) -> float:
    """Letters with accents stand alone or in twos among ASCII ones; runs of high octets are another alphabet."""
    runs = _HIGH_RUN.findall(sample)
    if not runs:
        return 0.0
    weight = 0.0
    for run in runs:
        letters = len(_LATIN_LETTER.findall(run))
        weight += _LATIN_WEIGHTS[letters] if letters == len(run) <= _LATIN_RUN else -1.0 * len(run)
    high = sum(map(len, runs))
    # No word of these languages has more accents than plain letters.
    return weight / high if high == 1 or len(_ASCII_LETTER.findall(sample)) > high else -1.0


_ASCII_LETTER = re.compile(rb"[A-Za-z]")
_LATIN_RUN = 2
_LATIN_WEIGHTS = (0.0, 1.6, 2.6)
