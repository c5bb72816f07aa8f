"""What is counted of the contract's duties beside the mail path: lists, backups, reports, incidents."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.admin.registry import Registry
from gateway.journal.duty_events import BackupDrilled, BackupFailed, BackupFinished, DmarcReported, IncidentChanged
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
        self._evidence = registry.gauges(
            "tidegate_evidence_samples", "Spam messages to be kept as evidence, by what became of them.", "outcome"
        )
        self._dns_lists = registry.counters(
            "tidegate_dns_list_changes_total", "Changes of what the probes say of DNS lists, by the new state.", "state"
        )
        self._own_listings = registry.counters(
            "tidegate_own_listings_total", "Own addresses and domains found on DNS lists, and gone again.", "state"
        )

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

    def _dns_list_changed(self, event: DnsListChanged) -> None:
        self._dns_lists[(event.state,)].inc()

    def _own_listing_changed(self, event: OwnListingChanged) -> None:
        self._own_listings[(event.state,)].inc()
