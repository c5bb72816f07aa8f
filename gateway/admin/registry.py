"""The metrics of one process as counters, gauges and histograms; ``merge`` adds the processes' up for one scrape.

A process hands over its ``families()`` as plain values; prometheus-client's own multi-process mode leaves files behind
for ever. A metric that meets more than MAX_CHILDREN label sets counts the rest as ``other``.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypedDict

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

# 2,000 label sets take 0.27 s to render; a dozen labelled metrics stay below that together.
MAX_CHILDREN = 200
OTHER = "other"


class Family(TypedDict):
    """One metric as plain values: ``samples`` are ``[name, labels, value]``."""

    name: str
    kind: str
    help: str
    samples: list[tuple[str, dict[str, str], float]]


class Tally:
    """A count kept without prometheus-client's lock (0.1 µs against 0.5 µs) and handed over when somebody looks."""

    __slots__ = ("_counter", "_pending")

    def __init__(self, counter: Any) -> None:
        self._counter = counter
        self._pending: float = 0

    def inc(self, amount: float = 1) -> None:
        """Count ``amount`` more; nobody sees it before ``settle``."""
        self._pending += amount

    def settle(self) -> None:
        """Hand over what was counted since the last time."""
        self._counter.inc(self._pending)
        self._pending = 0


class Spread(Collector):
    """A histogram without lock and without labels, rendered when somebody looks."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value into its bucket."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> Iterable[Metric]:
        """Yield the one family, as prometheus-client asks for it."""
        limits = (*map(floatToGoString, self._bounds), "+Inf")
        buckets = list(zip(limits, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=self._sum)


class Children(dict[tuple[str, ...], Any]):
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


class Registry:
    """Where one process's metrics are declared, and read from."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._tallies: list[Tally] = []

    def counter(self, name: str, text: str) -> Tally:
        """Declare a counter without labels."""
        return self._tally(Counter(name, text, registry=self._registry))

    def counters(self, name: str, text: str, *labels: str) -> Children:
        """Declare a counter with labels: what is returned maps their values, in this order, to a tally each."""
        counter = Counter(name, text, labels, registry=self._registry)
        return Children(lambda values: self._tally(counter.labels(*values)), len(labels))

    def gauge(self, name: str, text: str) -> Gauge:
        """Declare a gauge without labels; ``merge`` adds it up over the processes unless told otherwise."""
        return Gauge(name, text, registry=self._registry)

    def gauges(self, name: str, text: str, *labels: str) -> Children:
        """Declare a gauge with labels: what is returned maps their values, in this order, to a gauge each."""
        gauge = Gauge(name, text, labels, registry=self._registry)
        return Children(lambda values: gauge.labels(*values), len(labels))

    def histogram(self, name: str, text: str, bounds: Sequence[float]) -> Spread:
        """Declare a histogram with the upper ``bounds`` of its buckets; the last, +Inf, is understood."""
        spread = Spread(name, text, bounds)
        self._registry.register(spread)
        return spread

    def families(self) -> list[Family]:
        """Return every metric as plain values that fit a control message."""
        for tally in self._tallies:
            tally.settle()
        return [_family(metric) for metric in self._registry.collect()]

    def _tally(self, counter: Counter) -> Tally:
        tally = Tally(counter)
        self._tallies.append(tally)
        return tally


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
        """Return all, as prometheus-client asks a collector for them."""
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
