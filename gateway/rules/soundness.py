"""What is wrong with a pattern before any mail has met it: RE2 refuses it, it can never match, or it always does.

A pattern of ``matches`` runs on text as shown, which has no line feeds, controls, double spaces, zero-width or
full-width characters; ``as_shown`` writes a pattern's own full-width characters as they are shown, so that a pattern
with Chinese punctuation finds what a reader sees.
"""

import re
import unicodedata
from collections.abc import Iterator

from gateway.mail.text import normal
from gateway.rules.atoms import atoms, usable
from gateway.rules.emptiness import never_matches
from gateway.rules.patterns import MAX_PATTERN_CHARACTERS, Pattern, PatternError

# A pattern that finds something in each of these finds something in every text.
_PROBES = tuple(text.encode() for text in ("a", "Z", "7", "中", "é", ".", "я", "に"))
# An escape, a set in brackets, or a character outside ASCII.
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|[^\x00-\x7f]", re.DOTALL)
_WITHIN_SET = re.compile(r"\\.|[^\x00-\x7f]", re.DOTALL)
# What a pattern without can be matched: an assertion, a set, an escape, a control character.
_DOUBTFUL = re.compile(r"[\^$\[\\\x00-\x1f\x7f-\x9f]")
_SPACES = re.compile(r"(?<!\\)[ ]{2,}")


def as_shown(source: str) -> str:
    """Return the pattern with each character that is never shown as it is (full-width forms) as it is shown."""
    return source if source.isascii() else _TOKEN.sub(_token_shown, unicodedata.normalize("NFC", source))


def _token_shown(found: re.Match[str]) -> str:
    token = found[0]
    if token.startswith("\\"):
        return token
    if token.startswith("["):
        return _WITHIN_SET.sub(_member_shown, token)
    shown = unicodedata.normalize("NFKC", token)
    if shown == token:
        return token
    return re.escape(shown) if len(shown) == 1 else f"(?:{re.escape(shown)})"


def _member_shown(found: re.Match[str]) -> str:
    shown = unicodedata.normalize("NFKC", found[0])
    # A set has single characters: what is shown as several stays, and is not found.
    return found[0] if len(shown) != 1 or found[0].startswith("\\") else re.escape(shown)


def complaint(source: str, *, octets: bool) -> str:
    """Return what is wrong with a pattern and what is allowed, or ""."""
    if len(source) > MAX_PATTERN_CHARACTERS:
        return f"longer than {MAX_PATTERN_CHARACTERS} characters; several patterns, or in_list with a file, are allowed"
    try:
        pattern = Pattern(source, octets=octets).compiled()
    except PatternError as error:
        return f"no RE2 pattern ({error}); allowed: https://github.com/google/re2/wiki/Syntax{_hint(source)}"
    return next(_faults(pattern), "")


def _faults(pattern: Pattern) -> Iterator[str]:
    source, octets = pattern.source, pattern.octets
    if pattern.is_empty_set or (_DOUBTFUL.search(source) and never_matches(source, shown=not octets)):
        what = "" if octets else ", which has no line ends, control characters or double spaces,"
        yield f"can never match: no text{what} passes it"
    if not octets and (unseen := _unseen(source)):
        yield f"can never match: {unseen}"
    if not octets and (needed := atoms(source)) is not None and usable(needed):
        # A pattern that needs a text of some length is not broad, and few are left to be tried.
        return
    if pattern.search(b"") is not None:
        yield 'matches every text, for it matches the empty one; one that must find something is wanted, or "exists"'
    if all(pattern.search(probe) is not None for probe in _PROBES):
        yield 'matches almost every text, any one character will do; a longer one is wanted, or "exists"'


def _hint(source: str) -> str:
    if re.search(r"\(\?(?:=|!|<=|<!)", source):
        return "; instead of looking ahead or behind, use `all` and `not`"
    if re.search(r"\\u[0-9A-Fa-f]{4}", source):
        return r"; a character is written as itself, or as \x{4E2D}"
    return ""


def _unseen(source: str) -> str:
    if _SPACES.search(source):
        return "every run of white space is shown as one space; write one, or ` ?` where there may be none"
    for character in source:
        if not character.isascii() and not normal.shown(character).strip() and not character.isspace():
            return f"U+{ord(character):04X} is invisible and removed from the text; leave it out"
    return ""
