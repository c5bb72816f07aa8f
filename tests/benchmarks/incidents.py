# ruff: noqa: S608 - statements are made of constants of this file
"""What the incident record costs: folding, answers an analyst waits for, size, its proof, pruning in the background.

    python -m tests.benchmarks.incidents [--sightings 5000000] [--incidents 200000] [--folder FOLDER]

Fills a record with half a year of sightings, a few sources sending most of them, verifies it, asks it as the commands
do, folds more into it as the keeper does, and prunes it while it is asked. ``--folder`` keeps what was filled for the
next run. Status 1 when an answer misses its target, or the record is not sound.
"""

import argparse
import os
import random
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

from gateway.cli.incident_showing import screen
from gateway.clock import SystemClock
from gateway.incidents import Anchor, IncidentBook, IncidentReader, Sighting, Source, SourceKind, State
from gateway.incidents.chain import Appender
from gateway.incidents.evidence import EvidenceStore
from gateway.incidents.folding import BATCH_SIGHTINGS, SELECT_SIGHTINGS, sightings_digest
from gateway.incidents.reader import IncidentQuery
from gateway.incidents.retention import Keeping, Pruner
from gateway.incidents.schema import database_path, head_path
from gateway.incidents.values import GROUNDS
from gateway.incidents.verification import verify
from gateway.incidents.words import searchable
from gateway.mail.trace_id import new_trace_id

DAY = 86_400.0
DAYS = 180
TARGET_P95_MS = 200.0
# A keeper's batch under load.
BATCH = 500
SUBJECTS = (
    "代开发票 请联系",
    "Your invoice is overdue",
    "低息贷款 当天放款",
    "Cheap watches inside",
    "您的邮箱已满 请立即验证",
    "Re: payment confirmation",
    "招聘兼职 日结",
    "You have won",
)


@dataclass(frozen=True)
class Answer:
    """How long one kind of question took, milliseconds, sorted."""

    name: str
    times_ms: tuple[float, ...]

    def at(self, share: float) -> float:
        """Return a quantile; of nothing 0."""
        if not self.times_ms:
            return 0.0
        return self.times_ms[min(len(self.times_ms) - 1, int(share * len(self.times_ms)))]

    @property
    def missed(self) -> bool:
        """Whether it misses the target."""
        return self.at(0.95) > TARGET_P95_MS


# Filling --------------------------------------------------------------------------------------------------------------

# A source's number from a sighting's: the hundredth part of the sources sends a fifth of the mail.
_OF = "1 + CAST(:incidents * pow(((n * 2654435761) % 4294967296) / 4294967296.0, 3) AS INTEGER)"
_SEQUENCE = "WITH RECURSIVE seq(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM seq WHERE n < {count})"
_KEY = "printf('%d.%d.%d.%d/32', 11 + i / 16777216 % 200, i / 65536 % 256, i / 256 % 256, i % 256)"


