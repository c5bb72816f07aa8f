"""What Prometheus may ask: counters and histograms fed by events, gauges set when asked; README.md lists all.

Each process has one registry. A worker sends ``snapshot()`` (plain values) over the control channel; ``merge`` adds
the workers' together and renders them, so that one address answers for the whole gateway. prometheus-client's own
multi-process mode leaves files behind for ever.

Labels are bounded: words of ours (roles, actions, filter names), never an address or what a client wrote; a metric
that still meets more than MAX_CHILDREN label sets counts the rest as ``other``. Counts of ``…recipients…`` are per
recipient, of ``…messages…`` per transaction.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from resource import getpagesize
from typing import Any, TypedDict

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from gateway import __version__
from gateway.admin.lines import status_of
from gateway.admin.protocol import QueueStatus
from gateway.journal.duty_events import BackupDrilled, BackupFailed, BackupFinished, DmarcReported, IncidentChanged
from gateway.journal.events import (
    ConfigurationChanged,
    DeliveryAttempted,
    Event,
    InternalError,
    MessageJudged,
    NoticeQueued,
    QuarantineReleased,
    QueueChanged,
    RecipientRefused,
    SessionClosed,
    SessionRefused,
    ShardAdopted,
    StorageFailed,
    TransactionAborted,
)
from gateway.journal.guard_events import DnsListChanged, ListApplied, ListOverdue, ListWithheld, OwnListingChanged
from gateway.policy.finding import PERMERROR, RULE, TEMPERROR

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# 2,000 label sets take 0.27 s to render; a dozen labelled metrics stay below that together.
MAX_CHILDREN = 200
OTHER = "other"

# From one fsync of a good disk to the client's patience.
_DURABLE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
# With the contract's bounds, a minute and an hour (contract.md §2), and beyond them the retry schedule's.
_DELAY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_SIZE_OCTETS = (1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


class Family(TypedDict):
    """One metric as plain values: ``samples`` are ``[name, labels, value]``."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, dict[str, str], float]]


class _Tally:
    """A count kept without prometheus-client's lock (0.1 µs against 0.5 µs) and handed over when somebody looks."""

    __slots__ = ("_counter", "_pending")

    def __init__(self, counter: Any) -> None:
        self._counter = counter
        self._pending: float = 0

    def inc(self, amount: float = 1) -> None:
        self._pending += amount

    def settle(self) -> None:
        self._counter.inc(self._pending)
        self._pending = 0


