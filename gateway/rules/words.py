r"""Words in any script: what ``word`` asks for, and RE2's ASCII ``\b`` cannot.

A word of letters is bounded: before it and behind it stands no letter, digit or mark of a script that separates its
words. Scripts that do not (Han, kana, Thai and its neighbours, Hangul with its particles) have no such bound, so a
word of Han characters is found wherever it stands, and "vpn" is found in 加vpn微信.
"""

import re
import unicodedata

# Scripts written without spaces between words, or with particles grown on: Thai to Lao, Tibetan, Myanmar, Hangul Jamo,
# Khmer, kana, CJK and Hangul, half-width kana is gone after NFKC, the Han planes.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u318f"
    "\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def find_word(text: str, word: str) -> int:
    """Return where ``word`` first stands as a word in ``text``, or -1; both folded."""
    bound_left, bound_right = _binds(word[0]), _binds(word[-1])
    at = text.find(word)
    while at >= 0:
        end = at + len(word)
        left = bound_left and at > 0 and _binds(text[at - 1])
        right = bound_right and end < len(text) and _binds(text[end])
        if not left and not right:
            return at
        at = text.find(word, at + 1)
    return -1


def _binds(character: str) -> bool:
    """Tell whether the character is part of a word that goes on beside it."""
    if character.isascii():
        return character.isalnum() or character == "_"
    if _UNSPACED.match(character):
        return False
    return character.isalnum() or unicodedata.category(character).startswith("M")
