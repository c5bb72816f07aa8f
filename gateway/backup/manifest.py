"""What one run saved: every file, the chunks it consists of, and where each chunk lies.

A manifest is whole by itself: the packs of its chain and nothing else are needed beside it. It is one frame, written
last, so a run without one never was. ``previous`` is the digest of the stored manifest before it in the chain.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from gateway.backup.errors import DamagedError

FORMAT = 2

Kind = Literal["full", "increment"]


class Chunk(NamedTuple):
    """Where a chunk lies: its name, its pack's place in ``Manifest.packs``, offset and octets of its frame."""

    name: str
    pack: int
    offset: int
    octets: int


class Pack(NamedTuple):
    """A file of frames: its name in the chain's folder, its octets, the number of the run that wrote it."""

    name: str
    octets: int
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFile:
    """One file.

    ``path`` is where a restore puts it (``data/…``, ``configuration/…``), ``origin`` where it lay; ``digest`` is
    SHA-256 of its octets; ``seen`` are size, modification time (ns) and inode when it was read, () for what is
    always read again; ``tables`` the rows of a database's tables; ``secret`` marks keys.
    """

    path: str
    origin: str
    kind: Literal["database", "file"]
    octets: int
    digest: str
    mode: int
    owner: tuple[int, int]
    modified_ns: int
    chunks: tuple[int, ...]
    seen: tuple[int, ...] = ()
    tables: dict[str, int] = field(default_factory=dict)
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolSummary:
    """What a shard holds: messages, copies by state, and when its newest message was received (UTC, 0: none).

    ``ended`` are the trace ids of those whose content file went while it was being saved: their custody has ended
    since the shard was copied, and a restore takes them out.
    """

    shard: str
    path: str
    taken_at: float
    messages: int
    copies: dict[str, int]
    last_received_at: float
    ended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One run; times are UTC seconds. ``omitted`` are files left out on purpose, with the reason.

    ``problems`` are what was wrong with the data themselves: saved as they were, and an alarm.
    """

    format: int
    version: str
    hostname: str
    chain: str
    number: int
    kind: Kind
    previous: str
    started_at: float
    finished_at: float
    deadline_at: float
    files: tuple[SavedFile, ...]
    chunks: tuple[Chunk, ...]
    packs: tuple[Pack, ...]
    spool: tuple[SpoolSummary, ...]
    omitted: tuple[tuple[str, str], ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def octets(self) -> int:
        """The octets that a restore writes."""
        return sum(file.octets for file in self.files)

    @property
    def added_octets(self) -> int:
        """The octets that this run stored."""
        return sum(pack.octets for pack in self.packs if pack.run == self.number)

    @property
    def messages(self) -> int:
        """The messages in custody."""
        return sum(shard.messages - len(shard.ended) for shard in self.spool)

    @property
    def complete_until(self) -> float:
        """UTC seconds from which on data may be missing: when the first shard was copied."""
        return min((shard.taken_at for shard in self.spool), default=self.started_at)

    @property
    def last_received_at(self) -> float:
        """When the newest message in custody was received."""
        return max((shard.last_received_at for shard in self.spool), default=0.0)


_ADAPTER = TypeAdapter(Manifest)


def encode(manifest: Manifest) -> bytes:
    """Return a manifest as JSON."""
    return _ADAPTER.dump_json(manifest)


def decode(octets: bytes, place: str) -> Manifest:
    """Return what ``encode`` wrote; DamagedError."""
    try:
        return _ADAPTER.validate_json(octets)
    except ValidationError as error:
        raise DamagedError(place, f"no manifest of format {FORMAT}: {error.error_count()} errors in it") from error
