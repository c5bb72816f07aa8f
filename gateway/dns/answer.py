"""What DNS said to one question.

Three outcomes, because each means another thing to whoever asked: *found* has records; *absent* is the zone's own
word that there are none, either of this type (NODATA) or of any (NXDOMAIN, ``nxdomain``); *temperror* is everything
else — SERVFAIL, REFUSED, no reply in time, a server that cannot be reached — and says nothing about the name. Unknown
is never absent.
"""

from enum import StrEnum

from gateway.value import value


class Outcome(StrEnum):
    """The three kinds of answer."""

    FOUND = "found"
    ABSENT = "absent"
    TEMPERROR = "temperror"


@value(kw_only=True)
class Answer:
    """The answer to one question.

    ``records`` are texts: addresses as such; names in lower case without the final dot ("." for the root); ``10
    mx.example`` for MX; for TXT the strings of a record joined, an octet a character (Latin-1); else presentation
    format. ``ttl_seconds`` is the smallest along an alias chain, or the negative TTL. ``reason`` tells the journal
    why, "" when found.
    """

    name: str
    rdtype: str
    outcome: Outcome
    records: tuple[str, ...] = ()
    ttl_seconds: int = 0
    reason: str = ""
    nxdomain: bool = False

    @property
    def is_found(self) -> bool:
        """Whether there are records."""
        return self.outcome is Outcome.FOUND

    @property
    def is_absent(self) -> bool:
        """Whether the zone says that there are none."""
        return self.outcome is Outcome.ABSENT

    @property
    def is_temperror(self) -> bool:
        """Whether nothing is known."""
        return self.outcome is Outcome.TEMPERROR


def found(name: str, rdtype: str, records: tuple[str, ...], ttl_seconds: int) -> Answer:
    """Return an answer with records."""
    return Answer(name=name, rdtype=rdtype, outcome=Outcome.FOUND, records=records, ttl_seconds=ttl_seconds)


def no_such_name(name: str, rdtype: str, ttl_seconds: int, reason: str = "NXDOMAIN") -> Answer:
    """Return the answer that no such name exists (RFC 2308 §2.1)."""
    return Answer(
        name=name, rdtype=rdtype, outcome=Outcome.ABSENT, ttl_seconds=ttl_seconds, reason=reason, nxdomain=True
    )


def no_such_record(name: str, rdtype: str, ttl_seconds: int) -> Answer:
    """Return the answer that the name has no record of this type (RFC 2308 §2.2)."""
    return Answer(name=name, rdtype=rdtype, outcome=Outcome.ABSENT, ttl_seconds=ttl_seconds, reason="NODATA")


def temperror(name: str, rdtype: str, reason: str) -> Answer:
    """Return the answer that nothing is known."""
    return Answer(name=name, rdtype=rdtype, outcome=Outcome.TEMPERROR, reason=reason)


@value(order=True)
class MxRecord:
    """One MX record (RFC 5321 §5.1); orders by preference, lowest first."""

    preference: int
    exchange: str

    @property
    def is_null(self) -> bool:
        """Whether it says that the domain takes no mail (RFC 7505 §3)."""
        return self.exchange == "."


def mx_records(answer: Answer) -> tuple[MxRecord, ...]:
    """Return the MX records of ``answer``, lowest preference first; equal ones are for the sender to shuffle."""
    pairs = (record.split(" ", 1) for record in answer.records)
    return tuple(sorted(MxRecord(int(preference), exchange) for preference, exchange in pairs))