def fill(data: Path, sightings: int, incidents: int, now: float) -> float:
    """Make the record by SQL, its totals with it; return the seconds it took.

    Not by folding: that is measured on the result.
    """
    begun = time.perf_counter()
    with IncidentBook(data, clock=SystemClock()).change("benchmark", "fill") as change:
        change.record("filled", None, {"sightings": sightings})
    connection = sqlite3.connect(database_path(data), isolation_level=None)
    connection.create_function("searchable", 1, searchable, deterministic=True)
    connection.create_function("octets", 1, _octets, deterministic=True)
    for pragma in ("synchronous = OFF", "journal_mode = OFF", "cache_size = -400000", "temp_store = MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    indexes = _without_indexes(connection)
    connection.execute("BEGIN")
    given = {"incidents": incidents, "sightings": sightings, "begin": now - DAYS * DAY, "span": DAYS * DAY - 3600}
    for statement in _statements(sightings, incidents):
        connection.execute(statement, given)
    head = _chain(connection, now)
    connection.execute("COMMIT")
    head_path(data).write_text(f"{head}\n", encoding="ascii")
    for sql in indexes:
        connection.execute(sql)
    connection.execute("INSERT INTO mention_fts (mention_fts) VALUES ('rebuild')")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    return time.perf_counter() - begun


def _without_indexes(connection: sqlite3.Connection) -> list[str]:
    """Drop what is cheaper made at the end; return how."""
    wanted = (
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND"
        " (type = 'index' AND tbl_name IN ('incident', 'sighting', 'activity', 'domain', 'mention', 'chain')"
        " OR type = 'trigger')"
    )
    found = connection.execute(wanted).fetchall()
    for kind, name, _ in found:
        connection.execute(f"DROP {kind} {name}")
    return [sql for _, _, sql in found]


def _statements(sightings: int, incidents: int) -> Iterator[str]:
    subjects = " ".join(f"WHEN {n} THEN '{text}'" for n, text in enumerate(SUBJECTS))
    grounds = " ".join(f"WHEN {n} THEN '{text}'" for n, text in enumerate(GROUNDS))
    of_source = f"CASE i % {len(SUBJECTS)} {subjects} END"
    yield (
        f"CREATE TEMP TABLE made AS {_SEQUENCE.format(count=sightings)}"
        f" SELECT n, {_OF} AS i, :begin + :span * n / :sightings AS at FROM seq"
    )
    yield (
        "INSERT INTO sighting SELECT n, i, date(at, 'unixepoch'), at, printf('01K%023d', n), '192.0.2.1',"
        " 'mail' || i || '.bulk.example', 'promo' || (i % 5000) || '@bulk' || (i % 3000) || '.example',"
        " 'user' || (n % 20000) || '@customer' || (n % 300) || '.test', 'customer' || (n % 300) || '.test',"
        " printf('<%x.%d@bulk.example>', (n * 2654435761) % 4294967296, n),"
        f" {of_source} || ' ' || i, CASE i % 5 {grounds} END,"
        " 'rules bulk-mail: its subject and links are those of a campaign', 'reject', 4000 + (n % 9000), '' FROM made"
    )
    yield (
        "INSERT INTO incident (id, source_kind, source_key, address, asn, network, state, state_since, opened_at,"
        " first_seen, last_seen, sightings, octets, advertising, no_opt_out, hidden_sender, false_source, harmful)"
        f" SELECT i, 'network', {_KEY}, octets(i), 64000 + i % 1000, 'Network ' || (i % 1000),"
        " CASE WHEN i % 10 = 0 THEN 'open' WHEN i % 10 < 3 THEN 'blocked' ELSE 'closed' END, max(at), min(at), min(at),"
        " max(at), count(*), 8000 * count(*), (i % 5 = 0) * count(*), (i % 5 = 1) * count(*), (i % 5 = 2) * count(*),"
        " (i % 5 = 3) * count(*), (i % 5 = 4) * count(*) FROM made GROUP BY i"
    )
    yield (
        "CREATE TEMP TABLE day AS SELECT date(at, 'unixepoch') AS day, i, count(*) AS number FROM made GROUP BY 1, 2"
    )
    names = {
        "source": f"'network ' || {_KEY}",
        "ground": f"CASE i % 5 {grounds} END",
        "sender-domain": "'bulk' || (i % 3000) || '.example'",
        "recipient-domain": "'customer' || (i % 300) || '.test'",
    }
    for what, name in names.items():
        for period in (
            "day",
            "strftime('%Y', day) || '-W' || printf('%02d', strftime('%j', day) / 7)",
            "substr(day, 1, 7)",
        ):
            yield (
                f"INSERT INTO activity SELECT {period}, '{what}', {name}, sum(number), 8000 * sum(number) FROM day"
                " GROUP BY 1, 3"
            )
    yield (
        "INSERT INTO domain SELECT 'bulk' || (id % 3000) || '.example', 'sender', id, sightings FROM incident UNION ALL"
        " SELECT 'customer' || ((id * 7 + k) % 300) || '.test', 'recipient', id, 1 FROM incident, (SELECT 0 AS k UNION"
        " SELECT 1 UNION SELECT 2)"
    )
    texts = {
        "subject": f"CASE id % {len(SUBJECTS)} {subjects} END || ' ' || id",
        "sender": "'promo' || (id % 5000) || '@bulk' || (id % 3000) || '.example'",
        "host": "'mail' || id || '.bulk.example'",
        "recipient": "'user' || ((id * 31) % 20000) || '@customer' || (id % 300) || '.test'",
    }
    for kind, text in texts.items():
        yield (
            f"INSERT INTO mention (incident, kind, text, words) SELECT id, '{kind}', {text}, searchable({text})"
            " FROM incident"
        )


def _octets(i: int) -> bytes:
    """Return the address of a source's number as ``_KEY`` writes it."""
    return b"\0" * 10 + b"\xff\xff" + bytes((11 + (i >> 24), i >> 16 & 255, i >> 8 & 255, i & 255))


class _Plain:
    """What the chain's appender needs of a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """Execute a statement."""
        return self._connection.execute(sql, parameters).fetchall()


def _chain(connection: sqlite3.Connection, now: float) -> Anchor:
    """Seal what was filled, so that it verifies; return where the chain ends."""
    appender = Appender(_Plain(connection), os.urandom)
    head = {"at": now, "by": "keeper", "place": "", "operation": "fold"}
    incidents = connection.execute("SELECT id, source_kind, source_key, state FROM incident ORDER BY id")
    for number, kind, key, state in incidents:
        opened = {"source_kind": kind, "source_key": key, "first_seen": now}
        appender.append(head | {"kind": "opened", "incident": number}, opened)
        if state != State.OPEN:
            moved = {"from": State.OPEN.value, "to": state, "reason": "filled"}
            appender.append(head | {"kind": "moved", "incident": number}, moved)
    # The moves above closed them.
    connection.execute("UPDATE incident SET closed_at = ? WHERE state = ?", (now, State.CLOSED))
    sightings = connection.execute(f"{SELECT_SIGHTINGS} ORDER BY id")
    while batch := sightings.fetchmany(BATCH_SIGHTINGS):
        facts = {"first": batch[0][0], "last": batch[-1][0], "sightings": sightings_digest(batch)}
        counts = sorted(Counter(row[1] for row in batch).items())
        number = appender.append(head | {"kind": "folded", "incident": None}, facts | {"counts": counts})
        connection.execute("INSERT INTO batch VALUES (?, ?, ?, ?)", (batch[0][0], batch[-1][0], batch[-1][3], number))
    return appender.head


# Measuring ------------------------------------------------------------------------------------------------------------


def questions(incidents: int, chance: random.Random, now: float) -> dict[str, Callable[[IncidentReader], object]]:
    """Return what is asked, by name; each call asks for something else."""

    def source() -> str:
        i = chance.randrange(1, incidents)
        return f"11.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}"

    def find(**conditions: object) -> Callable[[IncidentReader], object]:
        return lambda reader: reader.find(
            IncidentQuery(**{k: v() if callable(v) else v for k, v in conditions.items()})  # type: ignore[arg-type]
        )

    return {
        "list": find(),
        "list --state blocked": find(states=(State.BLOCKED,)),
        "list --state --ground --since": find(
            states=(State.OPEN, State.CONFIRMED), ground="harmful", since=now - 30 * DAY
        ),
        "list --ground": find(ground=lambda: chance.choice(GROUNDS)),
        "list --ip address": find(ip=source),
        "list --ip network/16": find(ip=lambda: f"11.{chance.randrange(0, 3)}.0.0/16"),
        "list --asn": find(asn=lambda: 64000 + chance.randrange(1000)),
        "list --domain of senders": find(domain=lambda: f"bulk{chance.randrange(3000)}.example"),
        "list --domain of recipients": find(domain=lambda: f"customer{chance.randrange(300)}.test"),
        "top sources day": lambda reader: reader.top("sources", "day", now - DAY * chance.randrange(1, DAYS)),
        "top sources month": lambda reader: reader.top("sources", "month", now - DAY * chance.randrange(1, DAYS)),
        "top domains month": lambda reader: reader.top("domains", "month", now - DAY * chance.randrange(1, DAYS)),
        "top grounds week": lambda reader: reader.top("grounds", "week", now - DAY * chance.randrange(1, DAYS)),
        "search 发票": lambda reader: reader.search("发票"),
        "search two words": lambda reader: reader.search("invoice overdue"),
        "search rare": lambda reader: reader.search(f"{chance.randrange(1, incidents)}"),
        "search an address": lambda reader: reader.search(
            f"promo{chance.randrange(3000)}@bulk{chance.randrange(3000)}.example"
        ),
        "search begins*": lambda reader: reader.search("mail1* bulk"),
        "by Message-ID": lambda reader: reader.by_message_id(f"<{chance.randrange(2**32):x}.1@bulk.example>"),
        "show": lambda reader: _show(reader, chance.randrange(1, incidents)),
        "show the largest": lambda reader: _show(reader, 1),
    }


def _show(reader: IncidentReader, number: int) -> None:
    incident = reader.incident(number)
    if incident is not None:
        list(screen(reader, incident, 5))


def ask(data: Path, incidents: int, times: int, now: float) -> list[Answer]:
    """Ask everything so often, each on a connection of its own as a command does."""
    chance = random.Random(1)  # noqa: S311 - the same questions each time
    found = []
    for name, question in questions(incidents, chance, now).items():
        taken = []
        for _ in range(times):
            begun = time.perf_counter()
            with IncidentReader(data) as reader:
                question(reader)
            taken.append(1e3 * (time.perf_counter() - begun))
        found.append(Answer(name, tuple(sorted(taken))))
    return found


def _more(count: int, incidents: int, now: float) -> Iterator[list[Sighting]]:
    """Yield batches as a keeper reads them: mostly known sources, of which few send most."""
    chance = random.Random(2)  # noqa: S311 - the same sightings each time
    for start in range(0, count, BATCH):
        batch = []
        for n in range(start, min(start + BATCH, count)):
            i = 1 + int(incidents * chance.random() ** 3)
            key = f"11.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}/32"
            batch.append(
                Sighting(
                    trace_id=new_trace_id(now, os.urandom),
                    at=now,
                    source=Source(SourceKind.NETWORK, key),
                    client=key[:-3],
                    helo=f"mail{i}.bulk.example",
                    reverse_path=f"promo{i % 5000}@bulk{i % 3000}.example",
                    recipients=(f"user{n % 20000}@customer{n % 300}.test",),
                    recipient_domain=f"customer{n % 300}.test",
                    message_id=f"<{chance.randrange(2**60):x}@bulk.example>",
                    subject=f"{SUBJECTS[n % len(SUBJECTS)]} {i}",
                    grounds=(GROUNDS[i % 5],),
                    findings=("rules bulk-mail: its subject and links are those of a campaign",),
                    action="reject",
                    octets=8000,
                )
            )
        yield batch


def fold(data: Path, count: int, incidents: int, now: float) -> tuple[float, float, Answer]:
    """Fold so many; return sightings a second, microseconds of processor time each, and the time of a batch."""
    book = IncidentBook(data, clock=SystemClock())
    batches = list(_more(count, incidents, now))
    begun, used, taken = time.perf_counter(), time.process_time(), []
    for batch in batches:
        start = time.perf_counter()
        with book.change("keeper", "fold") as change:
            change.fold(batch)
        taken.append(1e3 * (time.perf_counter() - start))
    seconds = time.perf_counter() - begun
    return count / seconds, 1e6 * (time.process_time() - used) / count, Answer("fold", tuple(sorted(taken)))


def prove(data: Path) -> bool:
    """Verify the record in a process of its own and say what it took; whether it is sound."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        text, sound = alone.submit(_proven, data).result()
    print(text, flush=True)
    return sound


def _proven(data: Path) -> tuple[str, bool]:
    before, begun, used = _most_mb(), time.perf_counter(), time.process_time()
    found = verify(data)
    seconds, processor = time.perf_counter() - begun, time.process_time() - used
    text = (
        f"verify: {found.sightings:,} sightings and {found.rows:,} rows of the chain in {seconds:.0f} s,"
        f" {processor:.0f} of one core: {(found.rows + found.sightings) / processor:,.0f} rows/s;"
        f" {len(found.flaws)} flaws; {_most_mb() - before:,.0f} MB"
    )
    return text, not found.flaws


def _most_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prune(data: Path, seconds: float, now: float) -> tuple[int, Answer, Answer]:
    """Prune for so long while lists are asked for; return sightings removed, the time of a step, of a list."""
    pruner = Pruner(IncidentBook(data, clock=SystemClock()), EvidenceStore(data), Keeping())
    removed, steps, lists = 0, [], []
    end = time.perf_counter() + seconds

    def run() -> None:
        nonlocal removed
        while time.perf_counter() < end:
            begun = time.perf_counter()
            step = pruner.step()
            steps.append(1e3 * (time.perf_counter() - begun))
            removed += step.sightings
            if not step.more:
                break

    thread = Thread(target=run)
    thread.start()
    while thread.is_alive():
        begun = time.perf_counter()
        with IncidentReader(data) as reader:
            reader.find(IncidentQuery(states=(State.BLOCKED,), since=now - 30 * DAY))
        lists.append(1e3 * (time.perf_counter() - begun))
    thread.join()
    return removed, Answer("prune", tuple(sorted(steps))), Answer("list while pruning", tuple(sorted(lists)))


def size(data: Path) -> float:
    """Return the database's octets, its log with it, in MB."""
    return sum(path.stat().st_size for path in database_path(data).parent.glob("incidents.sqlite*")) / 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sightings", type=int, default=5_000_000)
    parser.add_argument("--incidents", type=int, default=200_000)
    parser.add_argument("--fold", type=int, default=20_000, help="so many sightings folded into the full record")
    parser.add_argument("--times", type=int, default=40, help="each question")
    parser.add_argument("--prune-seconds", type=float, default=10.0)
    parser.add_argument("--no-verify", dest="verify", action="store_false", help="leave out the proof of the record")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args(arguments)
    data = options.folder or Path(tempfile.mkdtemp(prefix="incidents-"))
    now = SystemClock().stamp().utc
    try:
        if not database_path(data).exists():
            seconds = fill(data, options.sightings, options.incidents, now)
            print(f"filled: {options.sightings:,} sightings, {options.incidents:,} incidents in {seconds:.0f} s")
        print(f"database: {size(data):,.0f} MB, {1e6 * size(data) / options.sightings:,.0f} octets a sighting")
        sound = not options.verify or prove(data)
        answers = ask(data, options.incidents, options.times, now)
        rate, processor, batch = fold(data, options.fold, options.incidents, now)
        print(
            f"folding: {rate:,.0f} sightings/s, {processor:.0f} us each; a batch of {BATCH} p95 {batch.at(0.95):.0f} ms"
        )
        removed, step, listed = prune(data, options.prune_seconds, now)
        print(f"pruning: {removed:,} sightings in {sum(step.times_ms) / 1e3:.1f} s; a step p95 {step.at(0.95):.0f} ms")
        for answer in (*answers, listed):
            mark = "  MISSED" if answer.missed else ""
            print(f"{answer.name:<32}p50 {answer.at(0.5):7.1f} ms   p95 {answer.at(0.95):7.1f} ms{mark}")
        return int(not sound or any(answer.missed for answer in (*answers, listed)))
    finally:
        if options.folder is None:
            shutil.rmtree(data)


if __name__ == "__main__":
    sys.exit(main())
