"""CPU time of the pipeline for one plain mail: ``python tests/pipeline/benchmark.py``, by hand, on a quiet machine.

RCPT, the final dot and the spool's entry, of a mail of 9 KB with 20 fields and one recipient. The target is 120 µs;
the pipeline is a quarter of what 1,000 messages a second on two cores leave for everything.
"""

import asyncio
import importlib.util
import tempfile
import time
from pathlib import Path

from gateway.clock import SystemClock
from gateway.config.loader import load
from gateway.dns.zone import ZoneResolver
from gateway.filters import catalogue
from gateway.journal.sinks import Recorded
from gateway.mail.content import Content
from gateway.mail.transaction import Transaction
from gateway.pipeline.gate import Gate

MESSAGES = 2000
RUNS = 10

_spec = importlib.util.spec_from_file_location("tools", Path(__file__).with_name("conftest.py"))
tools = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tools)

HOP = (
    b"Received: from a.b.test (a.b.test [192.0.2.9])\r\n\tby relay.sender.test with ESMTPS id 123\r\n"
    b"\tfor <b@ours.test>; Tue, 01 Sep 2026 10:00:00 +0000\r\n"
)
FIELDS = b"".join(b"X-Field-%d: some value that is about forty octets long\r\n" % number for number in range(13))
MAIL = HOP * 2 + FIELDS + tools.MAIL + (b"x" * 76 + b"\r\n") * 105


def gate() -> Gate:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policies").mkdir()
        (folder / "policies" / "ours.toml").write_text(tools.OURS["ours"], encoding="utf-8")
        (folder / "tidegate.toml").write_text(tools.MAIN, encoding="utf-8")
        snapshot = load(folder / "tidegate.toml", catalogue())
    world = {"resolver": ZoneResolver(), "clock": SystemClock(), "verifier": tools.Answers(), "events": Recorded()}
    return Gate(snapshot, filters=catalogue(), **world)


async def judge(subject: Gate, messages: int) -> None:
    connection, envelope, recipient = tools.connection(), tools.from_("a@sender.test"), tools.to("b@ours.test")
    now = SystemClock().stamp()
    for _ in range(messages):
        await subject.judge_recipient(connection, envelope, recipient, (), tools.TRACE_ID)
        tx = Transaction(
            trace_id=tools.TRACE_ID,
            connection=connection,
            envelope=envelope,
            recipients=(recipient,),
            content=Content(MAIL),
            enveloped=now,
            received=now,
        )
        subject.entry(tx, await subject.judge_content(tx), now)


def microseconds(subject: Gate) -> float:
    begun = time.process_time()
    asyncio.run(judge(subject, MESSAGES))
    return (time.process_time() - begun) / MESSAGES * 1e6


if __name__ == "__main__":
    compiled = gate()
    runs = sorted(microseconds(compiled) for _ in range(RUNS))
    print(f"{len(MAIL)} octets: best {runs[0]:.0f}, median {runs[RUNS // 2]:.0f} microseconds a message")
