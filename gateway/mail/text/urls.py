"""URLs of a text and of HTML attributes."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_URL = re.compile(r"https?://[^\s<>\"']+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """One link.

    ``text`` as written, ``scheme`` lower case, ``host`` in the form that a browser asks for (A-labels, dotted
    addresses), ``registrable`` its registrable domain or "" (addresses, bare suffixes), ``path`` with the query.
    """

    text: str
    scheme: str
    host: str
    registrable: str
    path: str


def find(text: str) -> tuple[Url, ...]:
    """Return the URLs in a text, each once, in order."""
    return tuple(found for match in _URL.findall(text) if (found := parse(match)))


def parse(text: str) -> Url | None:
    """Return the URL that an attribute's value is, or None when it leads to no host."""
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        return None
    return Url(text=text, scheme=parts.scheme, host=host, registrable=host, path=parts.path) if host else None
