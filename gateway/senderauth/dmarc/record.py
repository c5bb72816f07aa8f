"""A DMARC policy record (RFC 9989 §4.7, §4.8) as values.

Unknown tags and syntax errors in single tags are passed over; defaults stand in. A record without a usable p= counts
as p=none where it asks for reports, and not at all where it does not (§4.10.1).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote

# RFC 9989 §4.8: dmarc-version = "v" equals %s"DMARC1", first, case-sensitive.
_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|$)")
# RFC 9989 §4.8: dmarc-tag = 1*ALPHA equals 1*dmarc-value
_NAME = re.compile(r"[A-Za-z]+")
_VALUE = re.compile(r"[ -:<-~]*")
# RFC 9989 §4.8: obs-dmarc-report-size, no part of the address. Departure: what it says is still kept to when a report
# is sent, because a mailbox that takes no more than it names would refuse the report.
_REPORT_SIZE = re.compile(r"!([0-9]{1,12})([kmgt]?)$", re.IGNORECASE)
# A dot-string in ASCII (RFC 5321 §4.1.2): what else percent-encoding may bring is no mailbox that takes reports.
_MAILBOX = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}")
_UNITS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
# A record with more asks us to write to half the world.
MAX_REPORT_ADDRESSES = 10


class DmarcPolicy(StrEnum):
    """What a domain wants done with mail that fails (RFC 9989 §4.7, p=)."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"

    @property
    def one_level_below(self) -> "DmarcPolicy":
        """What t=y makes of it (RFC 9989 §4.7, t=)."""
        return DmarcPolicy.QUARANTINE if self is DmarcPolicy.REJECT else DmarcPolicy.NONE


@dataclass(frozen=True, slots=True)
class ReportAddress:
    """Where a domain wants reports; ``max_octets`` None where it says nothing of their size."""

    address: str
    max_octets: int | None = None

    @property
    def domain(self) -> str:
        """The domain of the mailbox, as written."""
        return self.address.rpartition("@")[2].lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class DmarcRecord:
    """One record; ``sp`` and ``np`` None where absent; ``psd`` "y", "n" or "u"; addresses of mailto: URIs only."""

    p: DmarcPolicy
    sp: DmarcPolicy | None = None
    np: DmarcPolicy | None = None
    psd: str = "u"
    testing: bool = False
    strict_dkim: bool = False
    strict_spf: bool = False
    rua: tuple[str, ...] = ()
    ruf: tuple[str, ...] = ()
    fo: str = "0"
    text: str = ""

    def policy(self, *, subdomain: bool, exists: bool) -> DmarcPolicy:
        """Return the policy for the record's own domain, or a subdomain that exists or not (RFC 9989 §4.10.1)."""
        if not subdomain:
            return self.p
        if not exists and self.np is not None:
            return self.np
        return self.sp or self.p


def is_dmarc(text: str) -> bool:
    """Tell whether a TXT record is a DMARC record by its first tag."""
    return _VERSION.match(text) is not None


# 4,096 records of a few hundred octets.
@lru_cache(maxsize=4096)
def parse_dmarc(text: str) -> DmarcRecord | None:
    """Return the record that ``text`` (``is_dmarc``) is; None when there is nothing to process in it."""
    tags = _tags(text)
    rua = tuple(_addresses(tags.get("rua", "")))
    p, sp, np = (_policy(tags, name) for name in ("p", "sp", "np"))
    broken = p is None or any(name in tags and value is None for name, value in (("sp", sp), ("np", np)))
    if broken and not rua:
        # RFC 9989 §4.10.1: no DMARC processing.
        return None
    return DmarcRecord(
        p=DmarcPolicy.NONE if broken or p is None else p,
        sp=None if broken else sp,
        np=None if broken else np,
        psd=_one_of(tags, "psd", "ynu", "u"),
        testing=_one_of(tags, "t", "yn", "n") == "y",
        strict_dkim=_one_of(tags, "adkim", "rs", "r") == "s",
        strict_spf=_one_of(tags, "aspf", "rs", "r") == "s",
        rua=rua,
        ruf=tuple(_addresses(tags.get("ruf", ""))),
        fo=tags.get("fo", "0").lower(),
        text=text,
    )


def report_addresses(text: str) -> tuple[ReportAddress, ...]:
    """Return the mailboxes of rua= in a record's text, each once, with the sizes they take."""
    found: dict[str, ReportAddress] = {}
    for one in _report_addresses(_tags(text).get("rua", "")):
        found.setdefault(one.address.lower(), one)
    return tuple(found.values())


def has_rua(text: str) -> bool:
    """Tell whether a record's text says anything of where reports go."""
    return "rua" in _tags(text)


def _tags(text: str) -> Mapping[str, str]:
    tags: dict[str, str] = {}
    for part in text.split(";")[1:]:
        name, equals, value = (piece.strip(" \t") for piece in part.partition("="))
        # RFC 6376 §3.2, whose syntax this is: no tag twice; here the first counts.
        if equals and _NAME.fullmatch(name) and _VALUE.fullmatch(value):
            tags.setdefault(name.lower(), value)
    return tags


def _policy(tags: Mapping[str, str], name: str) -> DmarcPolicy | None:
    value = tags.get(name, "").lower()
    return DmarcPolicy(value) if value in DmarcPolicy.__members__.values() else None


def _one_of(tags: Mapping[str, str], name: str, allowed: str, default: str) -> str:
    value = tags.get(name, default).lower()
    return value if len(value) == 1 and value in allowed else default


def _addresses(urls: str) -> Iterator[str]:
    return (one.address for one in _report_addresses(urls))


def _report_addresses(urls: str) -> Iterator[ReportAddress]:
    for url in urls.split(",")[:MAX_REPORT_ADDRESSES]:
        scheme, colon, rest = url.strip().partition(":")
        size = _REPORT_SIZE.search(rest)
        address = unquote(_REPORT_SIZE.sub("", rest).partition("?")[0])
        # RFC 9989 §4.7: schemes not supported are ignored.
        if colon and scheme.lower() == "mailto" and _MAILBOX.fullmatch(address):
            yield ReportAddress(address, int(size[1]) * _UNITS[size[2].lower()] if size else None)
