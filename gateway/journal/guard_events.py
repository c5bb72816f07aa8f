"""Events of what the gateway asks about mail: virus scanners with their signatures, local lists, lists in the DNS."""

from gateway.journal.events import Event
from gateway.value import value

# Antivirus ------------------------------------------------------------------------------------------------------------


@value(kw_only=True)
class ScannerChanged(Event):
    """A virus scanner's health changed: ``state`` well, suspect or open (not asked any more)."""

    scanner: str
    state: str
    reason: str


@value(kw_only=True)
class ScannerTested(Event):
    """A scanner's self-test with the EICAR test file ended otherwise than the last one: ``result`` passed, failed."""

    scanner: str
    result: str
    reason: str


@value(kw_only=True)
class SignaturesChanged(Event):
    """A scanner has other signatures (contract.md §5): ``before`` is "" for the first, ``built_at`` 0 if not known."""

    scanner: str
    before: str
    after: str
    built_at: float


@value(kw_only=True)
class SignaturesAged(Event):
    """Alarm: a scanner's signatures became ``old`` or a ``breach`` of the contract's week, or are ``fresh`` again."""

    scanner: str
    version: str
    freshness: str
    age_seconds: float


# Local lists ----------------------------------------------------------------------------------------------------------


@value(kw_only=True)
class ListApplied(Event):
    """A local list serves another edition (contract.md §4 d).

    ``published_at`` and ``deadline_at`` are UTC seconds, 0 where there is none; ``deadline`` is met, missed or "";
    ``operator`` who brought it in, or the schedule; ``problems`` the first of the bad lines, as file:line.
    """

    list: str
    edition: int
    entries: int
    added: int
    removed: int
    bad_lines: int
    published_at: float
    deadline_at: float
    deadline: str
    operator: str
    problems: tuple[str, ...] = ()


@value(kw_only=True)
class ListWithheld(Event):
    """Alarm: a local list could not be brought up to date, the edition before serves on.

    ``state`` is held (it shrank or grew too much), refused (bad lines), missing (nothing to serve), unreachable (its
    source) or undeclared; ``problems`` the first bad lines as file:line.
    """

    list: str
    edition: int
    state: str
    reason: str
    problems: tuple[str, ...]


@value(kw_only=True)
class ListOverdue(Event):
    """Alarm: an edition was not applied within the working days that its list has (contract.md §4 d)."""

    list: str
    edition: int
    published_at: float
    deadline_at: float
    reason: str


# Lists in the DNS -----------------------------------------------------------------------------------------------------


@value(kw_only=True)
class DnsListChanged(Event):
    """A DNS list passed or failed its probe (RFC 5782 §5), other than before.

    ``state`` is healthy, or blind, wildcard, refused, unreachable: then it is an alarm, and the list is not asked.
    """

    zone: str
    state: str
    reason: str


@value(kw_only=True)
class OwnListingChanged(Event):
    """Alarm: an address or domain of ours is on a DNS list, or (``state`` cleared) is not any more.

    ``state`` is listed or cleared; ``code`` the list's return code, ``reason`` its words.
    """

    identity: str
    zone: str
    state: str
    code: str
    reason: str
