"""What custom rules cost: time a message, memory, compile time, and how long a reload keeps the loop waiting.

    python tests/benchmarks/rules.py                     1,000 and 10,000 rules, half of them Chinese; a minute
    python tests/benchmarks/rules.py --json out.json

1,000 patterns without any fixed text come after them, with hyperscan and without; skipped where it is not installed.

Every message is parsed, decoded, normalised and judged from scratch, as the gateway does it; beside it, in the same
run, a loop of the standard library's `re` over the same rules and mails. Times a message are CPU time, which other
programs do not disturb. Needs nothing but Tidegate and rich. Exit: 0 targets met, 1 a target missed.
"""

import argparse
import asyncio
import gc
import json
import re
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from html import unescape
from ipaddress import ip_address
from pathlib import Path
from statistics import median

import rule_workload
from rich.console import Console
from rich.table import Table

from gateway.app.beside import beside_the_mail
from gateway.clock import SystemClock
from gateway.mail.connection import Connection, Role
from gateway.mail.content import Content
from gateway.mail.transaction import Transaction
from gateway.policy.rule import AllOf, AnyOf, Clause, Condition, Rule, RuleLayer, SameValue
from gateway.rules import prefilter
from gateway.rules.acceleration import accelerate
from gateway.rules.facts import MailFacts
from gateway.rules.group import RuleGroup, compile_layer
from gateway.rules.judging import RuleSet, judge
from gateway.rules.moment import Moment
from gateway.rules.reading import Surroundings, read_rules

COUNTS = (1_000, 10_000)
SIZES = (4_096, 8_192, 32_768, 65_536, 204_800)
# Added to an 8 KB message.
TARGETS_MS = {1_000: 2.0, 10_000: 8.0}
TARGET_OCTETS = 8_192
# A reload of 10,000 rules may keep mail in flight waiting so long.
TARGET_LAG_MS = 50.0
# Reloads; the median of their worst waits counts, since one descheduling of the process spoils one.
TRIALS = 3
# Patterns without any fixed text.
TEXTLESS = 1_000
_KIBI = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """Milliseconds a message of one size: the median and the 99th percentile, and what the standard library takes."""

    rules: int
    octets: int
    median_ms: float
    p99_ms: float
    stdlib_ms: float
    fired: float

    @property
    def target_ms(self) -> float | None:
        """What is promised for it."""
        return TARGETS_MS.get(self.rules) if self.octets == TARGET_OCTETS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """What a load of rules takes: reading with every check, compiling, memory, and the loop's worst wait meanwhile.

    ``busy_lag_ms`` is that wait beside a thread that only counts for as long: what the machine and the interpreter's
    lock do by themselves.
    """

    rules: int
    read_seconds: float
    compile_seconds: float
    memory_mib: float
    lag_ms: float
    busy_lag_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Textless:
    """Patterns without any fixed text: milliseconds a message by RE2 alone and with hyperscan before it.

    ``taken`` of ``rules`` hyperscan compiled, in ``compile_seconds`` beside the mail; ``equal``: the same rules fired.
    """

    rules: int
    taken: int
    compile_seconds: float
    octets: int
    re2_ms: float
    hyperscan_ms: float
    equal: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything measured."""

    judging: tuple[Judging, ...]
    loading: tuple[Loading, ...]
    textless: tuple[Textless, ...]

    @property
    def missed(self) -> list[str]:
        """The targets that were not met."""
        late = [
            f"{each.rules} rules, {each.octets // _KIBI} KB: {each.median_ms:.2f} ms > {each.target_ms} ms"
            for each in self.judging
            if each.target_ms is not None and each.median_ms > each.target_ms
        ]
        lag = [
            f"{each.rules} rules: the loop waited {each.lag_ms:.0f} ms > {TARGET_LAG_MS:.0f} ms"
            for each in self.loading
            if each.lag_ms > TARGET_LAG_MS
        ]
        different = [
            f"{each.octets // _KIBI} KB: other rules fire with hyperscan" for each in self.textless if not each.equal
        ]
        return late + lag + different


def read(text: str) -> tuple[Rule, ...]:
    """Read a policy file's rules with every check."""
    nothing = Surroundings(list_text=lambda _: "", filters={}, place=lambda _: "")
    reading = read_rules(tomllib.loads(text)["rule"], nothing)
    if reading.complaints:
        raise SystemExit(f"the workload has a bad rule: {reading.complaints[0]}")
    return reading.rules


def compiled(rules: tuple[Rule, ...]) -> RuleGroup:
    """Compile them."""
    return compile_layer(RuleLayer(source="benchmark", rules=rules))


def transaction(octets: bytes) -> Transaction:
    """A mail that nobody has looked at yet."""
    clock = SystemClock()
    connection = Connection(
        session_id="benchmark",
        client_address=ip_address("192.0.2.1"),
        client_port=25,
        local_address="127.0.0.1",
        local_port=25,
        role=Role.MX,
        connected=clock.stamp(),
        hostname="mx.example",
    )
    return Transaction(trace_id="benchmark", connection=connection, content=Content(octets), received=clock.stamp())


