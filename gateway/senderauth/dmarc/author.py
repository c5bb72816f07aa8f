"""The author's domain: what the From field says (RFC 5322 §3.6.2, RFC 9989 §5.3.1).

``author_domain`` returns an ``Author``: one domain in A-labels, or why there is not exactly one. Mail programs show
such fields in different ways, so nothing is guessed: a field with an address too many, in angle brackets twice, or
that is no address list at all has no author.

An address in a display name, a comment or a quoted string is no address. RFC 2047 §5 (3): an encoded-word is never
part of an address.
"""

import re
from collections.abc import Iterator
from itertools import pairwise

from gateway.mail.header import HeaderSection
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.smtp.reply import printable
from gateway.value import value

# A From field with more is no letter; who sends one wants a parser to be busy.
MAX_FIELD_CHARACTERS = 16_384

_SPECIALS = "<>,;:@"


@value(kw_only=True)
class Author:
    """``domain`` is "" when there is not exactly one, and then ``fault`` says why, ``word`` in one word.

    Words: ``missing``, ``several-fields``, ``several-domains``, ``malformed``.
    """

    domain: str = ""
    word: str = ""
    fault: str = ""


class _FieldError(ValueError):
    """Within this file: the field is no address list."""


def author_domain(header: HeaderSection) -> Author:
    """Return the domain that From names."""
    fields = header.get_all("from")
    if not fields:
        return Author(word="missing", fault="no From field")
    if len(fields) > 1:
        # RFC 9989 §4.4: repeated: no reliable way to tell whose policy applies.
        return Author(word="several-fields", fault=f"{len(fields)} From fields")
    try:
        domains = sorted(set(domains_of(fields[0].text)))
    except _FieldError as error:
        return Author(word="malformed", fault=f"From: {error}")
    if not domains:
        return Author(word="missing", fault="From has no address")
    if len(domains) > 1:
        return Author(word="several-domains", fault=f"From has addresses of {', '.join(domains)}")
    return Author(domain=domains[0])


def domains_of(text: str) -> Iterator[str]:
    """Yield the domain of each address in an address list, in A-labels; raise ``ValueError``."""
    if len(text) > MAX_FIELD_CHARACTERS:
        raise _FieldError("too long")
    for lexemes in _addresses(_lexemes(text)):
        yield _domain(lexemes)


# RFC 5322 §3.2: comment (nested, so found by counting), quoted-string, domain-literal, special, anything else.
_LEXEME = re.compile(r'"(?:[^"\\]|\\.)*+"|\[[^\[\]]*\]|[<>,;:@()]|[^\s<>,;:@()"\[\]]+|\s+|["\[\]]', re.DOTALL)


def _lexemes(text: str) -> Iterator[str]:
    depth = 0
    at = 0
    while at < len(text):
        if depth:
            # RFC 5322 §3.2.2: within a comment only parentheses and quoted-pairs count.
            step = 2 if text[at] == "\\" else 1
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += step
            continue
        found = _LEXEME.match(text, at)
        if found is None:  # pragma: no cover - the pattern takes every character
            raise _FieldError("unreadable")
        at = found.end()
        lexeme = found[0]
        if lexeme == "(":
            depth = 1
        elif lexeme in {")", '"', "[", "]"}:
            raise _FieldError(f"unbalanced {lexeme}")
        elif lexeme.startswith("[") and "@" in lexeme:
            # No name has brackets, but "[Shop] Anna" is common; about an address in them readers differ.
            raise _FieldError("an address in brackets")
        elif not lexeme.isspace():
            yield lexeme
    if depth:
        raise _FieldError("a comment that does not end")


def _addresses(lexemes: Iterator[str]) -> Iterator[list[str]]:
    """Yield the lexemes of each address; groups (RFC 5322 §3.4) are taken apart."""
    address: list[str] = []
    angle = False
    for lexeme in lexemes:
        if lexeme in {"<", ">"}:
            angle = lexeme == "<"
        if angle or lexeme not in {",", ";", ":"}:
            address.append(lexeme)
            continue
        if lexeme == ":":
            # What stood before is the group's name.
            if "@" in address or ">" in address:
                raise _FieldError("an address for a group's name")
            address = []
            continue
        if address:
            yield address
        address = []
    if address:
        yield address


def _domain(lexemes: list[str]) -> str:
    if "<" in lexemes or ">" in lexemes:
        lexemes = _inside_angles(lexemes)
    if lexemes.count("@") != 1:
        raise _FieldError(f"no address: {_shown(lexemes)}")
    at = lexemes.index("@")
    local, domain = lexemes[:at], "".join(lexemes[at + 1 :])
    if not local or not domain or not _is_local(local):
        raise _FieldError(f"no address: {_shown(lexemes)}")
    if domain.startswith("["):
        raise _FieldError(f"no domain: {printable(domain)}")
    try:
        return normalise_domain(domain)
    except DomainError as error:
        raise _FieldError(f"no domain: {printable(domain[:80])}") from error


def _inside_angles(lexemes: list[str]) -> list[str]:
    # RFC 5322 §3.4: [display-name] "<" addr-spec ">", and nothing behind; obs-route (§4.4) before the colon.
    if lexemes.count("<") != 1 or lexemes.count(">") != 1 or lexemes[-1] != ">":
        raise _FieldError(f"angle brackets: {_shown(lexemes)}")
    start = lexemes.index("<")
    if "@" in lexemes[:start]:
        raise _FieldError(f"an address for a name: {_shown(lexemes)}")
    inside = lexemes[start + 1 : -1]
    if inside[:1] == ["@"] and ":" in inside:
        inside = inside[inside.index(":") + 1 :]
    return inside


def _is_local(lexemes: list[str]) -> bool:
    # RFC 5322 §3.4.1: dot-atom or quoted-string; §4.4 allows words with dots and white space between.
    return all(before.endswith(".") or after.startswith(".") for before, after in pairwise(lexemes))


def _shown(lexemes: list[str]) -> str:
    return printable(" ".join(lexemes))[:80]