class _Spread(Collector):
    """A histogram without lock and without labels, rendered when somebody looks."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterable[Metric]:
        limits = (*map(floatToGoString, self._bounds), "+Inf")
        buckets = list(zip(limits, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


class _Children(dict[tuple[str, ...], Any]):
    """The label sets of one metric, resolved once each; beyond MAX_CHILDREN they share one."""

    def __init__(self, child: Callable[[tuple[str, ...]], Any], labels: int) -> None:
        super().__init__()
        self._child = child
        self._other = (OTHER,) * labels

    def __missing__(self, labels: tuple[str, ...]) -> Any:
        if len(self) >= MAX_CHILDREN and labels != self._other:
            return self[self._other]
        child = self._child(labels)
        self[labels] = child
        return child


_ANTIVIRUS = "antivirus"
_SCANNER_STATES = ("well", "suspect", "open")
_LIST_STATES = ("ok", "held", "refused", "missing", "unreachable")


class Metrics:
    """The registry of one process and the event sink that feeds it.

    ``worker`` is its number, "" for the supervisor.
    """

    def __init__(self, worker: str = "") -> None:
        self._worker = worker
        self._registry = CollectorRegistry()
        self._tallies: list[_Tally] = []
        self._takers: dict[type[Event], Callable[[Any], None]] = {
            SessionClosed: self._session_closed,
            SessionRefused: self._session_refused,
            RecipientRefused: self._recipient_refused,
            TransactionAborted: self._aborted,
            MessageJudged: self._judged,
            DeliveryAttempted: self._attempted,
            NoticeQueued: self._noticed,
            QueueChanged: self._queue_changed,
            QuarantineReleased: self._let_out,
            ConfigurationChanged: self._configured,
            ShardAdopted: self._adopted,
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
            StorageFailed: self._storage_failed,
            InternalError: self._internal_error,
        }
        self._register_intake()
        self._register_antivirus()
        self._register_delivery()
        self._register_gateway()

    def emit(self, event: Event) -> None:
        """Count one event."""
        take = self._takers.get(type(event))
        if take is not None:
            take(event)

    def snapshot(self) -> list[Family]:
        """Return every metric as plain values that fit a control message."""
        self._observe_process()
        for tally in self._tallies:
            tally.settle()
        return [_family(metric) for metric in self._registry.collect()]

    def observe_queue(self, queue: QueueStatus) -> None:
        """Set the gauges of this process's queue."""
        for gauge in self._queue.values():
            gauge.set(0)
        for state, count in queue["recipients"].items():
            self._queue[(state,)].set(count)
        self._oldest.set(queue["oldest_seconds"])

    def observe_sessions(self, open_sessions: int) -> None:
        """Set the number of sessions open now."""
        self._open_sessions.set(open_sessions)

    def observe_dropped(self, *, journal: int, log: int) -> None:
        """Set how many events the journal and how many lines the log had to drop."""
        self._journal_dropped.set(journal)
        self._log_dropped.set(log)

    def observe_antivirus(self, *, under_way: int, scanners: Mapping[str, int], signatures_age_seconds: float) -> None:
        """Set how many messages are being scanned, how the scanners are (by state), and their signatures' age."""
        self._scans.set(under_way)
        for state in _SCANNER_STATES:
            self._scanners[(state,)].set(scanners.get(state, 0))
        self._signatures_age.set(signatures_age_seconds)

    def observe_evidence(self, *, kept: int, over: int, failed: int) -> None:
        """Set how many samples of spam were kept, were too many, or could not be written since the start."""
        for outcome, count in (("kept", kept), ("over", over), ("failed", failed)):
            self._evidence[(outcome,)].set(count)

    def observe_lists(self, states: Mapping[str, int], overdue: int) -> None:
        """Set how many local lists are in each state, and how many have an edition that is overdue."""
        for state in _LIST_STATES:
            self._list_states[(state,)].set(states.get(state, 0))
        self._lists_overdue.set(overdue)

    def _counter(self, name: str, text: str) -> _Tally:
        return self._tally(Counter(name, text, registry=self._registry))

    def _counters(self, name: str, text: str, *labels: str) -> _Children:
        counter = Counter(name, text, labels, registry=self._registry)
        return _Children(lambda values: self._tally(counter.labels(*values)), len(labels))

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self._registry)

    def _gauges(self, name: str, text: str, *labels: str) -> _Children:
        gauge = Gauge(name, text, labels, registry=self._registry)
        return _Children(lambda values: gauge.labels(*values), len(labels))

    def _histogram(self, name: str, text: str, bounds: Sequence[float]) -> _Spread:
        spread = _Spread(name, text, bounds)
        self._registry.register(spread)
        return spread

    def _tally(self, counter: Counter) -> _Tally:
        tally = _Tally(counter)
        self._tallies.append(tally)
        return tally

    def _register_intake(self) -> None:
        self._sessions = self._counters("tidegate_sessions_total", "Sessions ended, by what ended them.", "role", "end")
        self._sessions_refused = self._counters(
            "tidegate_sessions_refused_total", "Connections turned away at the door.", "role", "code"
        )
        self._open_sessions = self._gauge("tidegate_sessions_open", "Sessions open now.")
        self._recipients_refused = self._counters(
            "tidegate_recipients_refused_total", "RCPT commands answered 4yz or 5yz.", "code", "filter"
        )
        self._aborts = self._counters(
            "tidegate_transactions_aborted_total", "Transactions whose content began but never became durable.", "code"
        )
        self._messages = self._counters(
            "tidegate_messages_total", "Final dots answered, by what became of the message.", "role", "status"
        )
        self._dispositions = self._counters(
            "tidegate_recipients_total", "Recipients of judged messages, by their disposition.", "action"
        )
        self._findings = self._counters(
            "tidegate_findings_total", "What filters found, by filter and result.", "filter", "result"
        )
        self._filter_seconds = self._counters("tidegate_filter_seconds_total", "Time spent in each filter.", "filter")
        self._received = self._counter("tidegate_received_bytes_total", "Octets of content of judged messages.")
        self._size = self._histogram("tidegate_message_size_bytes", "Octets of content of a message.", _SIZE_OCTETS)
        self._filtering = self._histogram(
            "tidegate_filtering_seconds", "From the final dot to the verdict.", _DURABLE_SECONDS
        )
        self._durable = self._histogram(
            "tidegate_durable_seconds", "From the verdict to the message being durable.", _DURABLE_SECONDS
        )

    def _register_antivirus(self) -> None:
        self._scans = self._gauge("tidegate_antivirus_scans", "Messages being scanned or waiting for a scanner.")
        self._scanning = self._histogram(
            "tidegate_antivirus_seconds", "Time a message's scan took, waiting included.", _DURABLE_SECONDS
        )
        self._scanners = self._gauges("tidegate_antivirus_scanners", "Virus scanners, by how they are.", "state")
        self._signatures_age = self._gauge(
            "tidegate_antivirus_signatures_age_seconds", "Age of the oldest signatures in use, 0 while not known."
        )

    def _register_delivery(self) -> None:
        self._attempts = self._counters(
            "tidegate_delivery_attempts_total", "Delivery attempts, one a recipient, by status.", "status"
        )
        self._delay = self._histogram(
            "tidegate_delivery_delay_seconds",
            "From MAIL to the next hop's acceptance (Postfix's delay).",
            _DELAY_SECONDS,
        )
        self._duplicates = self._counter(
            "tidegate_possible_duplicates_total", "Attempts repeated because the reply to the final dot was lost."
        )
        self._notices = self._counters(
            "tidegate_notices_total", "Delivery status notifications put into the queue.", "notice"
        )
        self._queue = self._gauges("tidegate_queue_recipients", "Recipients in custody, by state.", "state")
        self._oldest = self._gauge("tidegate_queue_oldest_seconds", "Age of the oldest message queued for delivery.")
        self._operations = self._counters(
            "tidegate_queue_operations_total", "What operators did to the queue.", "operation"
        )

    def _register_gateway(self) -> None:
        self._reloads = self._counters("tidegate_reloads_total", "Reloads of the configuration.", "outcome")
        self._storage = self._counters("tidegate_storage_failures_total", "Reads and writes that failed.", "store")
        self._errors = self._counter("tidegate_internal_errors_total", "Exceptions where none belong.")
        self._lists = self._counters(
            "tidegate_list_editions_total", "Editions of local lists, by what became of them.", "outcome"
        )
        self._list_states = self._gauges(
            "tidegate_lists", "Local lists, by what keeps them from being up to date.", "state"
        )
        self._lists_overdue = self._gauge(
            "tidegate_lists_overdue", "Local lists of which an edition is past its deadline and not in force."
        )
        self._backups = self._counters("tidegate_backups_total", "Backups, by what became of them.", "outcome")
        self._dmarc_reports = self._counters(
            "tidegate_dmarc_reports_total", "DMARC reports that were due, by what became of them.", "state"
        )
        self._incidents = self._counters(
            "tidegate_incident_changes_total", "Incidents of spam sources opened or moved, by the new state.", "state"
        )
        self._evidence = self._gauges(
            "tidegate_evidence_samples", "Spam messages to be kept as evidence, by what became of them.", "outcome"
        )
        self._dns_lists = self._counters(
            "tidegate_dns_list_changes_total", "Changes of what the probes say of DNS lists, by the new state.", "state"
        )
        self._own_listings = self._counters(
            "tidegate_own_listings_total", "Own addresses and domains found on DNS lists, and gone again.", "state"
        )
        self._adoptions = self._counter("tidegate_shards_adopted_total", "Spool shards taken over from lost workers.")
        self._journal_dropped = self._gauge(
            "tidegate_journal_dropped_events", "Events not journalled since the start because writing failed."
        )
        self._log_dropped = self._gauge(
            "tidegate_log_dropped_lines", "Log lines not written since the start because nobody read them."
        )
        self._gauges("tidegate_build_info", "The version that runs; always 1.", "version")[(__version__,)].set(1)
        self._gauge("tidegate_start_time_seconds", "When the gateway started, UTC.").set(time.time())
        self._resident = self._gauges("tidegate_resident_bytes", "Memory a process holds.", "process")
        self._cpu = self._counters("tidegate_cpu_seconds_total", "Processor time a process used.", "process")
        self._cpu_seen = 0.0

    def _observe_process(self) -> None:
        process = (f"worker-{self._worker}" if self._worker else "supervisor",)
        self._resident[process].set(_resident_octets())
        used = time.process_time()
        self._cpu[process].inc(used - self._cpu_seen)
        self._cpu_seen = used

    def _session_closed(self, event: SessionClosed) -> None:
        self._sessions[(event.role, event.end)].inc()

    def _session_refused(self, event: SessionRefused) -> None:
        self._sessions_refused[(event.role, _code(event.reply))].inc()

    def _recipient_refused(self, event: RecipientRefused) -> None:
        self._recipients_refused[(_code(event.reply), event.filter)].inc()

    def _aborted(self, event: TransactionAborted) -> None:
        self._aborts[(_code(event.reply),)].inc()

    def _judged(self, event: MessageJudged) -> None:
        self._messages[(event.role, status_of(event))].inc()
        for disposition in event.dispositions:
            self._dispositions[(disposition[1],)].inc()
        for finding in event.findings:
            self._findings[_labels(finding)].inc()
        for name, seconds in event.filter_seconds:
            self._filter_seconds[(name,)].inc(seconds)
            if name == _ANTIVIRUS:
                self._scanning.observe(seconds)
        self._received.inc(event.octets)
        self._size.observe(event.octets)
        self._filtering.observe(event.filtered_seconds)
        if event.durable_at:
            self._durable.observe(event.durable_seconds)

    def _attempted(self, event: DeliveryAttempted) -> None:
        self._attempts[(event.status,)].inc()
        if event.status == "sent":
            self._delay.observe(event.delay_seconds)
        if event.possible_duplicate:
            self._duplicates.inc()

    def _noticed(self, event: NoticeQueued) -> None:
        self._notices[(event.notice,)].inc()

    def _queue_changed(self, event: QueueChanged) -> None:
        self._operations[(event.operation,)].inc()

    def _let_out(self, event: QuarantineReleased) -> None:
        self._operations[("release-forced" if event.objection else "release",)].inc()

    def _configured(self, event: ConfigurationChanged) -> None:
        self._reloads[("refused" if event.errors else "done",)].inc()

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

    def _adopted(self, event: ShardAdopted) -> None:
        del event
        self._adoptions.inc()

    def _storage_failed(self, event: StorageFailed) -> None:
        self._storage[(event.store,)].inc()

    def _internal_error(self, event: InternalError) -> None:
        del event
        self._errors.inc()


