"""What the service level costs: counting ten million recipients, the report, memory, disk, the mail path's share.

    python -m tests.benchmarks.servicelevel [--rows 10000000] [--customers 100] [--folder FOLDER]

Makes a month's ledger (about 450 octets a row), counts it into daily summaries as the gateway does, judges a customer's
month and renders it.

    python -m tests.benchmarks.servicelevel --mail-path 400 [--starts 4] [--fours 6] [--idle 60] [--rate 100]

Sends bursts of so many messages in turn through a gateway with the service level's watch and through one without it,
and tells what the watch costs of each message's processor time, until its mail is delivered and counted; how that is
measured, and when it is shown, ``mail_path.py`` says. The promise is less than 2 % of throughput; ends with 0 only when
that is shown. Ledger rows are written either way: they are the mail's own. Needs Postfix's smtp-source and smtp-sink.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from gateway.config.service_level import ServiceTerms
from gateway.ledger import MIGRATIONS
from gateway.ledger.writing import COLUMNS
from gateway.reports.document import document
from gateway.reports.page import page
from gateway.servicelevel.book import Writer
from gateway.servicelevel.conditions import Bearing
from gateway.servicelevel.month import Month
from gateway.servicelevel.reading import judge, read_book
from gateway.servicelevel.records import Records
from gateway.servicelevel.rollup import roll
from gateway.servicelevel.store import StoreReader, open_store
from gateway.storage import Database
from tests.benchmarks.mail_path import Found, Trial, add_options, compare, delivered, folder_in, judged
from tests.system.parts import Gateway, Sink, settings, smtp_source, to_server, until

MONTH = Month(2026, 11, "Asia/Shanghai")
# One in so many waits for a next hop, and has attempts to be read.
DEFERRED_ONE_IN = 50
CHUNK = 50_000
# Of throughput, in per cent, at most.
MOST_SHARE = 2.0


def row(number: int, share: float, customers: int, chance: random.Random) -> tuple[object, ...]:
    """Return one ledger row in the order of its columns; ``share`` of the month has passed: mail comes in order."""
    start, end = MONTH.span
    received = start + share * (end - start - 1)
    customer = f"customer{number % customers}"
    wait = 0.0
    attempts = [
        [received + 0.1, "smtp://10.1.0.5:25", "10.1.0.5[10.1.0.5]:25", "end-of-data", "250 ok", "sent", 0.2, False]
    ]
    if number % DEFERRED_ONE_IN == 0:
        wait = chance.uniform(60, 4000)
        first = [
            received + 0.1,
            "smtp://10.1.0.5:25",
            "10.1.0.5[10.1.0.5]:25",
            "rcpt",
            "451 4.7.1 later",
            "deferred",
            0.2,
            False,
        ]
        attempts = [first, [received + wait, *attempts[0][1:]]]
    delay = wait + chance.lognormvariate(-1.5, 1.0)
    values = {
        "trace_id": f"{number:026}",
        "number": 0,
        "customer": customer,
        "recipient": f"user{number % 1000}@{customer}.example",
        "domain": f"{customer}.example",
        "reverse_path": "anna@senders.test",
        "role": "mx",
        "origin": "smtp",
        "octets": 8192,
        "action": "accept",
        "connected_at": received - 1,
        "enveloped_at": received - 0.5,
        "received_at": received,
        "filtered_seconds": 0.004,
        "durable_seconds": 0.002,
        "antivirus_seconds": 0.0,
        "held_seconds": 0.0,
        "transfer_started_at": received + delay * 0.9,
        "accepted_at": received + delay,
        "send_delay_seconds": delay * 0.9,
        "receive_delay_seconds": delay,
        "finished_at": received + delay,
        "status": "delivered",
        "next_hop": "smtp://10.1.0.5:25",
        "relay": "10.1.0.5[10.1.0.5]:25",
        "reply": "250 2.0.0 ok",
        "attempts": json.dumps(attempts),
        "attempt_count": len(attempts),
        "greylisted_seconds": 0.0,
    }
    return tuple(values[name] for name in COLUMNS)


def fill(data: Path, rows: int, customers: int) -> float:
    """Write the month's ledger; return the seconds it took."""
    begun = time.perf_counter()
    path = data / "spool" / "shard-0.sqlite"
    Database(path, MIGRATIONS, synchronous="NORMAL").close_now()
    # Filled directly: what is measured is reading, and the mail path would take three hours for this.
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    chance = random.Random(1)  # noqa: S311 - the same ledger each time
    insert = f"INSERT INTO ledger ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
    for begin in range(0, rows, CHUNK):
        connection.executemany(
            insert, [row(n, n / rows, customers, chance) for n in range(begin, min(begin + CHUNK, rows))]
        )
        connection.commit()
    connection.close()
    return time.perf_counter() - begun


