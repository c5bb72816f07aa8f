"""Text made searchable, Chinese too: what SQLite's FTS5 is given, and what it is asked.

FTS5's tokenizers take a run of Han characters for one word (unicode61), or find nothing shorter than three characters
(trigram), and the words one searches in Chinese spam have two (发票, 贷款). So each character of a script that is
written without spaces becomes a word of its own before it is indexed, a search for 发票 is one for 发 directly followed
by 票, and everything else is what unicode61 makes of it. Compatibility forms are folded first (NFKC), as full-width
letters are a usual disguise.
"""

import re
import unicodedata

# Han with its extensions and compatibility forms, kana, hangul, Thai and Lao: written without spaces.
_ALONE = re.compile(
    "([\u0e00-\u0eff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\U00020000-\U0003ffff])"
)
# A search is a line somebody types.
MAX_TERMS = 16


def searchable(text: str) -> str:
    """Return what is indexed of a text."""
    if text.isascii():
        return text
    folded = unicodedata.normalize("NFKC", text)
    return " ".join(_ALONE.sub(r" \1 ", folded).split())


def search_expression(text: str) -> str:
    """Return the FTS5 expression for what a person typed: every word must occur; ``word*`` begins one; "" for nothing.

    Quotes keep words together. Nothing a person types is FTS5's own syntax.
    """
    terms = re.findall(r'"([^"]*)"(\*?)|(\S+)', text)[:MAX_TERMS]
    return " ".join(filter(None, (_term(quoted or bare, star) for quoted, star, bare in terms)))


def _term(text: str, star: str) -> str:
    if text.endswith("*"):
        text, star = text.rstrip("*"), "*"
    words = searchable(text.replace('"', " "))
    if not any(c.isalnum() for c in words):
        return ""
    return f'"{words}"{star}'
