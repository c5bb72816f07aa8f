"""What breaks if these fail: one client's size, number or madness is every other client's trouble."""

import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.system.parts import (
    Gateway,
    Sink,
    Wire,
    message,
    settings,
    smtp_source,
    to_maildir,
    to_server,
    trace_id,
    until,
)

LINE = b"0123456789abcdef" * 4 + b"\r\n"
MEBIBYTE = 1024**2


@pytest.fixture
def gateway(new_gateway: Callable[[], Gateway]) -> Gateway:
    found = new_gateway()
    found.configure(settings(workers=2), {"box": to_maildir("box.test")})
    return found.start()


def resident(pid: int, what: str = "VmHWM") -> int:
    """Return a process's resident memory in octets: its peak, or now (VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)[1]) * 1024


def everybody(gateway: Gateway) -> dict[str, int]:
    """Return every process's peak of resident memory."""
    pids = {f"worker {n}": pid for n, pid in gateway.workers().items()}
    pids |= {f"writer {n}": pid for n, pid in gateway.writers().items()}
    return {name: resident(pid) for name, pid in (pids | {"supervisor": gateway.process.pid}).items()}


def send_large(gateway: Gateway, address: str, octets: int) -> str:
    with gateway.connect() as wire:
        wire.hello()
        assert wire.say(f"MAIL FROM:<anna@senders.test> SIZE={octets}").startswith("250")
        assert wire.say(f"RCPT TO:<{address}>").startswith("250")
        assert wire.say("DATA").startswith("354")
        wire.send(message().partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        block = LINE * 1000
        for _ in range(octets // len(block)):
            wire.send(block)
        return wire.finish(b"the end\r\n")


@pytest.mark.real
def test_fifty_megabytes_pass_in_bounded_memory(gateway: Gateway, new_sink: Callable[..., Sink]) -> None:
    sink = new_sink()
    gateway.write_policy("sink", to_server("sink.test", url=sink.url()))
    assert gateway.ask("reload").status == 0
    assert gateway.mail("warm@box.test", "warm@sink.test").startswith("250")
    gateway.await_line("delivery_attempted", "warm@sink.test", "status=sent")
    before = everybody(gateway)
    replies = [send_large(gateway, f"large{number}@sink.test", 50_000_000) for number in range(2)]
    assert {reply[:9] for reply in replies} == {"250 2.0.0"}
    for number in range(2):
        gateway.await_line("delivery_attempted", f"large{number}@sink.test", "status=sent")
    after = everybody(gateway)
    # A content beyond smtp.spill is a file; what is held of it are blocks and the header section.
    grown = {name: (after[name] - before[name]) // MEBIBYTE for name in after}
    assert max(grown.values()) < 16, grown
    for number in range(2):
        [dump] = sink.await_message(f"<large{number}@sink.test>")
        assert dump.count(LINE.replace(b"\r\n", b"\n")) == 50_000_000 // len(LINE * 1000) * 1000
        assert b"\nthe end\n" in dump
    assert not list((gateway.data / "spool/incoming").glob("*/*"))
    until(lambda: not list((gateway.data / "spool/content").glob("*/*/*")), what="the contents to be removed")


def test_more_than_the_announced_size_is_refused_early_or_at_the_end(gateway: Gateway) -> None:
    with gateway.connect() as wire:
        assert "SIZE 52428800" in wire.hello()
        assert wire.say("MAIL FROM:<anna@senders.test> SIZE=52428801").startswith("552 5.3.4")
    assert send_large(gateway, "exact@box.test", 50_000_000).startswith("250")
    with gateway.connect() as wire:
        wire.hello()
        wire.begin("over@box.test")
        sent = 0
        # The client may hear of it only after its final dot, or be cut off long before: never be taken.
        with suppress(ConnectionError):
            while sent < 60_000_000:
                wire.send(LINE * 10_000)
                sent += len(LINE) * 10_000
            wire.send(b".\r\n")
        assert wire.reply()[:9] in {"552 5.3.4", ""}
    assert not gateway.maildir("over@box.test")


# Nonsense beside real mail -------------------------------------------------------------------------------------------


def _random_octets(dice: random.Random) -> Iterator[bytes]:
    while True:
        yield dice.randbytes(dice.randint(1, 4096))


def _endless_line(_: random.Random) -> Iterator[bytes]:
    while True:
        yield b"x" * 8192


def _endless_data(_: random.Random) -> Iterator[bytes]:
    yield b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<endless@box.test>\r\nDATA\r\n"
    while True:
        yield b"y" * 8192


def _http(_: random.Random) -> Iterator[bytes]:
    yield b"POST /wp-login.php HTTP/1.1\r\nHost: mx\r\nContent-Length: 5000\r\n\r\n"
    while True:
        yield b"EHLO smuggled\r\nMAIL FROM:<evil@example>\r\n"


def _tls_hello(_: random.Random) -> Iterator[bytes]:
    while True:
        yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500


def _pipelined_nonsense(dice: random.Random) -> Iterator[bytes]:
    words = [
        b"MAIL FROM:<>",
        b"RCPT TO:<@>",
        b"DATA",
        b"BDAT 99999999999",
        b"RSET",
        b"\xff\xfe",
        b"AUTH PLAIN =",
        b"QUIT x",
    ]
    yield b"EHLO x\r\n"
    while True:
        yield b"".join(dice.choice(words) + b"\r\n" for _ in range(50))


def _broken_chunks(dice: random.Random) -> Iterator[bytes]:
    yield b"EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<broken@box.test>\r\nBDAT 1000000\r\n"
    while True:
        yield dice.randbytes(500)


NONSENSE = (
    _random_octets,
    _endless_line,
    _endless_data,
    _http,
    _tls_hello,
    _pipelined_nonsense,
    _broken_chunks,
)


def _pester(port: int, seed: int, stop: threading.Event) -> None:
    """Talk nonsense over one connection after the other until told to stop."""
    dice = random.Random(seed)  # noqa: S311 - nonsense that repeats
    while not stop.is_set():
        kind = NONSENSE[seed % len(NONSENSE)]
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.settimeout(0.5)
            for sent, octets in enumerate(kind(dice)):
                if stop.is_set() or sent > 300:
                    break
                connection.sendall(octets)
                # Some read their replies and some do not, some leave in the middle.
                if dice.random() < 0.3:
                    with suppress(TimeoutError):
                        connection.recv(65536)
                if dice.random() < 0.01:
                    break


@pytest.mark.real
def test_twenty_connections_of_nonsense_do_not_disturb_real_mail(
    gateway: Gateway, new_sink: Callable[..., Sink]
) -> None:
    sink = new_sink()
    gateway.write_policy("sink", to_server("sink.test", url=sink.url()))
    assert gateway.ask("reload").status == 0
    port, stop = gateway.port(), threading.Event()
    pests = [threading.Thread(target=_pester, args=(port, seed, stop), daemon=True) for seed in range(20)]
    for pest in pests:
        pest.start()
    try:
        began = time.monotonic()
        smtp_source(port, "-s", "4", "-m", "200", "-l", "8192", "-f", "load@senders.test", "-t", "load@sink.test")
        smtp_source(port, "-d", "-s", "2", "-m", "100", "-l", "1000", "-f", "load@senders.test", "-t", "load@sink.test")
        waits = []
        for number in range(20):
            asked = time.monotonic()
            assert gateway.mail(f"calm{number}@box.test").startswith("250 2.0.0")
            waits.append(time.monotonic() - asked)
        until(lambda: time.monotonic() - began > 5, what="five seconds of nonsense")
    finally:
        stop.set()
        for pest in pests:
            pest.join()
    sink.await_message("X-Rcpt-Args: <load@sink.test>", count=300)
    for number in range(20):
        assert len(gateway.await_maildir(f"calm{number}@box.test")) == 1
    assert sorted(waits)[-2] < 2, waits
    assert not gateway.maildir("broken@box.test")
    assert not gateway.maildir("endless@box.test")
    until(lambda: not gateway.queue(), what="an empty queue")
    assert not gateway.lines("state=died")
    # What the pests left is let go of: sessions, memory in flight, files.
    until(lambda: gateway.status()["sessions"] == 0, what="the end of every session")
    assert not list((gateway.data / "spool/incoming").glob("*/*"))
    assert gateway.mail("after@box.test", content=message(body="z" * 1_000_000)).startswith("250")
    assert trace_id(gateway.mail("after@box.test"))
    assert max(everybody(gateway).values()) < 200 * MEBIBYTE
    assert gateway.log_path.stat().st_size < 50 * MEBIBYTE


def test_connections_that_say_nothing_hold_up_nobody(gateway: Gateway) -> None:
    silent = [Wire(gateway.port()) for _ in range(200)]
    try:
        assert gateway.mail("beside@box.test").startswith("250")
        until(lambda: gateway.status()["sessions"] >= 200)
    finally:
        for wire in silent:
            wire.close()
    until(lambda: gateway.status()["sessions"] == 0)