async def count(data: Path) -> tuple[int, float, float]:
    """Count the ledger as the gateway does; return rows, seconds and processor seconds."""
    store = open_store(data)
    begun, used = time.perf_counter(), time.process_time()
    rows = await roll(data, Bearing(read_book(data), MONTH.span[1]), store)
    spent = time.perf_counter() - begun, time.process_time() - used
    await store.close()
    return rows, *spent


class Unwatched(Gateway):
    """A gateway whose supervisor does everything but watch the service level."""

    def launch(self, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        real = sys.executable
        # The only door of the whole thing: nothing else in the supervisor or a worker belongs to it.
        code = (
            "import asyncio\n"
            "from gateway.app.service import ServiceWatch\n"
            "async def idle(self, addresses): await asyncio.Event().wait()\n"
            "ServiceWatch.run = idle\n"
            "from gateway.cli.main import app\n"
            "app()\n"
        )
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [real, "-c", code, "serve", *self.options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        return self.process


def mail_path(options: argparse.Namespace) -> int:
    """Print what the watch costs of relaying; return the exit status."""
    starts = [_measured(options) for _ in range(options.starts)]
    return judged(starts, of="the watch", most_share=MOST_SHARE, rate=options.rate, where=Found.supervisor_shares)


def _measured(options: argparse.Namespace) -> Found:
    messages = options.mail_path
    with tempfile.TemporaryDirectory() as folder:
        sink = Sink(("-c",)).start()
        watched, plain = Gateway(folder_in(folder, "watched")), Unwatched(folder_in(folder, "plain"))
        try:
            for gateway in (watched, plain):
                policy = to_server("example.test", url=sink.url(), more='customer = "example"\n')
                gateway.configure(settings(more="[service]\n[queue]\n"), {"example.test": policy})
                gateway.start()
            until((watched.data / "servicelevel/heartbeat").exists, what="the watch")
            trial = Trial(
                part=watched,
                plain=plain,
                messages=messages,
                relay=lambda gateway: _relay(gateway, messages),
                settle=lambda: _all_counted(watched.data),
            )
            for gateway in (watched, plain):
                trial.relay(gateway)
            return compare(trial, fours=options.fours, idle_seconds=options.idle)
        finally:
            watched.destroy()
            plain.destroy()
            sink.destroy()


def _relay(gateway: Gateway, messages: int) -> None:
    wanted = delivered(gateway.data) + messages
    load = ("-s", "20", "-m", str(messages), "-l", "8192", "-f", "anna@senders.test", "-t", "bob@example.test")
    smtp_source(gateway.port(), *load)
    until(lambda: delivered(gateway.data) >= wanted, seconds=120, what="the last message delivered")


def _all_counted(data: Path) -> None:
    """Wait until the cursors have come to the ledger's end: the gateway's own probe messages are nobody's day."""

    def reached() -> bool:
        with StoreReader(data) as store:
            return sum(cursor.id for cursor in store.cursors().values()) >= delivered(data)

    until(reached, seconds=120, what="the last message counted")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--customers", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--mail-path", type=int, metavar="MESSAGES", default=0)
    add_options(parser)
    options = parser.parse_args()
    if options.mail_path:
        sys.exit(mail_path(options))
    data = options.folder or Path(tempfile.mkdtemp(prefix="servicelevel-"))
    try:
        writer = Writer(Records(data), MONTH.span[0] - 1, "benchmark")
        for number in range(options.customers):
            writer.set_terms(f"customer{number}", ServiceTerms(), {f"customer{number}.example": "customer"})
        filled = fill(data, options.rows, options.customers)
        print(f"ledger: {options.rows:,} rows made in {filled:.0f} s, {_size(data / 'spool'):,.0f} MB")
        idle = _peak()
        rows, seconds, processor = asyncio.run(count(data))
        print(f"counted: {rows:,} rows in {seconds:.1f} s, {rows / seconds:,.0f} rows/s")
        print(f"a recipient: {1e6 * processor / rows:.1f} us of one core, outside the workers")
        print(f"memory: {_peak():.0f} MB at most, {idle:.0f} before")
        print(f"summaries: {_size(data / 'servicelevel'):,.1f} MB")
        begun = time.perf_counter()
        evaluation = judge(data, "customer0", MONTH, MONTH.span[1] + 86_400)
        judged = time.perf_counter()
        html = page(evaluation, document(evaluation, "zh"))
        ended = time.perf_counter()
        figures = evaluation.delays["receive"].after
        print(
            f"report of {figures.count:,} recipients: judged in {judged - begun:.3f} s, page {ended - judged:.3f} s, "
            f"{len(html) / 1024:.0f} KiB"
        )
    finally:
        if options.folder is None:
            shutil.rmtree(data, ignore_errors=True)


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
