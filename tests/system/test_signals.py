"""What breaks if these fail: a stop, a restart or a dying process loses mail, cuts a client off or leaves a process."""

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.system.parts import Gateway, Wire, message, processes_of, settings, to_maildir, to_server, trace_id, until


@pytest.fixture
def gateway(new_gateway: Callable[[], Gateway]) -> Gateway:
    """Two workers; dead.test's server is not there."""
    found = new_gateway()
    found.configure(
        settings(workers=2, more='[metrics]\naddress = "127.0.0.1:0"\n'),
        {"box": to_maildir("box.test"), "dead": to_server("dead.test", url="smtp://127.0.0.1:1")},
    )
    return found.start()


@pytest.fixture(scope="module")
def lasting(shared_gateway: Callable[[], Gateway]) -> Gateway:
    """The same, for what it survives."""
    found = shared_gateway()
    found.configure(
        settings(workers=2),
        {"box": to_maildir("box.test"), "dead": to_server("dead.test", url="smtp://127.0.0.1:1")},
    )
    return found.start()


def connected(gateway: Gateway, count: int) -> list[Wire]:
    """Return greeted sessions; the kernel spreads them over the workers."""
    wires = [gateway.connect() for _ in range(count)]
    for wire in wires:
        wire.hello()
    return wires


def turned_away(gateway: Gateway) -> bool:
    """Tell whether a new client is refused, and not left waiting."""
    try:
        wire = Wire(gateway.port(), seconds=5)
    except OSError:
        return True
    with wire:
        return wire.reply()[:3] in {"", "421"}


def test_sigterm_finishes_what_runs_tells_the_others_and_leaves_no_process(gateway: Gateway) -> None:
    for number in range(3):
        gateway.mail(f"waiting{number}@dead.test")
    running, idle = connected(gateway, 4), connected(gateway, 4)
    for wire in running:
        wire.begin("last@box.test")
    gateway.process.send_signal(signal.SIGTERM)
    # RFC 5321 §3.8: whoever has nothing open is told, not cut off.
    assert {wire.reply()[:9] for wire in idle} == {"421 4.3.2"}
    gateway.await_line("state=draining", count=2)
    assert gateway.process.poll() is None
    ready = gateway.ask("status", "--json")
    assert ready.status == 1
    assert ready.json()["reason"] == "draining"
    assert turned_away(gateway)
    replies = [wire.finish(message()) for wire in running]
    assert {reply[:9] for reply in replies} == {"250 2.0.0"}
    assert {wire.reply()[:9] for wire in running} == {"421 4.3.2"}
    for wire in (*running, *idle):
        wire.close()
    began = time.monotonic()
    assert gateway.process.wait(15) == 0
    assert time.monotonic() - began < 10
    assert not processes_of(gateway.folder)
    assert not (gateway.data / "control.sock").exists()
    # Acknowledged is kept: delivered before the end, or from the spool by the next start.
    gateway.start()
    gateway.await_maildir("last@box.test", 4)
    assert sorted(copy["recipient"] for copy in gateway.queue()) == [f"waiting{n}@dead.test" for n in range(3)]


def test_the_queue_is_listed_and_changed_while_stopped(gateway: Gateway) -> None:
    kept, dropped = (trace_id(gateway.mail(f"{name}@dead.test")) for name in ("kept", "dropped"))
    gateway.stop()
    assert gateway.states() == {"kept@dead.test": "queued", "dropped@dead.test": "queued"}
    assert "kept@dead.test" in gateway.run("queue", "show", kept).out
    assert gateway.ask("queue", "hold").out == "2 copies held\n"
    assert gateway.ask("queue", "drop", dropped).out == "1 copy dropped\n"
    assert gateway.ask("queue", "release", kept).out == "1 copy released\n"
    assert gateway.ask("queue", "flush").out == "1 copy made due now\n"
    gateway.write_policy("dead", to_maildir("dead.test"))
    gateway.start()
    gateway.await_maildir("kept@dead.test")
    until(lambda: not gateway.queue())
    assert "operator" in gateway.ask("trace", dropped).out


def test_a_killed_worker_is_replaced_and_mail_goes_on(lasting: Gateway) -> None:
    for number in range(4):
        lasting.mail(f"before{number}@dead.test")
    before = lasting.workers()
    os.kill(before[0], signal.SIGKILL)
    # The other worker serves meanwhile, and what waits at the dead one's socket is served by its successor.
    for number in range(10):
        assert lasting.mail(f"during{number}@box.test").startswith("250")
    lasting.await_line("worker=0", "state=died", "exit status -9")
    lasting.await_line("worker=0", "state=serving", count=2)
    after = lasting.workers()
    assert after[0] != before[0]
    assert after[1] == before[1]
    for number in range(10):
        lasting.await_maildir(f"during{number}@box.test")
    until(lambda: lasting.ask("status").status == 0)
    assert len(lasting.queue("--domain", "dead.test")) == 4


