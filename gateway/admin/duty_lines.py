"""What the log says of scanners and lists, and of the contract's duties beside the mail path."""

from collections.abc import Callable

from gateway.admin.level import Described, Level
from gateway.journal.duty_events import (
    AnswerUndelivered,
    BackupDrilled,
    BackupFailed,
    BackupFinished,
    ClockJumped,
    DeadlineNeared,
    DeskActed,
    DmarcReported,
    FaultChanged,
    IncidentChanged,
    RecordAnchored,
    ServiceDoubted,
    ServiceNeared,
)
from gateway.journal.events import Event
from gateway.journal.guard_events import (
    DnsListChanged,
    ListApplied,
    ListOverdue,
    ListWithheld,
    OwnListingChanged,
    ScannerChanged,
    ScannerTested,
    SignaturesAged,
    SignaturesChanged,
)

# What somebody has to look at: it was wanted, and is not so.
_REFUSALS = frozenset({"block-refused", "mail-refused", "mail-bounced", "evidence-refused", "ticket-undelivered"})


def _scanner(event: ScannerChanged) -> Described:
    level = Level.INFO if event.state == "well" else Level.WARNING
    return level, {"scanner": event.scanner, "state": event.state}, event.reason


def _scanner_tested(event: ScannerTested) -> Described:
    level = Level.INFO if event.result == "passed" else Level.ERROR
    return level, {"scanner": event.scanner, "result": event.result}, event.reason


def _signatures(event: SignaturesChanged) -> Described:
    return Level.INFO, {"scanner": event.scanner, "before": event.before, "after": event.after}, ""


def _signatures_aged(event: SignaturesAged) -> Described:
    level = {"fresh": Level.INFO, "old": Level.WARNING}.get(event.freshness, Level.ERROR)
    fields = {"scanner": event.scanner, "version": event.version, "freshness": event.freshness}
    return level, fields, f"{event.age_seconds / 86_400:.1f} days old"


def _list_applied(event: ListApplied) -> Described:
    level = Level.WARNING if event.deadline == "missed" or event.bad_lines else Level.INFO
    fields = {"list": event.list, "edition": event.edition, "entries": event.entries, "by": event.operator}
    told = f"{event.added} added, {event.removed} removed, deadline {event.deadline or 'none'}"
    return level, fields, "; ".join((told, *event.problems[:3]))


def _list_withheld(event: ListWithheld) -> Described:
    problems = "; ".join((event.reason, *event.problems[:3]))
    return Level.ERROR, {"list": event.list, "edition": event.edition, "state": event.state}, problems


def _list_overdue(event: ListOverdue) -> Described:
    return Level.ERROR, {"list": event.list, "edition": event.edition}, f"not applied in time: {event.reason}"


def _dns_list(event: DnsListChanged) -> Described:
    level = Level.INFO if event.state == "healthy" else Level.ERROR
    return level, {"zone": event.zone, "state": event.state}, event.reason


def _own_listing(event: OwnListingChanged) -> Described:
    level = Level.ERROR if event.state == "listed" else Level.INFO
    fields = {"identity": event.identity, "zone": event.zone, "state": event.state, "code": event.code}
    return level, fields, event.reason


def _backup(event: BackupFinished) -> Described:
    level = Level.ERROR if event.problems else Level.WARNING if event.deadline == "missed" else Level.INFO
    fields = {"backup": event.backup, "type": event.type, "octets": event.octets, "added": event.added_octets}
    told = f"{event.messages} messages in custody, {event.seconds:.0f} s, deadline {event.deadline}"
    return level, fields, "; ".join((told, *event.problems[:3]))


def _backup_failed(event: BackupFailed) -> Described:
    return Level.ERROR, {"backup": event.backup, "state": event.state}, event.reason


def _backup_drilled(event: BackupDrilled) -> Described:
    level = Level.INFO if event.result == "passed" else Level.ERROR
    return level, {"backup": event.backup, "result": event.result}, "; ".join(event.problems[:3])


def _dmarc_reported(event: DmarcReported) -> Described:
    fields = {
        "day": event.day,
        "domains": event.domains,
        "sent": event.sent,
        "withheld": event.withheld,
        "failed": event.failed,
    }
    return Level.WARNING if event.failed or event.reason else Level.INFO, fields, event.reason


def _service(event: ServiceNeared) -> Described:
    level = Level.ERROR if event.state == "missed" else Level.WARNING
    fields = {"customer": event.customer, "month": event.month, "clause": event.clause, "state": event.state}
    return level, fields, f"{event.measure} is {event.value:g}, the limit {event.limit:g}"


def _doubt(event: ServiceDoubted) -> Described:
    return Level.WARNING, {"customer": event.customer, "about": event.about}, event.detail


def _deadline(event: DeadlineNeared) -> Described:
    level = Level.ERROR if event.state == "overdue" else Level.WARNING
    fields = {"deadline": event.deadline, "number": str(event.number), "state": event.state}
    return level, fields, f"{event.subject} {event.customer}".rstrip()


def _fault(event: FaultChanged) -> Described:
    level = Level.ERROR if event.state == "opened" else Level.INFO
    fields = {"fault": str(event.number), "customer": event.customer, "cause": event.cause, "state": event.state}
    return level, fields, event.reason


def _incident(event: IncidentChanged) -> Described:
    fields = {
        "incident": str(event.incident),
        "source": event.source,
        "state": event.state,
        "sightings": event.sightings,
    }
    return Level.INFO if event.state == "open" else Level.WARNING, fields, event.reason


def _undelivered(event: AnswerUndelivered) -> Described:
    return Level.ERROR, {"ticket": str(event.ticket), "answer": event.answer}, event.reason


def _desk(event: DeskActed) -> Described:
    fields = {"what": event.what, "incident": event.incident or "none", "subject": event.subject, "by": event.by}
    return Level.WARNING if event.what in _REFUSALS else Level.INFO, fields, event.reason


def _record(event: RecordAnchored) -> Described:
    return Level.INFO, {"number": str(event.number), "digest": event.digest}, "the incident record's chain"


def _clock_jumped(event: ClockJumped) -> Described:
    return Level.WARNING, {"seconds": event.seconds}, "the wall clock was set, or the machine slept"


DUTIES: dict[type[Event], Callable[..., Described]] = {
    ScannerChanged: _scanner,
    ScannerTested: _scanner_tested,
    SignaturesChanged: _signatures,
    SignaturesAged: _signatures_aged,
    ListApplied: _list_applied,
    ListWithheld: _list_withheld,
    ListOverdue: _list_overdue,
    DnsListChanged: _dns_list,
    OwnListingChanged: _own_listing,
    BackupFinished: _backup,
    BackupFailed: _backup_failed,
    BackupDrilled: _backup_drilled,
    DmarcReported: _dmarc_reported,
    ServiceNeared: _service,
    ServiceDoubted: _doubt,
    DeadlineNeared: _deadline,
    FaultChanged: _fault,
    IncidentChanged: _incident,
    AnswerUndelivered: _undelivered,
    DeskActed: _desk,
    RecordAnchored: _record,
    ClockJumped: _clock_jumped,
}
