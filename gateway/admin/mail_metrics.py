"""What is counted on the mail path: sessions, recipients, messages, scans, deliveries, the queue."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.admin.lines import status_of
from gateway.admin.protocol import QueueStatus
from gateway.admin.registry import Registry
from gateway.journal.events import (
    DeliveryAttempted,
    Event,
    MessageJudged,
    NoticeQueued,
    QuarantineReleased,
    QueueChanged,
    RecipientRefused,
    SessionClosed,
    SessionRefused,
    TransactionAborted,
)
from gateway.policy.finding import PERMERROR, RULE, TEMPERROR

# From one fsync of a good disk to the client's patience.
_DURABLE_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
# With the contract's bounds, a minute and an hour (contract.md §2), and beyond them the retry schedule's.
_DELAY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
_SIZE_OCTETS = (1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_ANTIVIRUS = "antivirus"
_SCANNER_STATES = ("well", "suspect", "open")

Takers = dict[type[Event], Callable[[Any], None]]
"""What takes the events of each class."""


class MailMetrics:
    """Counts mail, by its events; gauges are set when somebody asks."""

    def __init__(self, registry: Registry) -> None:
        self.takers: Takers = {
            SessionClosed: self._session_closed,
            SessionRefused: self._session_refused,
            RecipientRefused: self._recipient_refused,
            TransactionAborted: self._aborted,
            MessageJudged: self._judged,
            DeliveryAttempted: self._attempted,
            NoticeQueued: self._noticed,
            QueueChanged: self._queue_changed,
            QuarantineReleased: self._let_out,
        }
        self._register_intake(registry)
        self._register_antivirus(registry)
        self._register_delivery(registry)

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

    def observe_antivirus(self, *, under_way: int, scanners: Mapping[str, int], signatures_age_seconds: float) -> None:
        """Set how many messages are being scanned, how the scanners are (by state), and their signatures' age."""
        self._scans.set(under_way)
        for state in _SCANNER_STATES:
            self._scanners[(state,)].set(scanners.get(state, 0))
        self._signatures_age.set(signatures_age_seconds)

    def _register_intake(self, registry: Registry) -> None:
        self._sessions = registry.counters(
            "tidegate_sessions_total", "Sessions ended, by what ended them.", "role", "end"
        )
        self._sessions_refused = registry.counters(
            "tidegate_sessions_refused_total", "Connections turned away at the door.", "role", "code"
        )
        self._open_sessions = registry.gauge("tidegate_sessions_open", "Sessions open now.")
        self._recipients_refused = registry.counters(
            "tidegate_recipients_refused_total", "RCPT commands answered 4yz or 5yz.", "code", "filter"
        )
        self._aborts = registry.counters(
            "tidegate_transactions_aborted_total", "Transactions whose content began but never became durable.", "code"
        )
        self._messages = registry.counters(
            "tidegate_messages_total", "Final dots answered, by what became of the message.", "role", "status"
        )
        self._dispositions = registry.counters(
            "tidegate_recipients_total", "Recipients of judged messages, by their disposition.", "action"
        )
        self._findings = registry.counters(
            "tidegate_findings_total", "What filters found, by filter and result.", "filter", "result"
        )
        self._filter_seconds = registry.counters(
            "tidegate_filter_seconds_total", "Time spent in each filter.", "filter"
        )
        self._received = registry.counter("tidegate_received_bytes_total", "Octets of content of judged messages.")
        self._size = registry.histogram("tidegate_message_size_bytes", "Octets of content of a message.", _SIZE_OCTETS)
        self._filtering = registry.histogram(
            "tidegate_filtering_seconds", "From the final dot to the verdict.", _DURABLE_SECONDS
        )
        self._durable = registry.histogram(
            "tidegate_durable_seconds", "From the verdict to the message being durable.", _DURABLE_SECONDS
        )

    def _register_antivirus(self, registry: Registry) -> None:
        self._scans = registry.gauge("tidegate_antivirus_scans", "Messages being scanned or waiting for a scanner.")
        self._scanning = registry.histogram(
            "tidegate_antivirus_seconds", "Time a message's scan took, waiting included.", _DURABLE_SECONDS
        )
        self._scanners = registry.gauges("tidegate_antivirus_scanners", "Virus scanners, by how they are.", "state")
        self._signatures_age = registry.gauge(
            "tidegate_antivirus_signatures_age_seconds", "Age of the oldest signatures in use, 0 while not known."
        )

    def _register_delivery(self, registry: Registry) -> None:
        self._attempts = registry.counters(
            "tidegate_delivery_attempts_total", "Delivery attempts, one a recipient, by status.", "status"
        )
        self._delay = registry.histogram(
            "tidegate_delivery_delay_seconds",
            "From MAIL to the next hop's acceptance (Postfix's delay).",
            _DELAY_SECONDS,
        )
        self._duplicates = registry.counter(
            "tidegate_possible_duplicates_total", "Attempts repeated because the reply to the final dot was lost."
        )
        self._notices = registry.counters(
            "tidegate_notices_total", "Delivery status notifications put into the queue.", "notice"
        )
        self._queue = registry.gauges("tidegate_queue_recipients", "Recipients in custody, by state.", "state")
        self._oldest = registry.gauge("tidegate_queue_oldest_seconds", "Age of the oldest message queued for delivery.")
        self._operations = registry.counters(
            "tidegate_queue_operations_total", "What operators did to the queue.", "operation"
        )

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
        # Asked once for each set of settings, at the same time: one message was scanned.
        if scanning := [seconds for name, seconds in event.filter_seconds if name == _ANTIVIRUS]:
            self._scanning.observe(max(scanning))
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


def _labels(finding: tuple[str, str, str]) -> tuple[str, str]:
    name, result, _ = finding
    # A custom rule's result is its name: ten thousand labels would make every scrape slow. The journal has the names.
    return (name, "fired") if name == RULE and result not in (TEMPERROR, PERMERROR) else (name, result)


def _code(reply: str) -> str:
    return reply[:3] if reply[:3].isdigit() else "none"