def judging(rules: tuple[Rule, ...], group: RuleGroup, octets: int, messages: int) -> Judging:
    """Judge mails of one size, each once to warm up (patterns are compiled on first use) and three times timed."""
    mails = rule_workload.mails(octets, messages)
    chosen = RuleSet((group,))
    clock = SystemClock()
    fired = [len(judge(chosen, MailFacts(transaction(mail), {}, clock), Moment.RESULTS).fired) for mail in mails]
    taken = []
    for mail in mails * 3:
        tx = transaction(mail)
        began = time.thread_time()
        judge(chosen, MailFacts(tx, {}, clock), Moment.RESULTS)
        taken.append((time.thread_time() - began) * 1000)
    some = mails[: max(2, 200_000 // (len(rules) * octets // 1024 // 8 + 1) // 100)]
    return Judging(
        rules=len(rules),
        octets=octets,
        median_ms=median(taken),
        p99_ms=sorted(taken)[int(len(taken) * 0.99)],
        stdlib_ms=stdlib_ms(rules, some),
        fired=sum(fired) / len(fired),
    )


def stdlib_ms(rules: Sequence[Rule], mails: Sequence[bytes]) -> float:
    """What a plain loop takes: `email` to decode, then every rule's pattern by `re`, compiled beforehand."""
    tests = [test for rule in rules if (test := _stdlib_test(rule.when)) is not None]
    taken = []
    for mail in mails:
        began = time.thread_time()
        subject, text = _stdlib_texts(mail)
        for test in tests:
            test(subject, text)
        taken.append((time.thread_time() - began) * 1000)
    return median(taken)


def _stdlib_texts(mail: bytes) -> tuple[str, str]:
    message = message_from_bytes(mail)
    pieces = []
    for part in message.walk():
        if part.get_content_maintype() == "text":
            octets = part.get_payload(decode=True)
            text = octets.decode("utf-8", "replace") if isinstance(octets, bytes) else ""
            pieces.append(unescape(re.sub(r"<[^>]*>", " ", text)) if part.get_content_subtype() == "html" else text)
    return str(make_header(decode_header(message["subject"]))).lower(), " ".join("\n".join(pieces).lower().split())


def _stdlib_test(condition: Condition) -> Callable[[str, str], bool] | None:
    if isinstance(condition, AllOf | AnyOf):
        parts = [part for inner in condition.parts if (part := _stdlib_test(inner)) is not None]
        combine = all if isinstance(condition, AllOf) else any
        return (lambda subject, text: combine(part(subject, text) for part in parts)) if parts else None
    if not isinstance(condition, Clause) or isinstance(condition, SameValue):
        return None
    in_subject = condition.subject == "subject"
    if not in_subject and condition.subject != "text":
        return None
    pattern = "|".join(
        v if condition.operator == "matches" else re.escape(v) for v in condition.values if isinstance(v, str)
    )
    search = re.compile(pattern.lower().replace("(?i)", ""), re.IGNORECASE if "(?i)" in pattern else 0).search
    return lambda subject, text: search(subject if in_subject else text) is not None


def loading(text: str) -> tuple[Loading, tuple[Rule, ...], RuleGroup]:
    """Load once to measure, and some times more beside a loop that counts how late it wakes."""
    before = resident_mib()
    began = time.perf_counter()
    rules = read(text)
    read_at = time.perf_counter()
    group = compiled(rules)
    compiled_at = time.perf_counter()
    memory = resident_mib() - before
    lags = [asyncio.run(worst_lag_ms(lambda: compiled(read(text)))) for _ in range(TRIALS)]
    found = Loading(
        rules=len(rules),
        read_seconds=read_at - began,
        compile_seconds=compiled_at - read_at,
        memory_mib=memory,
        lag_ms=median(lags),
        busy_lag_ms=median(asyncio.run(worst_lag_ms(busy)) for _ in range(TRIALS)),
    )
    return found, rules, group


def busy() -> None:
    """Count for a second."""
    end = time.perf_counter() + 1.0
    while time.perf_counter() < end:
        pass


async def worst_lag_ms(work: Callable[[], object]) -> float:
    """Run ``work`` in a thread, as a reload does, and return the longest the loop was kept from waking up."""
    worst = 0.0
    tick = 0.001
    with beside_the_mail():
        task = asyncio.create_task(asyncio.to_thread(work))
        while not task.done():
            began = time.perf_counter()
            await asyncio.sleep(tick)
            worst = max(worst, time.perf_counter() - began - tick)
    await task
    return worst * 1000


def textless(count: int, sizes: Sequence[int], messages: int) -> tuple[Textless, ...]:
    """Judge the same mails by a group as it is and by one that uses hyperscan."""
    if not prefilter.is_installed():
        return ()
    rules = read(rule_workload.textless(count))
    plain, fast = compiled(rules), compiled(rules)
    made = asyncio.run(accelerate([fast]))
    found = []
    for octets in sizes:
        mails = rule_workload.mails(octets, max(6, messages * 4096 // octets))
        slow, quick = ([_fired(group, mail) for mail in mails * 2][len(mails) :] for group in (plain, fast))
        found.append(
            Textless(
                rules=made.asked,
                taken=made.taken,
                compile_seconds=made.seconds,
                octets=octets,
                re2_ms=median(took for _, took in slow),
                hyperscan_ms=median(took for _, took in quick),
                equal=[names for names, _ in slow] == [names for names, _ in quick],
                reasons=made.reasons,
            )
        )
    return tuple(found)


def _fired(group: RuleGroup, mail: bytes) -> tuple[list[str], float]:
    tx = transaction(mail)
    began = time.thread_time()
    outcome = judge(RuleSet((group,)), MailFacts(tx, {}, SystemClock()), Moment.RESULTS)
    return [each.rule.name for each in outcome.fired], (time.thread_time() - began) * 1000


def resident_mib() -> float:
    """Memory of this process, as measure.py counts it."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found[1]) / _KIBI if found else 0.0


def measure(counts: Sequence[int], sizes: Sequence[int], messages: int) -> Results:
    """Measure everything."""
    judged: list[Judging] = []
    loaded: list[Loading] = []
    for count in counts:
        found, rules, group = loading(rule_workload.rules(count))
        loaded.append(found)
        # As a worker does at start: what stays is left out of garbage collection.
        gc.collect()
        gc.freeze()
        judged.extend(judging(rules, group, octets, max(6, messages * 4096 // octets)) for octets in sizes)
    return Results(
        judging=tuple(judged), loading=tuple(loaded), textless=textless(TEXTLESS, (*sizes[:2], sizes[3]), messages // 4)
    )


def show(results: Results, out: Console) -> None:
    """Print the tables."""
    table = Table(
        title="Added to a message, ms", caption="CPU time; parsed, decoded, normalised and judged from scratch"
    )
    for column in ("rules", "mail", "median", "p99", "target", "stdlib re loop", "fired"):
        table.add_column(column, justify="right")
    for each in results.judging:
        target = f"< {each.target_ms:g}" if each.target_ms is not None else ""
        table.add_row(
            f"{each.rules:,}",
            f"{each.octets // _KIBI} KB",
            f"{each.median_ms:.2f}",
            f"{each.p99_ms:.2f}",
            target,
            f"{each.stdlib_ms:.0f}",
            f"{each.fired:.1f}",
        )
    out.print(table)
    table = Table(title="Loading")
    for column in (
        "rules",
        "read and checked, s",
        "compiled, s",
        "memory, MiB",
        "loop waited, ms",
        "beside counting, ms",
    ):
        table.add_column(column, justify="right")
    for load in results.loading:
        table.add_row(
            f"{load.rules:,}",
            f"{load.read_seconds:.2f}",
            f"{load.compile_seconds:.2f}",
            f"{load.memory_mib:.0f}",
            f"{load.lag_ms:.1f}",
            f"{load.busy_lag_ms:.1f}",
        )
    out.print(table)


def show_textless(measured: Sequence[Textless], out: Console) -> None:
    """Print what hyperscan saves."""
    if not measured:
        out.print("hyperscan is not installed: patterns without fixed text were not measured")
        return
    first = measured[0]
    title = f"{first.rules:,} patterns without fixed text, ms a message"
    said = f"{first.taken:,} taken by hyperscan in {first.compile_seconds:.1f} s, beside the mail"
    table = Table(title=title, caption="; ".join([said, *first.reasons]))
    for column in ("mail", "RE2 alone", "with hyperscan", "same rules fired"):
        table.add_column(column, justify="right")
    for each in measured:
        same = "yes" if each.equal else "NO"
        table.add_row(f"{each.octets // _KIBI} KB", f"{each.re2_ms:.2f}", f"{each.hyperscan_ms:.2f}", same)
    out.print(table)


def main(words: list[str] | None = None) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=int, nargs="+", default=COUNTS, metavar="N", help="how many rules")
    parser.add_argument("--messages", type=int, default=200, metavar="N", help="mails of 4 KB; fewer of larger sizes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every figure")
    chosen = parser.parse_args(words)
    results = measure(chosen.rules, SIZES, chosen.messages)
    out = Console(width=None if Console().is_terminal else 120)
    show(results, out)
    show_textless(results.textless, out)
    if chosen.json:
        chosen.json.write_text(json.dumps(asdict(results), indent=2) + "\n")
    for missed in results.missed:
        print(f"missed: {missed}", file=sys.stderr)
    return 1 if results.missed else 0


if __name__ == "__main__":
    sys.exit(main())
