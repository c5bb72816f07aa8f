"""What breaks if these fail: an operator cannot do on the day what the page says, or the night's backup does not come.

A real gateway, whose next hop does not answer, so that what is acknowledged stays in custody.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.config.service_level import ServiceTerms
from gateway.journal.reader import JournalReader
from gateway.servicelevel.book import Writer
from gateway.servicelevel.records import Records
from tests.system.conftest import new_gateway, new_sink  # noqa: F401 - fixtures
from tests.system.parts import Gateway, Sink, message, message_id, run_command, settings, to_maildir, to_server, until

pytestmark = pytest.mark.timeout(180)


def configure(gateway: Gateway, url: str, more: str = "") -> None:
    table = f'[backup]\nfolder = "backup"\nkey = "backup.key"\ndrill = "0s"\nrate = 0\n{more}'
    gateway.configure(settings(workers=2, more=table), {"box": to_server("box.test", url=url)})


def made(gateway: Gateway) -> Gateway:
    assert gateway.ask("backup", "init").status == 0
    return gateway


def new_key(gateway: Gateway) -> None:
    answer = run_command("backup", "key", str(gateway.folder / "backup.key"), folder=gateway.folder)
    assert answer.status == 0, answer


def backup(gateway: Gateway, *options: str) -> dict:
    answer = gateway.ask("backup", "run", "--json", *options)
    assert answer.status == 0, answer
    return json.loads(answer.out)


def test_under_load_a_full_run_and_three_increments_then_the_disaster(
    new_gateway: Callable[[], Gateway],  # noqa: F811 - a fixture
    new_sink: Callable[..., Sink],  # noqa: F811 - as above
    tmp_path: Path,
):
    """Every message acknowledged before the last increment and not delivered is delivered exactly once."""
    gateway, sink = new_gateway(), new_sink()
    sink.stop()
    configure(gateway, sink.url())
    new_key(gateway)
    backup(made(gateway))
    gateway.start()
    acknowledged: list[str] = []
    enough = threading.Event()

    def load() -> None:
        while not enough.wait(0.05):
            # Every fifth is a file of its own.
            body = "x" * 78 + "\r\n"
            content = message(body=body * (2000 if len(acknowledged) % 5 == 4 else 10))
            reply = gateway.mail("ben@box.test", content=content)
            assert reply.startswith("250"), reply
            acknowledged.append(message_id(content))

    thread = threading.Thread(target=load)
    thread.start()
    before: list[str] = []
    try:
        until(lambda: len(acknowledged) >= 10, what="mail under way")
        for number in range(4):
            before = list(acknowledged)
            found = backup(gateway, *(["--full"] if number == 0 else []))
            assert found["kind"] == ("full" if number == 0 else "increment")
            assert found["messages"] >= len(before)
            until(lambda: len(acknowledged) >= len(before) + 5, what="mail beside the backup")  # noqa: B023 - at once
    finally:
        enough.set()
        thread.join()
    gateway.destroy()
    shutil.rmtree(gateway.data)

    verified = gateway.ask("backup", "verify", "--json")
    assert verified.status == 0, verified
    assert json.loads(verified.out)["restores"]["messages"] >= len(before)
    # On a new machine there is no configuration: folder and key say it all.
    options = ("--folder", str(gateway.folder / "backup"), "--key", str(gateway.folder / "backup.key"))
    restored = run_command("backup", "restore", "--into", str(tmp_path / "restored"), *options, folder=tmp_path)
    assert restored.status == 0, restored
    assert "is not in it" in restored.out
    (tmp_path / "restored/data").rename(gateway.data)
    assert (tmp_path / "restored/configuration/policies/box.toml").read_bytes() == (
        gateway.folder / "policies/box.toml"
    ).read_bytes()

    sink.start()
    gateway.start()
    # The next hop was dead before: what waits for it has its times, and the operator brings them forward.
    assert gateway.ask("queue", "flush").status == 0
    delivered = until_delivered(gateway, sink, before)
    assert {name: delivered.count(name) for name in before} == dict.fromkeys(before, 1)


def until_delivered(gateway: Gateway, sink: Sink, wanted: list[str]) -> list[str]:
    """Return the Message-IDs that arrived, once all wanted have, and the queue is empty."""

    def arrived() -> list[str]:
        dumps = b"\n".join(sink.messages()).decode("utf-8", "replace")
        return [line[13:-1] for line in dumps.splitlines() if line.startswith("Message-ID: <")]

    until(lambda: set(wanted) <= set(arrived()), seconds=60, what="every message of the last backup")
    until(lambda: not gateway.queue(), seconds=60, what="an empty queue")
    return arrived()


def test_the_month_is_reported_as_it_was(new_gateway: Callable[[], Gateway], tmp_path: Path):  # noqa: F811 - a fixture
    """contract.md, monthly service report: reproducible later from the stored evidence."""
    gateway = new_gateway()
    configure(gateway, "smtp://127.0.0.1:1?tls=none")
    gateway.write_policy("box", to_maildir("box.test"))
    new_key(gateway)
    backup(made(gateway))
    gateway.start()
    for _ in range(5):
        assert gateway.mail("ben@box.test").startswith("250")
    gateway.await_maildir("ben@box.test", 5)
    until(lambda: not gateway.queue(), what="an empty queue")
    assert gateway.stop() == 0
    # So that the customer is on record, however soon the gateway puts it there itself.
    Writer(Records(gateway.data), time.time() - 60, "test").set_terms("box", ServiceTerms(), {"box.test": "ours"})
    backup(gateway)

    def report() -> dict:
        answer = gateway.ask("sla", "report", "--customer", "box", "--format", "json")
        assert answer.status in {0, 1}, answer
        assert answer.out, answer
        return json.loads(answer.out)

    before = report()
    gateway.data.rename(tmp_path / "lost")
    assert gateway.ask("backup", "restore", "--into", str(tmp_path / "restored")).status == 0
    (tmp_path / "restored/data").rename(gateway.data)
    after = report()
    assert clauses(after) == clauses(before) != []


def clauses(report: dict) -> list[dict]:
    """Return what was judged, but the backup's own clause: its last run is put on record when it has ended."""
    return [each for each in report["clauses"] if each["clause"] != "7"]