# Gauges of which the sum over processes says nothing.
_JOIN: Mapping[str, Callable[[float, float], float]] = {
    "tidegate_queue_oldest_seconds": max,
    # Each worker sees the same scanners.
    "tidegate_antivirus_scanners": max,
    "tidegate_antivirus_signatures_age_seconds": max,
    "tidegate_build_info": max,
    "tidegate_start_time_seconds": min,
}


def merge(snapshots: Iterable[Sequence[Family]]) -> bytes:
    """Return the exposition text of all processes together.

    Sums, but for the few gauges where the greatest or least counts.
    """
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for snapshot in snapshots:
        for family in snapshot:
            families.setdefault(family["name"], family)
            _add(values.setdefault(family["name"], {}), family)
    return generate_latest(_Merged([_metric(families[name], values[name]) for name in families]))


class _Merged(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _add(values: dict[tuple[str, tuple[tuple[str, str], ...]], float], family: Family) -> None:
    join = _JOIN.get(family["name"])
    for name, labels, value in family["samples"]:
        key = (name, tuple(labels.items()))
        before = values.get(key)
        values[key] = value if before is None else join(before, value) if join else before + value


def _metric(family: Family, values: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> Metric:
    metric = Metric(family["name"], family["help"], family["kind"])
    for (name, labels), value in values.items():
        metric.add_sample(name, dict(labels), value)
    return metric


def _family(metric: Metric) -> Family:
    # "_created" stamps cannot be added and double what is sent.
    samples = [(s.name, s.labels, s.value) for s in metric.samples if not s.name.endswith("_created")]
    return Family(name=metric.name, kind=metric.type, help=metric.documentation, samples=samples)


def _labels(finding: tuple[str, str, str]) -> tuple[str, str]:
    name, result, _ = finding
    # A custom rule's result is its name: ten thousand labels would make every scrape slow. The journal has the names.
    return (name, "fired") if name == RULE and result not in (TEMPERROR, PERMERROR) else (name, result)


def _code(reply: str) -> str:
    return reply[:3] if reply[:3].isdigit() else "none"


def _resident_octets() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * getpagesize()
    except (OSError, IndexError, ValueError):
        # No such file outside Linux; 0 says "not known".
        return 0
