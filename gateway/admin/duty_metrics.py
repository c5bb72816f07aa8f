"""What is counted of the contract's duties beside the mail path: lists, backups, reports, incidents."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.abuse.standing import Standing
from gateway.admin.registry import Registry
from gateway.journal.duty_events import (
    BackupDrilled,
    BackupFailed,
    BackupFinished,
    DeskActed,
    DmarcReported,
    IncidentChanged,
)
from gateway.journal.events import Event
from gateway.journal.guard_events import DnsListChanged, ListApplied, ListOverdue, ListWithheld, OwnListingChanged

_LIST_STATES = ("ok", "held", "refused", "missing", "unreachable")


class DutyMetrics:
    """Counts what was done for the contract, by its events; gauges are set when somebody asks."""

    def __init__(self, registry: Registry) -> None:
        self.takers: dict[type[Event], Callable[[Any], None]] = {
            ListApplied: self._list_changed,
            ListWithheld: self._list_changed,
            ListOverdue: self._list_changed,
            DnsListChanged: self._dns_list_changed,
            OwnListingChanged: self._own_listing_changed,
            BackupFinished: self._backed_up,
            BackupFailed: self._backup_failed,
            BackupDrilled: self._backup_drilled,
            DmarcReported: self._dmarc_reported,
            IncidentChanged: self._incident_changed,
            DeskActed: self._desk_acted,
        }
        self._lists = registry.counters(
            "tidegate_list_editions_total", "Editions of local lists, by what became of them.", "outcome"
        )
        self._list_states = registry.gauges(
            "tidegate_lists", "Local lists, by what keeps them from being up to date.", "state"
        )
        self._lists_overdue = registry.gauge(
            "tidegate_lists_overdue", "Local lists of which an edition is past its deadline and not in force."
        )
        self._backups = registry.counters("tidegate_backups_total", "Backups, by what became of them.", "outcome")
        self._dmarc_reports = registry.counters(
            "tidegate_dmarc_reports_total", "DMARC reports that were due, by what became of them.", "state"
        )
        self._incidents = registry.counters(
            "tidegate_incident_changes_total", "Incidents of spam sources opened or moved, by the new state.", "state"
        )
        self._register_desk(registry)
        self._evidence = registry.gauges(
            "tidegate_evidence_samples", "Spam messages to be kept as evidence, by what became of them.", "outcome"
        )
        self._dns_lists = registry.counters(
            "tidegate_dns_list_changes_total", "Changes of what the probes say of DNS lists, by the new state.", "state"
        )
        self._own_listings = registry.counters(
            "tidegate_own_listings_total", "Own addresses and domains found on DNS lists, and gone again.", "state"
        )

    def _register_desk(self, registry: Registry) -> None:
        self._acts = registry.counters(
            "tidegate_desk_acts_total", "What the abuse desk and its operators put on the incident record.", "what"
        )
        self._sightings = registry.counter("tidegate_sightings_total", "Spam and virus verdicts folded into incidents.")
        self._folded = 0
        self._lag = registry.gauge(
            "tidegate_incident_lag_seconds", "How long ago the journals were last read to their ends."
        )
        self._incidents_open = registry.gauges(
            "tidegate_incidents", "Incidents that are not closed, by state.", "state"
        )
        self._held = registry.gauges("tidegate_desk_holds", "Blocks and suspensions in force.", "kind")
        self._tickets = registry.gauge("tidegate_tickets_open", "Complaints whose outcome is owed.")
        self._overdue = registry.gauge("tidegate_tickets_overdue", "Open complaints with a deadline that is over.")
        self._mails_waiting = registry.gauge(
            "tidegate_desk_mails_waiting", "Reports and answers written that no worker has taken yet."
        )

    def observe_keeper(self, *, folded: int, lag_seconds: float) -> None:
        """Set how many verdicts the keeper has folded since the start, and how far behind the journals it is."""
        self._sightings.inc(folded - self._folded)
        self._folded = folded
        self._lag.set(lag_seconds)

    def observe_desk(self, desk: Standing) -> None:
        """Set what is open at the abuse desk."""
        for state, count in desk.incidents.items():
            self._incidents_open[(state,)].set(count)
        self._held[("block",)].set(desk.blocks)
        self._held[("suspension",)].set(desk.suspensions)
        self._tickets.set(desk.tickets)
        self._overdue.set(desk.overdue)
        self._mails_waiting.set(desk.mails_waiting)

    def observe_evidence(self, *, kept: int, over: int, failed: int) -> None:
        """Set how many samples of spam were kept, were too many, or could not be written since the start."""
        for outcome, count in (("kept", kept), ("over", over), ("failed", failed)):
            self._evidence[(outcome,)].set(count)

    def observe_lists(self, states: Mapping[str, int], overdue: int) -> None:
        """Set how many local lists are in each state, and how many have an edition that is overdue."""
        for state in _LIST_STATES:
            self._list_states[(state,)].set(states.get(state, 0))
        self._lists_overdue.set(overdue)

    def _list_changed(self, event: ListApplied | ListWithheld | ListOverdue) -> None:
        outcome = event.state if isinstance(event, ListWithheld) else event.kind.removeprefix("list_")
        self._lists[(outcome,)].inc()

    def _backed_up(self, event: BackupFinished) -> None:
        self._backups[("damaged" if event.problems else "late" if event.deadline == "missed" else "finished",)].inc()

    def _backup_failed(self, event: BackupFailed) -> None:
        self._backups[(event.state,)].inc()

    def _backup_drilled(self, event: BackupDrilled) -> None:
        self._backups[(f"drill-{event.result}",)].inc()

    def _dmarc_reported(self, event: DmarcReported) -> None:
        for state, number in (("sent", event.sent), ("withheld", event.withheld), ("failed", event.failed)):
            self._dmarc_reports[(state,)].inc(number)

    def _incident_changed(self, event: IncidentChanged) -> None:
        self._incidents[(event.state,)].inc()

    def _desk_acted(self, event: DeskActed) -> None:
        self._acts[(event.what,)].inc()

    def _dns_list_changed(self, event: DnsListChanged) -> None:
        self._dns_lists[(event.state,)].inc()

    def _own_listing_changed(self, event: OwnListingChanged) -> None:
        self._own_listings[(event.state,)].inc()
