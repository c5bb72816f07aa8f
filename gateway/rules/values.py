"""What a subject's values are, in the forms that operators compare.

A text is ``shown`` as a reader sees it (``gateway.mail.text.normal``) and ``folded`` for everything that disregards
case; ``octets`` is ``shown`` in UTF-8, what patterns run on; ``keys`` are what ``is``, ``in`` and ``in_list`` look up.
Domains are shown as U-labels, so that patterns and lists are written as people read them. Each form is made on first
use and kept.

Folding is ``shown(text).casefold()``, character by character: the index of ``gateway.rules.group`` relies on a part's
fold being a part of the whole's fold.
"""

from dataclasses import dataclass

from gateway.mail.text import normal
from gateway.smtp.domain import DomainError, display_domain, normalise_domain

# Deeper names than any registry's; each parent is one more look-up.
MAX_PARENTS = 10


def fold(text: str) -> str:
    """Return the form in which literals and texts meet."""
    return normal.shown(text).casefold()


class Text:
    """One text. ``place`` says where it stands (``part 2``), ``owner`` numbers the thing it belongs to.

    Values of several subjects with one ``owner`` (an attachment's name and its size) belong together. ``raw`` is the
    octets behind the text, None where there are none.
    """

    __slots__ = ("_folded", "_octets", "_written", "owner", "place", "raw", "shown")

    def __init__(self, shown: str, *, owner: int = 0, place: str = "", raw: bytes | None = None) -> None:
        """``shown`` must have gone through ``normal.shown``."""
        self.shown = shown
        self.owner = owner
        self.place = place
        self.raw = raw
        self._folded: str | None = None
        self._octets: bytes | None = None
        self._written: bytes | None = None

    @property
    def folded(self) -> str:
        """The text with its case folded."""
        if self._folded is None:
            self._folded = self.shown.casefold()
        return self._folded

    @property
    def octets(self) -> bytes:
        """The text in UTF-8."""
        if self._octets is None:
            self._octets = self.shown.encode("utf-8", "replace")
        return self._octets

    @property
    def folded_octets(self) -> bytes:
        """The folded text in UTF-8."""
        if self._written is None:
            self._written = self.folded.encode("utf-8", "replace")
        return self._written

    @property
    def keys(self) -> tuple[str, ...]:
        """What the text is looked up by."""
        return (self.folded,)


class AddressText(Text):
    """``local-part@domain``; found by itself and by ``@domain``."""

    __slots__ = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The address, and ``@`` with its domain."""
        at = self.folded.rfind("@")
        return (self.folded, self.folded[at:]) if at >= 0 else (self.folded,)


class DomainText(Text):
    """A domain; found by itself, and by ``.parent`` for each domain above it."""

    __slots__ = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The domain, and each parent with a leading dot."""
        labels = self.folded.split(".")
        parents = range(1, min(len(labels), MAX_PARENTS + 1))
        return (self.folded, *("." + ".".join(labels[i:]) for i in parents))


@dataclass(frozen=True, slots=True)
class Thing:
    """A value that is no text: a number, a flag, an IP address."""

    value: object
    owner: int = 0
    place: str = ""


AnyValue = Text | Thing


def domain_shown(domain: str) -> str:
    """Return a domain as people read it, whatever form it is in; what is no domain stays as it is."""
    try:
        return display_domain(normalise_domain(domain.rstrip(".")))
    except DomainError:
        return normal.shown(domain)


def address_shown(local_part: str, domain: str) -> str:
    """Return an address as people read it."""
    return f"{normal.shown(local_part)}@{domain_shown(domain)}" if domain else normal.shown(local_part)


def address_key(written: str) -> str:
    """Return what an administrator's address or ``@domain`` is looked up by; ValueError when it is neither."""
    local, at, domain = written.rpartition("@")
    if not at or not domain:
        raise ValueError('an address such as "anna@example.com", or "@example.com" for all of a domain, is wanted')
    return address_shown(local, normalise_domain(domain)).casefold()


def domain_key(written: str) -> str:
    """Return what an administrator's domain or ``.domain`` is looked up by; ValueError when it is neither."""
    dot = "." if written.startswith(".") else ""
    try:
        return dot + display_domain(normalise_domain(written.removeprefix("."))).casefold()
    except DomainError as error:
        wanted = 'a domain such as "example.com", or ".example.com" for every domain below it, is wanted'
        raise ValueError(f"{wanted}: {error}") from error
