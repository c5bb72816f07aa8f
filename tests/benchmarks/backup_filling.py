"""Filling a gateway's stores for the backup's benchmark: as its rooms write them, but thousands of rows a commit.

The schema is made by the gateway itself and the rows by its codecs; only the commits are larger and not synced, so that
12 GiB take minutes. Contents are random hexadecimal digits: like mail they shrink to about half, and no two are alike,
so nothing is spared because it is there already. Ledger rows are one delivery's, each with a name, a time and addresses
of its own.
"""

import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from sqlite3 import Connection

from gateway.clock import SystemClock
from gateway.ledger import MIGRATIONS, DelayRecord
from gateway.ledger.writing import COLUMNS
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.trace_id import new_trace_id
from gateway.smtp.address import NULL_REVERSE_PATH, ForwardPath, Mailbox
from gateway.spool import codec, schema
from gateway.spool.custody import Custody
from gateway.spool.message import MessageStamps, Origin, RecipientState, SpoolMessage, SpoolRecipient
from gateway.spool.opening import SilentWitness
from gateway.spool.shard import ShardSettings, shard_path
from gateway.storage.connection import connect_writer

SMALL, LARGE = 40_000, 400_000
# Half of the octets each: ten small contents to one large.
TURNS = 11
# About what a row of the ledger takes with its index.
LEDGER_ROW_OCTETS = 430
LEDGER_ROWS_AT_ONCE = 20_000
MESSAGES_AT_ONCE = 440
POOL_OCTETS = 32 * 1024**2


def fill(data: Path, workers: int, quarantine: float, ledger: float) -> None:
    """Fill the stores of all workers of a gateway that does not run with so many octets."""
    clock = SystemClock()
    for worker in range(workers):
        Custody.open(
            ShardSettings(data=data, clock=clock, companions=MIGRATIONS),
            worker=worker,
            workers=workers,
            witness=SilentWitness(),
        ).close_now()
        filling = _Filling(data, str(worker), clock)
        filling.quarantine(quarantine / workers)
        filling.ledger(ledger / workers)
        filling.end()


class _Filling:
    def __init__(self, data: Path, shard: str, clock: SystemClock) -> None:
        self._clock, self._chance = clock, random.Random(shard)  # noqa: S311 - filling
        self._contents = data / "spool" / "content" / shard
        self._pool = self._chance.randbytes(POOL_OCTETS // 2).hex().encode()
        self._connection = _unsynced(shard_path(data, shard))

    def quarantine(self, octets: float) -> None:
        """Take mail into quarantine, large contents as files."""
        done = 0
        while done < octets:
            messages = [self._message(LARGE if turn % TURNS == 0 else SMALL) for turn in range(MESSAGES_AT_ONCE)]
            done += sum(message.octets for message in messages)
            rows = [self._row(message) for message in messages]
            self._insert("message", schema.MESSAGE_COLUMNS, rows)
            copies = [codec.recipient_row(m.trace_id, copy) for m in messages for copy in m.recipients]
            self._insert("recipient", schema.RECIPIENT_COLUMNS, copies)

    def _message(self, octets: int) -> SpoolMessage:
        now = self._clock.stamp()
        at = self._chance.randrange(POOL_OCTETS - octets)
        content = Content(b"Subject: quarantined\r\n\r\n" + self._pool[at : at + octets] + b"\r\n")
        return SpoolMessage(
            trace_id=new_trace_id(now.utc, self._chance.randbytes),
            origin=Origin.SMTP,
            envelope=Envelope(reverse_path=NULL_REVERSE_PATH),
            recipients=(
                SpoolRecipient(
                    number=0,
                    recipient=Recipient(path=ForwardPath(Mailbox("ben", "held.bench.test", "ben@held.bench.test"))),
                    route="none",
                    customer="bench",
                    state=RecipientState.QUARANTINED,
                ),
            ),
            stamps=MessageStamps(connected=now, enveloped=now, received=now, filtered=now),
            content=content,
            octets=content.size,
        )

    def _row(self, message: SpoolMessage) -> tuple[object, ...]:
        stamp, octets = message.stamps.filtered, b"".join(message.content.chunks() if message.content else ())
        if len(octets) < LARGE:
            return codec.message_row(message, stamp, self._clock.boot_id, octets, filed=False)
        path = self._contents / message.trace_id[-2:] / message.trace_id
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(octets)
        return codec.message_row(message, stamp, self._clock.boot_id, None, filed=True)

    def ledger(self, octets: float) -> None:
        """Put deliveries of the past day on record."""
        number = 0
        while number * LEDGER_ROW_OCTETS < octets:
            self._insert("ledger", COLUMNS, self._deliveries(number))
            number += LEDGER_ROWS_AT_ONCE

    def _deliveries(self, first: int) -> Iterator[tuple[object, ...]]:
        record = _delivery(self._clock.stamp().utc - 86_400)
        fixed = [getattr(record, column) for column in COLUMNS]
        places = [COLUMNS.index(name) for name in ("trace_id", "recipient", "reverse_path", "received_at")]
        for number in range(first, first + LEDGER_ROWS_AT_ONCE):
            at = record.received_at + number / 1000
            trace_id = new_trace_id(at, self._chance.randbytes)
            values = (trace_id, f"user{number}@live.bench.test", f"sender{number}@client.bench.test", at)
            row = list(fixed)
            for place, value in zip(places, values, strict=True):
                row[place] = value
            yield tuple(row)

    def _insert(self, table: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
        marks = ", ".join("?" * len(columns))
        self._connection.execute("BEGIN")
        self._connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608 - constants
        self._connection.execute("COMMIT")
        # The log stays short.
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def end(self) -> None:
        """Let go of the shard."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close()


def _unsynced(path: Path) -> Connection:
    connection = connect_writer(path, "NORMAL")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def _delivery(at: float) -> DelayRecord:
    return DelayRecord(
        trace_id="",
        number=0,
        customer="bench",
        recipient="",
        domain="live.bench.test",
        reverse_path="",
        role="mx",
        origin="smtp",
        octets=8192,
        action="accept",
        connected_at=at,
        enveloped_at=at,
        received_at=at,
        filtered_seconds=0.001,
        durable_seconds=0.002,
        antivirus_seconds=0.0,
        held_seconds=0.0,
        transfer_started_at=at,
        accepted_at=at,
        send_delay_seconds=0.003,
        receive_delay_seconds=0.004,
        finished_at=at,
        status="delivered",
        next_hop="smtp://127.0.0.1:2526",
        relay="127.0.0.1[127.0.0.1]:2526",
        reply="250 2.0.0 taken",
        attempts=json.dumps([[at, "smtp://127.0.0.1:2526", "", "end-of-data", "250 2.0.0 taken", "sent", 0.01, False]]),
        attempt_count=1,
    )
