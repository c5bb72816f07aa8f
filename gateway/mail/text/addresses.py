r"""Who a mail says it is from: the mailboxes of From, Reply-To and Sender (RFC 5322 §3.4), as a reader sees them.

Lenient where mail readers are: encoded-words anywhere (decoded after the syntax is known, so that a comma in one never
separates), raw 8-bit text, unquoted commas and dots in display names, an address as a display name, several addresses
in angle brackets, obsolete routes (§4.4), groups, nested comments, quoted pairs, an address hidden whole in an
encoded-word. A quotation mark, bracket or parenthesis without its other half is an ordinary character.

Every author found is returned, because readers differ about which one they show. Linear; MAX_OCTETS of a value and
MAX_AUTHORS are looked at.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from gateway.mail.text import words
from gateway.smtp.domain import DomainError, normalise_domain

# A From field of real mail has some hundred octets; Reply-To of a list with many owners a few thousand.
MAX_OCTETS = 32 * 1024
# A reader shows one or two.
MAX_AUTHORS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """One mailbox as written; parts that are missing are "".

    ``display_name`` is decoded, its white space collapsed. ``address`` is ``local-part@domain``: the local part without
    quotes and escapes, in the case it was written, the ``domain`` in its normal form (lower case, A-labels) where it
    has one, else in lower case.
    """

    display_name: str
    address: str
    domain: str


_MAX_GROUP_WORDS = 16

_ENCODED = rb"(?P<word>=\?[!-<>@-~]{1,64}+\?[bBqQ]\?(?:[^?=]|\?(?!=)|=(?!\?[^=]))*+\?=)"
_REST = rb"(?P<mark>[,;:(])|(?P<text>[^\"<,;:(=]++|.)"
_QUOTED_STRING = rb"\"(?:[^\"\\]++|\\.)*+\""
_WITH_QUOTES = re.compile(
    _ENCODED + rb"|(?P<quoted>" + _QUOTED_STRING + rb")|(?P<angle><(?:[^<>\"]++|" + _QUOTED_STRING + rb")*+>)|" + _REST,
    re.DOTALL,
)
_WITHOUT_QUOTES = re.compile(_ENCODED + rb"|(?P<quoted>(?!))|(?P<angle><[^<>]*+>)|" + _REST, re.DOTALL)
_PARENTHESIS = re.compile(rb"[()]|\\.", re.DOTALL)
_INNERMOST_COMMENT = re.compile(rb"\((?:[^()\\]++|\\.)*+\)", re.DOTALL)
_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_SPACE = re.compile(rb"[\s\0]+")
_ADDRESS = re.compile(rb"[^\s<>,;:()\"]+@[^\s<>,;:()\"]+")


def mailboxes(octets: bytes, fallback: str = "") -> tuple[Author, ...]:
    """Return the mailboxes of a field's value, in order; ``fallback`` is a charset for raw 8-bit octets."""
    return _mailboxes(octets[:MAX_OCTETS], fallback)


# Five filters and rules ask for the authors of one mail.
@lru_cache(maxsize=64)
def _mailboxes(octets: bytes, fallback: str) -> tuple[Author, ...]:
    authors = tuple(_Reading(octets, fallback).authors())
    if any(author.address for author in authors) or b"=?" not in octets:
        return authors
    # The whole of it in an encoded-word, brackets and all: forbidden, and shown as an address by several readers.
    plain = words.decode_header(octets, fallback).encode("utf-8", "replace")[:MAX_OCTETS]
    return tuple(_Reading(plain, "utf-8").authors()) if b"@" in plain else authors


