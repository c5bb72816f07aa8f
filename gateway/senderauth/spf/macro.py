"""The macro language (RFC 7208 §7): parsed once, expanded often.

``parse_domain_spec`` takes what may stand in a record, ``parse_explanation`` what may stand in the text behind
``exp=``, where ``%{c}``, ``%{r}`` and ``%{t}`` are known as well. Both raise ``MacroError``.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

# RFC 7208 §7.3: an expanded domain is cut on the left to fit into 253 characters.
MAX_DOMAIN_CHARACTERS = 253

# RFC 7208 §7.1: macro-expand = ( "%{" macro-letter transformers *delimiter "}" ) / "%%" / "%_" / "%-"
_EXPAND = re.compile(r"%(?:\{([A-Za-z])([0-9]*)(r?)([-.+,/_=]*)\}|([%_-]))", re.IGNORECASE)
_PLAIN = {"%": "%", "_": " ", "-": "%20"}
_LETTERS = frozenset("slodiphv")
_EXPLANATION_LETTERS = _LETTERS | frozenset("crt")
# RFC 7208 §7.1: macro-literal = %x21-24 / %x26-7E
_LITERAL = re.compile(r"[!-$&-~]*")
_EXPLANATION_LITERAL = re.compile(r"[ -$&-~]*")
# RFC 7208 §7.1: domain-end = ( "." toplabel [ "." ] ) / macro-expand; toplabel has a letter or an inner hyphen.
_END = re.compile(r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?$")


class MacroError(ValueError):
    """The text is no macro-string; the message says why."""


@dataclass(frozen=True, slots=True)
class Macro:
    """One ``%{…}``: ``letter`` in lower case, ``keep`` right-hand parts (0: all), as its transformers say."""

    letter: str
    keep: int
    reverse: bool
    delimiters: str
    escaped: bool

    def expand(self, value: str) -> str:
        """Return ``value`` split, reversed, cut, joined and escaped (RFC 7208 §7.3)."""
        if self.reverse or self.keep or self.delimiters != ".":
            parts = _split(value, self.delimiters)
            if self.reverse:
                parts.reverse()
            value = ".".join(parts[-self.keep :])
        # RFC 7208 §7.3: upper-case macro letters escape everything but the unreserved characters of RFC 3986.
        return quote(value, safe="-._~") if self.escaped else value


@dataclass(frozen=True, slots=True)
class MacroString:
    """Literal texts and macros in order; ``literal`` is the whole text where there is no macro, else None."""

    parts: tuple[str | Macro, ...]
    literal: str | None

    @property
    def letters(self) -> frozenset[str]:
        """The macro letters used."""
        return frozenset(part.letter for part in self.parts if isinstance(part, Macro))

    def expand(self, values: Mapping[str, Callable[[], str]]) -> str:
        """Return the text with each macro replaced; ``values`` has a function for every letter used."""
        if self.literal is not None:
            return self.literal
        return "".join(part if isinstance(part, str) else part.expand(values[part.letter]()) for part in self.parts)


def parse_domain_spec(text: str) -> MacroString:
    """Return a domain-spec; raise ``MacroError``."""
    spec = _parse(text, _LITERAL, _LETTERS)
    last = spec.parts[-1] if spec.parts else ""
    if isinstance(last, str) and not _END.search(last):
        raise MacroError(f"{text!r} does not end in a top-level label or a macro")
    return spec


def parse_macro_string(text: str) -> MacroString:
    """Return any macro-string, as the values of unknown modifiers are (RFC 7208 §6); raise ``MacroError``."""
    return _parse(text, _LITERAL, _EXPLANATION_LETTERS)


def parse_explanation(text: str) -> MacroString:
    """Return an explain-string (RFC 7208 §6.2); raise ``MacroError``."""
    return _parse(text, _EXPLANATION_LITERAL, _EXPLANATION_LETTERS)


def shortened(domain: str) -> str:
    """Return an expanded domain, cut on the left to MAX_DOMAIN_CHARACTERS, without a final dot."""
    domain = domain.removesuffix(".")
    while len(domain) > MAX_DOMAIN_CHARACTERS and "." in domain:
        domain = domain.partition(".")[2]
    return domain


def _parse(text: str, literal: re.Pattern[str], letters: frozenset[str]) -> MacroString:
    parts = tuple(_merged(_parts(text, literal, letters)))
    whole = parts[0] if len(parts) == 1 else None
    if not parts:
        return MacroString((), "")
    return MacroString(parts, whole if isinstance(whole, str) else None)


def _merged(parts: Iterator[str | Macro]) -> Iterator[str | Macro]:
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        if text:
            yield text
            text = ""
        yield part
    if text:
        yield text


def _parts(text: str, literal: re.Pattern[str], letters: frozenset[str]) -> Iterator[str | Macro]:
    at = 0
    while at < len(text):
        plain = literal.match(text, at)
        if plain is not None and plain.end() > at:
            yield plain[0]
            at = plain.end()
            continue
        found = _EXPAND.match(text, at)
        if found is None:
            raise MacroError(f"{text[at : at + 20]!r} is no macro")
        yield _PLAIN[found[5]] if found[5] else _macro(found, letters)
        at = found.end()


def _macro(found: re.Match[str], letters: frozenset[str]) -> Macro:
    letter, digits, reverse, delimiters = found[1], found[2], found[3], found[4]
    if letter.lower() not in letters:
        raise MacroError(f"%{{{letter}}} is not known here")
    # RFC 7208 §7.1: "the DIGIT transformer … must be non-zero". Beyond three digits nothing is left to cut.
    if digits and not int(digits[:9]):
        raise MacroError(f"{found[0]} keeps no part")
    return Macro(letter.lower(), int(digits[:9] or 0), bool(reverse), delimiters or ".", letter.isupper())


def _split(value: str, delimiters: str) -> list[str]:
    for other in delimiters[1:]:
        value = value.replace(other, delimiters[0])
    return value.split(delimiters[0])