def test_what_forks_workers_is_replaced_when_it_is_killed_and_mail_never_notices(lasting: Gateway) -> None:
    before, killed = lasting.workers(), until(lasting.nursery)
    os.kill(killed, signal.SIGKILL)
    for number in range(10):
        assert lasting.mail(f"on{number}@box.test").startswith("250")
    lasting.await_line("the nursery ended, exit status -9")
    assert lasting.workers() == before
    until(lambda: lasting.ask("status").status == 0)
    # Whose parent is gone is replaced as ever, by the next one's child.
    os.kill(before[1], signal.SIGKILL)
    lasting.await_line("worker=1", "state=died")
    after = until(lambda: len(found := lasting.workers()) == 2 and found)
    assert after[1] != before[1]
    until(lambda: lasting.ask("status").status == 0)
    assert lasting.nursery() not in {None, killed}
    for number in range(10):
        lasting.await_maildir(f"on{number}@box.test")


def test_a_killed_writer_costs_a_moment_and_nothing_that_was_acknowledged(lasting: Gateway) -> None:
    acknowledged, told = [], []
    before = lasting.writers()
    assert sorted(before) == [0, 1]
    with lasting.connect() as wire:
        wire.hello()
        for number in range(60):
            if number in {10, 30}:
                for pid in lasting.writers().values():
                    os.kill(pid, signal.SIGKILL)
            reply = wire.mail(f"w{number}@box.test", content=message())
            # Nothing but a 4yz while there is no store (RFC 5321 §4.2.1), never a hang or a lost session.
            assert reply[:3] == "250" or reply[0] == "4", reply
            (acknowledged if reply[:3] == "250" else told).append(number)
            if reply[:3] != "250":
                wire.say("RSET")
        assert reply.startswith("250"), reply
    assert len(acknowledged) >= 50
    for number in acknowledged:
        lasting.await_maildir(f"w{number}@box.test")
    until(lambda: not lasting.queue("--domain", "box.test"))
    assert set(lasting.writers().values()).isdisjoint(before.values())
    lasting.await_line("error storage_failed", "its writer process ended (-9)")


def test_a_killed_supervisor_takes_its_workers_along_and_a_new_start_works_at_once(gateway: Gateway) -> None:
    gateway.mail("waiting@dead.test")
    # Enough sessions that each worker has one.
    running, *slow = connected(gateway, 9)
    for wire in (running, *slow):
        wire.begin("last@box.test")
    workers = set(gateway.workers().values())
    # In service the port is the same one after the start.
    gateway.path.write_text(gateway.path.read_text().replace("127.0.0.1:0", f"127.0.0.1:{gateway.port()}", 1))
    gateway.process.kill()
    gateway.process.wait()
    # Each worker lets its clients end within seconds of hearing that it is alone; neither need wait for the other.
    gateway.await_line("state=draining")
    assert running.finish(message()).startswith("250")
    gateway.await_line("state=draining", count=2)
    # Clients in the middle of their mail keep the successor waiting for seconds, not from serving.
    gateway.start()
    assert gateway.mail("new@box.test").startswith("250")
    gateway.await_maildir("last@box.test")
    gateway.await_maildir("new@box.test")
    until(lambda: workers.isdisjoint(processes_of(gateway.folder)), what="the end of the old workers")
    assert {wire.reply()[:9] for wire in slow} == {"421 4.3.2"}
    until(lambda: gateway.ask("status").status == 0)
    assert gateway.states() == {"waiting@dead.test": "queued"}


def test_everything_killed_at_once_loses_nothing_and_starts_again(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        wire.hello()
        for number in range(50):
            assert wire.mail(f"k{number}@dead.test", content=message()).startswith("250")
    gateway.kill()
    gateway.write_policy("dead", to_maildir("dead.test"))
    gateway.start()
    # What waited for a dead next hop was put off by the minute; whoever corrects the next hop flushes.
    gateway.ask("queue", "flush")
    for number in range(50):
        gateway.await_maildir(f"k{number}@dead.test")
    until(lambda: not gateway.queue())


def test_fewer_workers_adopt_what_the_others_left(gateway: Gateway) -> None:
    for number in range(12):
        gateway.mail(f"a{number}@dead.test")
    until(lambda: len(gateway.queue()) == 12)
    gateway.stop()
    gateway.path.write_text(gateway.path.read_text().replace("workers = 2", "workers = 1"))
    gateway.start()
    assert len(gateway.queue()) == 12
    gateway.write_policy("dead", to_maildir("dead.test"))
    assert gateway.ask("reload").status == 0
    gateway.ask("queue", "flush")
    for number in range(12):
        gateway.await_maildir(f"a{number}@dead.test")
