"""A system with its sink: where a load enters and where it must arrive."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from load import BenchmarkError, Load, Sink, Source
from systems import LIVE_DOMAIN, POSTFIX_CLIENT_CONNECTIONS, Site, System, running

RECIPIENT = f"recipient@{LIVE_DOMAIN}"
DIRECT = "direct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Load goes to ``port`` and must come out at ``sink``; ``system`` is None when nothing lies between."""

    name: str
    port: int
    sink: Sink
    system: System | None = None

    @property
    def root(self) -> int | None:
        """The root process of the system, if there is one."""
        return self.system.root() if self.system else None

    @property
    def roots(self) -> tuple[int, ...]:
        """The root processes of all that belongs to the system."""
        return self.system.roots() if self.system else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Seconds from smtp-source's start to the last arrival and to the last 250; smtp-source's CPU seconds."""

    seconds: float
    accepted_seconds: float
    source_cpu_seconds: float


@contextmanager
def direct() -> Iterator[Place]:
    """``smtp-source`` straight into ``smtp-sink``: the ceiling of the load itself, not a relay."""
    with Sink() as sink:
        yield Place(name=DIRECT, port=sink.port, sink=sink)


@contextmanager
def placed(
    kind: type[System], data: Path, clients: int = POSTFIX_CLIENT_CONNECTIONS, dead_port: int | None = None
) -> Iterator[Place]:
    """Start a system under ``data``, a sink behind its live domain; ``dead_port`` is the next hop of a second one."""
    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        site = Site(folder=data, live_port=sink.port, dead_port=dead_port, clients=clients)
        system = stack.enter_context(running(kind(site)))
        yield Place(name=system.name, port=system.port, sink=sink, system=system)


def deliver(place: Place, messages: int, octets: int, mail: Path | None = None) -> Delivered:
    """Send and wait for full delivery; what is refused, lost or put off is a BenchmarkError."""
    place.sink.expect(messages)
    source = Source(Load(port=place.port, messages=messages, octets=octets, recipient=RECIPIENT, mail=mail))
    try:
        sent = source.finish()
        arrived_at = place.sink.await_goal()
    except BenchmarkError as error:
        words = f"\n{place.system.last_words()}" if place.system else ""
        raise BenchmarkError(f"{place.name}: {error}{words}") from error
    finally:
        source.kill()
    return Delivered(
        seconds=arrived_at - sent.at,
        accepted_seconds=sent.accepted_seconds,
        source_cpu_seconds=sent.source_cpu_seconds,
    )
