"""What looks alike: skeletons and edit distance, for impersonation of named people and domains.

``skeleton`` follows UTS #39 §4 and is coarser, as befits a comparison with a short list of names to protect: marks are
dropped, case is folded, and "rn" and "m", "vv" and "w", "0" and "o", "1", "i", "l" and "|" are the same. It is for
comparing, never for showing. The table (``confusables.txt``) is ours to read because the library that has it,
confusable_homoglyphs, answers one character at a time and holds 6,000 dictionaries.
"""

import unicodedata
from functools import cache
from pathlib import Path

from rapidfuzz.distance import OSA

from gateway.mail.text.normal import shown

# Longer names and domains are compared by their beginning: likeness costs the product of the lengths.
MAX_CHARACTERS = 256

_SAME = str.maketrans({"i": "l", "1": "l", "|": "l", "0": "o"})


def skeleton(text: str) -> str:
    """Return a form that is equal for texts that look alike; at most MAX_CHARACTERS are looked at."""
    text = shown(text[:MAX_CHARACTERS])
    if not text.isascii():
        plain = unicodedata.normalize("NFKD", text).translate(_table())
        text = "".join(character for character in plain if not unicodedata.combining(character)).casefold()
        text = text.translate(_table())
    return text.lower().translate(_SAME).replace("rn", "m").replace("vv", "w")


def similar(a: str, b: str, distance: int) -> bool:
    """Tell whether ``a`` and ``b`` look alike, or are at most ``distance`` edits of their skeletons apart.

    An edit inserts, removes or replaces a character, or swaps two neighbours.
    """
    return distance >= 0 and OSA.distance(skeleton(a), skeleton(b), score_cutoff=distance) <= distance


@cache
def _table() -> dict[int, str]:
    table: dict[int, str] = {}
    for line in Path(__file__).with_name("confusables.txt").read_text(encoding="utf-8").splitlines():
        letter, _, alike = line.partition(" ")
        if letter != "#":
            table.update(dict.fromkeys(map(ord, alike), letter))
    return table