class _Reading:
    """One pass over a value; the pieces of the mailbox that is being read."""

    def __init__(self, octets: bytes, fallback: str) -> None:
        self._octets = octets
        self._fallback = fallback
        self._tokens = _WITH_QUOTES
        self._comments_close = True
        self._phrase: list[bytes] = []
        self._comment = b""
        self._angle: bytes | None = None
        self._last_semicolon = octets.rfind(b";")
        # A display name that an unquoted comma cut off: it belongs to what follows.
        self._before: list[bytes] = []

    def authors(self) -> Iterator[Author]:
        """Yield the mailboxes in order."""
        count = 0
        at = 0
        while at < len(self._octets) and count < MAX_AUTHORS:
            at, ends = self._step(at)
            if ends and (author := self._finished()):
                count += 1
                yield author
        if count < MAX_AUTHORS and (author := self._finished() or self._alone()):
            yield author

    def _step(self, at: int) -> tuple[int, bool]:
        """Take the token at ``at``; return where it ends and whether a mailbox ends before it."""
        match = self._tokens.match(self._octets, at)
        if match is None:
            return len(self._octets), False
        token = match[0]
        if match.lastgroup == "angle":
            if self._angle is not None:
                # The mailbox ends before this one: read it again when that is finished.
                return at, True
            self._angle = token[1:-1]
        elif token == b"(":
            return self._skip_comment(at), False
        elif token in (b",", b";"):
            return match.end(), True
        elif token == b":" and match.end() <= self._last_semicolon and self._names_group():
            self._phrase.clear()
        else:
            self._add(token)
        return match.end(), False

    def _add(self, token: bytes) -> None:
        if token == b'"':
            # Without its other half: every later one is read plainly too, so that the value is scanned twice at most.
            self._tokens = _WITHOUT_QUOTES
        self._phrase.append(token)

    def _names_group(self) -> bool:
        # More words than this are not the name of a group.
        phrase = self._phrase[:_MAX_GROUP_WORDS]
        return self._angle is None and len(phrase) < _MAX_GROUP_WORDS and b"@" not in b"".join(phrase)

    def _skip_comment(self, start: int) -> int:
        depth = 0
        for match in _PARENTHESIS.finditer(self._octets, start) if self._comments_close else ():
            depth += {b"(": 1, b")": -1}.get(match[0], 0)
            if depth == 0:
                self._comment = self._octets[start + 1 : match.start()]
                return match.end()
        self._comments_close = False
        self._phrase.append(b"(")
        return start + 1

    def _finished(self) -> Author | None:
        phrase, comment, angle = self._phrase, self._comment, self._angle
        self._phrase, self._comment, self._angle = [], b"", None
        if angle is not None:
            before, self._before = self._before, []
            return self._author(before + phrase, comment, angle)
        joined = b"".join(phrase)
        if b"@" in joined:
            display, address = _bare(phrase, joined)
            return self._author([*self._before_of(display), display], comment, address)
        if joined.strip():
            self._before += [*phrase, b", "]
        return None

    def _before_of(self, display: bytes) -> list[bytes]:
        # "Foo, a@b": the words in front of a bare address belong to it as much as to nobody.
        before, self._before = self._before, []
        return before if display.strip() else before[:-1]

    def _alone(self) -> Author | None:
        """Return what is left when the value ends in words without an address."""
        before, self._before = self._before[:-1], []
        return self._author(before, b"", b"") if before else None

    def _author(self, phrase: list[bytes], comment: bytes, address: bytes) -> Author:
        display = self._shown(b"".join(map(_unquoted, phrase))) or self._shown(_PAIR.sub(rb"\1", comment))
        text, domain = self._addressed(address)
        return Author(display_name=display, address=text, domain=domain)

    def _shown(self, octets: bytes) -> str:
        return " ".join(words.decode_header(octets, self._fallback).split()) if octets else ""

    def _addressed(self, octets: bytes) -> tuple[str, str]:
        quoted = b'"' in octets
        octets = octets.strip() if quoted else _SPACE.sub(b"", _INNERMOST_COMMENT.sub(b"", octets))
        # RFC 5322 §4.4: obs-route, "@relay,@relay:" in front of the address.
        if octets.startswith(b"@") and b":" in octets:
            octets = octets[octets.index(b":") + 1 :]
        local_part, at, domain = words.decode_header(octets, self._fallback).rpartition("@")
        if not at:
            return domain, ""
        if len(local_part) > 1 and local_part[0] == local_part[-1] == '"':
            local_part = re.sub(r"\\(.)", r"\1", local_part[1:-1])
        domain = _normal(domain)
        return f"{local_part}@{domain}", domain


def _bare(phrase: list[bytes], joined: bytes) -> tuple[bytes, bytes]:
    """Split a phrase without brackets into display name and address."""
    if any(piece.startswith(b'"') for piece in phrase):
        return b"", joined
    match = _ADDRESS.search(joined)
    if match is None:
        return b"", joined
    # A bracket that was never closed.
    return joined[: match.start()].removesuffix(b"<") + joined[match.end() :], match[0]


def _unquoted(piece: bytes) -> bytes:
    if len(piece) > 1 and piece.startswith(b'"'):
        return _PAIR.sub(rb"\1", piece[1:-1])
    return piece


def _normal(domain: str) -> str:
    domain = domain.removesuffix(".")
    try:
        return normalise_domain(domain)
    except DomainError:
        return domain.lower()
