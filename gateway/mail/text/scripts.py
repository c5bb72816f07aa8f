"""Writing systems of a text: names of Unicode's Script property (UAX #24), such as "Han", "Cyrillic", "Latin".

Only letters count: digits, punctuation, symbols and combining marks belong to every script or to none. Scripts that
nobody writes mail in are not distinguished (nothing is said of their letters). The table is of Unicode 15; a range
spans what is unassigned or common within it.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping

_TABLE = (
    "41-2e4 Latin, 2ea-2eb Bopomofo, 370-3ff Greek, 400-52f Cyrillic, 531-58f Armenian, 591-5f4 Hebrew, "
    "600-6ff Arabic, 700-74f Syriac, 750-77f Arabic, 780-7b1 Thaana, 860-86a Syriac, 870-8ff Arabic, "
    "900-97f Devanagari, 980-9fe Bengali, a01-a76 Gurmukhi, a81-aff Gujarati, b01-b77 Oriya, b82-bfa Tamil, "
    "c00-c7f Telugu, c80-cf3 Kannada, d00-d7f Malayalam, d81-df4 Sinhala, e01-e5b Thai, e81-edf Lao, "
    "f00-fda Tibetan, 1000-109f Myanmar, 10a0-10ff Georgian, 1100-11ff Hangul, 1200-1399 Ethiopic, "
    "13a0-13fd Cherokee, 1780-17f9 Khmer, 1800-18aa Mongolian, 19e0-19ff Khmer, 1c80-1c88 Cyrillic, "
    "1c90-1cbf Georgian, 1d00-1d25 Latin, 1d26-1d2a Greek, 1d2b Cyrillic, 1d2c-1d5c Latin, 1d5d-1d61 Greek, "
    "1d62-1d65 Latin, 1d66-1d6a Greek, 1d6b-1d77 Latin, 1d78 Cyrillic, 1d79-1dbe Latin, 1dbf Greek, "
    "1e00-1eff Latin, 1f00-1ffe Greek, 2071-209c Latin, 2126 Greek, 212a-2c7f Latin, 2d00-2d2d Georgian, "
    "2d80-2dde Ethiopic, 2de0-2dff Cyrillic, 2e80-3029 Han, 302e-302f Hangul, 3038-303b Han, "
    "3041-309f Hiragana, 30a1-30ff Katakana, 3105-312f Bopomofo, 3131-318e Hangul, 31a0-31bf Bopomofo, "
    "31f0-31ff Katakana, 3200-327e Hangul, 32d0-3357 Katakana, 3400-9fff Han, a000-a4c6 Yi, "
    "a640-a69f Cyrillic, a722-a7ff Latin, a8e0-a8ff Devanagari, a960-a97c Hangul, a9e0-aa7f Myanmar, "
    "ab01-ab2e Ethiopic, ab30-ab64 Latin, ab65 Greek, ab66-ab69 Latin, ab70-abbf Cherokee, ac00-d7fb Hangul, "
    "f900-fad9 Han, fb00-fb06 Latin, fb13-fb17 Armenian, fb1d-fb4f Hebrew, fb50-fdff Arabic, "
    "fe2e-fe2f Cyrillic, fe70-fefc Arabic, ff21-ff5a Latin, ff66-ff9d Katakana, ffa0-ffdc Hangul, "
    "10140-101a0 Greek, 10780-107ba Latin, 10e60-10eff Arabic, 111e1-111f4 Sinhala, 11660-1166c Mongolian, "
    "11b00-11b09 Devanagari, 11fc0-11fff Tamil, 16fe2-16ff1 Han, 1aff0-1b000 Katakana, 1b001-1b11f Hiragana, "
    "1b120-1b122 Katakana, 1b132-1b152 Hiragana, 1b155-1b167 Katakana, 1d200-1d245 Greek, 1df00-1df2a Latin, "
    "1e030-1e08f Cyrillic, 1e7e0-1e7fe Ethiopic, 1ee00-1eef1 Arabic, 1f200 Hiragana, 20000-323af Han, "
)


def _ranges() -> Iterable[tuple[int, int, str]]:
    for entry in _TABLE.rstrip(", ").split(", "):
        span, _, script = entry.partition(" ")
        first, _, last = span.partition("-")
        yield int(first, 16), int(last or first, 16), script


_FIRST, _LAST, _SCRIPT = zip(*_ranges(), strict=True)


def of(text: str) -> frozenset[str]:
    """Return the scripts that the letters of ``text`` belong to."""
    if text.isascii():
        return _LATIN if any(map(str.isalpha, text)) else _NONE
    return frozenset(filter(None, map(_script, set(text))))


_LATIN = frozenset({"Latin"})
_NONE: frozenset[str] = frozenset()


def shares(text: str) -> Mapping[str, float]:
    """Return each script's share of the letters of ``text``, above 0 to 1, largest first."""
    counts: Counter[str] = Counter()
    for character, count in Counter(text).items():
        if script := _script(character):
            counts[script] += count
    total = sum(counts.values())
    return {script: count / total for script, count in counts.most_common()}


def _script(character: str) -> str:
    """Return the script of a letter, "" for what is none."""
    code = ord(character)
    position = bisect_right(_FIRST, code) - 1
    return _SCRIPT[position] if position >= 0 and code <= _LAST[position] and character.isalpha() else ""
