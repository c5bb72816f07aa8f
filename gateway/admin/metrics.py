"""What Prometheus may ask: counters and histograms fed by events, gauges set when asked; README.md lists all.

Each process has one registry. A worker sends ``snapshot()`` (plain values) over the control channel; ``merge`` adds
the workers' together and renders them, so that one address answers for the whole gateway.

Labels are bounded: words of ours (roles, actions, filter names), never an address or what a client wrote. Counts of
``…recipients…`` are per recipient, of ``…messages…`` per transaction.
"""

import time
from collections.abc import Callable
from pathlib import Path
from resource import getpagesize
from typing import Any

from gateway import __version__
from gateway.admin.duty_metrics import DutyMetrics
from gateway.admin.mail_metrics import MailMetrics
from gateway.admin.registry import Family, Registry
from gateway.journal.events import ConfigurationChanged, Event, InternalError, ShardAdopted, StorageFailed

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The metrics of one process and the event sink that feeds them: ``mail``, ``duties`` and the gateway's own.

    ``worker`` is its number, "" for the supervisor.
    """

    def __init__(self, worker: str = "") -> None:
        self._worker = worker
        self._registry = Registry()
        self.mail = MailMetrics(self._registry)
        self.duties = DutyMetrics(self._registry)
        self._takers: dict[type[Event], Callable[[Any], None]] = {
            **self.mail.takers,
            **self.duties.takers,
            ConfigurationChanged: self._configured,
            ShardAdopted: self._adopted,
            StorageFailed: self._storage_failed,
            InternalError: self._internal_error,
        }
        self._register(self._registry)

    def emit(self, event: Event) -> None:
        """Count one event."""
        take = self._takers.get(type(event))
        if take is not None:
            take(event)

    def snapshot(self) -> list[Family]:
        """Return every metric as plain values that fit a control message."""
        self._observe_process()
        return self._registry.families()

    def observe_dropped(self, *, journal: int, log: int) -> None:
        """Set how many events the journal and how many lines the log had to drop."""
        self._journal_dropped.set(journal)
        self._log_dropped.set(log)

    def _register(self, registry: Registry) -> None:
        self._reloads = registry.counters("tidegate_reloads_total", "Reloads of the configuration.", "outcome")
        self._storage = registry.counters("tidegate_storage_failures_total", "Reads and writes that failed.", "store")
        self._errors = registry.counter("tidegate_internal_errors_total", "Exceptions where none belong.")
        self._adoptions = registry.counter(
            "tidegate_shards_adopted_total", "Spool shards taken over from lost workers."
        )
        self._journal_dropped = registry.gauge(
            "tidegate_journal_dropped_events", "Events not journalled since the start because writing failed."
        )
        self._log_dropped = registry.gauge(
            "tidegate_log_dropped_lines", "Log lines not written since the start because nobody read them."
        )
        registry.gauges("tidegate_build_info", "The version that runs; always 1.", "version")[(__version__,)].set(1)
        registry.gauge("tidegate_start_time_seconds", "When the gateway started, UTC.").set(time.time())
        self._resident = registry.gauges("tidegate_resident_bytes", "Memory a process holds.", "process")
        self._cpu = registry.counters("tidegate_cpu_seconds_total", "Processor time a process used.", "process")
        self._cpu_seen = 0.0

    def _observe_process(self) -> None:
        process = (f"worker-{self._worker}" if self._worker else "supervisor",)
        self._resident[process].set(_resident_octets())
        used = time.process_time()
        self._cpu[process].inc(used - self._cpu_seen)
        self._cpu_seen = used

    def _configured(self, event: ConfigurationChanged) -> None:
        self._reloads[("refused" if event.errors else "done",)].inc()

    def _adopted(self, event: ShardAdopted) -> None:
        del event
        self._adoptions.inc()

    def _storage_failed(self, event: StorageFailed) -> None:
        self._storage[(event.store,)].inc()

    def _internal_error(self, event: InternalError) -> None:
        del event
        self._errors.inc()


def _resident_octets() -> int:
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * getpagesize()
    except (OSError, IndexError, ValueError):
        # No such file outside Linux; 0 says "not known".
        return 0
