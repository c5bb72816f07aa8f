"""HTML to the text that a reader sees."""

import re
from dataclasses import dataclass
from html import unescape

from gateway.mail.text.urls import Url

_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One place where HTML leads or loads from: ``element`` such as "a", ``text`` what the reader sees of it."""

    url: Url
    element: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HtmlText:
    """``text`` is what a reader sees, ``hidden`` what is there and not seen, ``tricks`` how it was hidden.

    ``tricks`` has words of "display-none", "zero-size", "same-colour", "transparent", "off-screen". ``title`` and
    ``alt`` (texts in place of images) are not part of ``text``. ``elements`` counts forms, scripts and frames.
    ``truncated`` says which limit ended the reading, "" for none.
    """

    text: str
    hidden: str = ""
    tricks: frozenset[str] = frozenset()
    links: tuple[Link, ...] = ()
    title: str = ""
    alt: str = ""
    images: int = 0
    forms: int = 0
    scripts: int = 0
    frames: int = 0
    truncated: str = ""

    @property
    def urls(self) -> tuple[Url, ...]:
        """Where it leads and what it loads, each once, in order."""
        return tuple(dict.fromkeys(link.url for link in self.links))


def to_text(markup: str) -> HtmlText:
    """Return what a reader sees of ``markup``."""
    return HtmlText(text=unescape(_TAG.sub(" ", markup)))


def declared_charset(octets: bytes) -> str:
    """Return the charset that an HTML document names in its ``meta`` element, "" for none."""
    found = re.search(rb"charset\s*=\s*[\"']?([\w-]+)", octets[:1024], re.IGNORECASE)
    return found[1].decode("ascii", "replace") if found else ""
