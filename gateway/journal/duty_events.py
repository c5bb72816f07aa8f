"""Events of the contract's duties beside the mail path: reports, backups, the service level, incidents."""

from gateway.journal.events import Event
from gateway.value import value

# Reports to others ----------------------------------------------------------------------------------------------------


@value(kw_only=True)
class DmarcReported(Event):
    """The DMARC reports of a day (RFC 9990) were gone through: ``day`` such as 2026-11-21, ``domains`` with mail.

    ``sent``, ``withheld`` (not wanted, too large, too many) and ``failed`` count reports to one mailbox; ``reason``
    says why there are none at all, "" else.
    """

    day: str
    domains: int
    sent: int
    withheld: int
    failed: int
    reason: str


# Backups --------------------------------------------------------------------------------------------------------------


@value(kw_only=True)
class BackupFinished(Event):
    """Everything was saved (contract.md §7): ``type`` full or increment, ``octets`` what a restore writes.

    ``complete_until`` is the UTC second from which on data are not in it; ``deadline`` met or missed; ``omitted`` how
    many files were left out on purpose; ``problems`` what was wrong with the data saved, which is an alarm.
    """

    backup: str
    type: str
    octets: int
    added_octets: int
    messages: int
    complete_until: float
    seconds: float
    deadline_at: float
    deadline: str
    omitted: int
    problems: tuple[str, ...] = ()


@value(kw_only=True)
class BackupFailed(Event):
    """Alarm: ``state`` is failed (nothing was saved), overdue (a day without a backup) or trouble (after a run).

    ``backup`` is the run it came after, "" for none.
    """

    backup: str
    state: str
    reason: str


@value(kw_only=True)
class BackupDrilled(Event):
    """A backup was restored and tried (contract.md §7): ``result`` passed, or failed, which is an alarm."""

    backup: str
    result: str
    seconds: float
    messages: int
    complete_until: float
    problems: tuple[str, ...] = ()


# Service level --------------------------------------------------------------------------------------------------------


@value(kw_only=True)
class ServiceNeared(Event):
    """Alarm: a clause of a customer's month came near its limit or is missed (``state`` near, missed)."""

    customer: str
    month: str
    clause: str
    measure: str
    limit: float
    value: float
    state: str


@value(kw_only=True)
class ServiceDoubted(Event):
    """Two kinds of evidence of the service level disagree: ``about`` minutes, heartbeat or probe; ``detail`` says how.

    ``customer`` is "" where it concerns all.
    """

    customer: str
    about: str
    detail: str


@value(kw_only=True)
class DeadlineNeared(Event):
    """Alarm: a clock of the contract has used up most of its time, or all of it (``state`` near, overdue)."""

    number: int
    deadline: str
    subject: str
    customer: str
    due_at: float
    state: str


@value(kw_only=True)
class FaultChanged(Event):
    """A fault was put on record, or was over: ``state`` opened, closed.

    ``customer`` is "" for all, ``cause`` gateway, receive or send; ``ended_at`` is 0 while it lasts. UTC seconds.
    """

    number: int
    customer: str
    cause: str
    reason: str
    started_at: float
    ended_at: float
    state: str


@value(kw_only=True)
class ClockJumped(Event):
    """The wall clock was set by ``seconds``, forward or back, or the machine slept."""

    seconds: float


# Incidents ------------------------------------------------------------------------------------------------------------


@value(kw_only=True)
class IncidentChanged(Event):
    """A spam source's incident was opened, or went to another state (contract.md §4); ``sightings`` so far."""

    incident: int
    source: str
    state: str
    reason: str
    sightings: int


@value(kw_only=True)
class AnswerUndelivered(Event):
    """Alarm: an answer to a complaint came back (contract.md §4): ``ticket`` is due again at ``due_at``, UTC seconds.

    ``answer`` is which one: response or outcome; ``reason`` in the words of whoever did not take it.
    """

    ticket: int
    answer: str
    reason: str
    due_at: float


@value(kw_only=True)
class DeskActed(Event):
    """The abuse desk, or an operator at it, did something that is on the incident record (contract.md §4).

    ``what`` is the record's word: block-began, block-ended, block-refused, suspended, restored, guarantee-recorded,
    ticket-opened, ticket-answered, ticket-undelivered, reported, mail-refused, mail-bounced, mail-answered, exported or
    evidence-refused. ``incident`` is 0 for none; ``subject`` what it was done to; ``by`` a person, or a part of the
    gateway.
    """

    what: str
    incident: int
    subject: str
    reason: str
    by: str


@value(kw_only=True)
class RecordAnchored(Event):
    """The incident record's hash chain ended at row ``number`` with ``digest``; `incident verify` asks for it."""

    number: int
    digest: str