def test_the_drill_proves_a_backup_and_is_on_record(new_gateway: Callable[[], Gateway]):  # noqa: F811 - a fixture
    gateway = new_gateway()
    configure(gateway, "smtp://127.0.0.1:1?tls=none")
    new_key(gateway)
    # So that the schedule has nothing to do.
    backup(made(gateway))
    gateway.start()
    for _ in range(3):
        assert gateway.mail("ben@box.test").startswith("250")
    backup(gateway)
    answer = gateway.ask("backup", "drill", "--json")
    assert answer.status == 0, answer
    found = json.loads(answer.out)
    assert (found["passed"], found["copies"], found["notes"]) == (True, {"held": 3}, [])
    listed = json.loads(gateway.ask("backup", "list", "--json").out)
    assert [each["run"] for each in listed["drills"]] == [found["run"]]
    gateway.await_line("backup_finished", "3 messages in custody")
    gateway.await_line("backup_drilled", "result=passed")
    # What waited waits on: the drill's gateway delivered and changed nothing of ours.
    assert len(gateway.queue()) == 3


def test_the_gateway_backs_itself_up_and_says_when_it_cannot(
    new_gateway: Callable[[], Gateway],  # noqa: F811 - as above
):
    gateway = new_gateway()
    configure(gateway, "smtp://127.0.0.1:1?tls=none")
    new_key(gateway)
    gateway.start()
    gateway.await_line("backup_failed", "state=failed", "is no backup folder")
    assert gateway.stop() == 0
    made(gateway).start()
    gateway.await_line("backup_finished", "type=full", "deadline met", seconds=60)
    (found,) = json.loads(gateway.ask("backup", "list", "--json").out)["backups"]
    assert found["kind"] == "full"
    # contract.md §7: its clocks run from now on.
    records = (gateway.data / "servicelevel" / "records.jsonl").read_text(encoding="utf-8")
    assert '"backup-incremental"' in records
    assert '"backup-full"' in records


def test_what_an_operator_hears_when_something_is_wrong(new_gateway: Callable[[], Gateway]):  # noqa: F811 - as above
    gateway = new_gateway()
    configure(gateway, "smtp://127.0.0.1:1?tls=none")
    new_key(gateway)
    unmounted = gateway.ask("backup", "run")
    assert (unmounted.status, "mounted" in unmounted.err) == (1, True)
    # A run by hand that comes to nothing is an alarm like the schedule's.
    journal = JournalReader(gateway.data / "journal")
    [alarm] = journal.of_kind("backup_failed", 0.0)
    journal.close()
    assert (alarm.state, "mounted" in alarm.reason) == ("failed", True)
    made(gateway)
    assert gateway.ask("backup", "init").status == 1
    nothing = gateway.ask("backup", "list")
    assert (nothing.status, "no finished backup" in nothing.err) == (1, True)
    backup(gateway)
    (pack,) = (gateway.folder / "backup").glob("chain-*/*.pack")
    octets = bytearray(pack.read_bytes())
    octets[100] ^= 1
    pack.write_bytes(octets)
    damaged = gateway.ask("backup", "verify")
    assert damaged.status == 65
    assert f"DAMAGED {pack} at octet 0" in damaged.err
    assert gateway.ask("backup", "restore", "--into", str(gateway.folder / "x")).status == 65
    assert run_command("backup", "key", str(gateway.folder / "backup.key"), folder=gateway.folder).status == 1
    kept = gateway.ask("backup", "keep", "anna@box.test", "--reason", "sent spam")
    assert "anna@box.test stay until" in kept.out
    # contract.md §6: every operator's action is on record, above all who takes mail out of a backup.
    acts = [(e["operation"], e["target"]) for e in json.loads(gateway.ask("audit", "--json").out)]
    (run,) = [path.parent.name for path in (gateway.folder / "backup").glob("chain-*/0000.manifest")]
    assert acts == [("backup run", f"{run}/0000"), ("backup restore", f"{run}/0000"), ("backup keep", "anna@box.test")]
