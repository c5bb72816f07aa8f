"""What breaks if these fail: a disk that is full or cannot be written loses mail, or takes the gateway down with it."""

import contextlib
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.parts import Gateway, message, settings, to_maildir, to_server, trace_id, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which only root can")


def run(*command: str) -> str:
    """Run a program of the machine's owner; the test is skipped, with its words, where it cannot."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"{' '.join(command)}: {result.stderr.strip()}")
    return result.stdout.strip()


def unmount(folder: Path) -> None:
    # A process that was killed keeps its files for a moment longer than its name.
    command = ["umount", str(folder)]
    until(lambda: subprocess.run(command, capture_output=True, check=False).returncode == 0, what="umount")


@pytest.fixture
def gateway(new_gateway: Callable[[], Gateway]) -> Iterator[Gateway]:
    """A gateway whose data are on a file system of 48 MiB of their own; dead.test's server is not there."""
    found = new_gateway()
    found.data.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(found.data))
    try:
        yield found
    finally:
        found.destroy()
        unmount(found.data)


def configure(gateway: Gateway, floor: str) -> None:
    more = f'[limits]\nfree_disk_floor = "{floor}"\n[metrics]\naddress = "127.0.0.1:0"\n'
    gateway.configure(
        settings(more=more),
        {"box": to_maildir("box.test"), "dead": to_server("dead.test", url="smtp://127.0.0.1:1")},
    )


def fill(path: Path, *, leave: int) -> None:
    """Take all room but so many octets."""
    free = os.statvfs(path.parent).f_bavail * os.statvfs(path.parent).f_frsize
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        file.write(b"x" * max(0, free - leave))


def readiness(gateway: Gateway) -> int:
    try:
        with urllib.request.urlopen(f"{gateway.metrics_url()}/readyz") as answer:  # noqa: S310 - our own http URL
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_below_the_floor_mail_is_put_off_and_above_it_taken_again(gateway: Gateway) -> None:
    configure(gateway, "8M")
    gateway.start()
    assert gateway.mail("before@box.test").startswith("250")
    ballast = gateway.data / "ballast"
    fill(ballast, leave=4 * 1024**2)
    # Free space is asked for once a second.
    until(lambda: gateway.mail("during@box.test").startswith("452 4.3.1"), what="452 4.3.1")
    with gateway.connect() as wire:
        wire.hello()
        assert wire.say("MAIL FROM:<anna@senders.test> SIZE=3000000").startswith("452 4.3.1")
        # RFC 5321 §4.2.1: the session goes on.
        assert wire.say("NOOP").startswith("250")
    ballast.unlink()
    until(lambda: gateway.mail("after@box.test").startswith("250"), what="mail to be taken again")
    gateway.await_maildir("after@box.test")


def test_a_full_disk_is_a_452_and_an_error_line_and_nothing_is_lost(gateway: Gateway) -> None:
    """No floor: the disk itself says when it is full."""
    configure(gateway, "0")
    gateway.start()
    waiting = [trace_id(gateway.mail(f"w{number}@dead.test")) for number in range(3)]
    ballast = gateway.data / "ballast"
    fill(ballast, leave=64 * 1024)
    body = "\r\n".join(["x" * 70] * 1000)
    taken, refused = [], ""
    for number in range(60):
        reply = gateway.mail(f"n{number}@dead.test", content=message(body=body))
        if not reply.startswith("250"):
            refused = reply
            break
        taken.append(trace_id(reply))
    assert re.match(r"452 4\.3\.1 \[\w+\] ", refused), refused
    gateway.await_line("error storage_failed", "store=spool")
    # Small mail, large mail, chunks: the same answer, and the session goes on.
    with gateway.connect() as wire:
        wire.hello()
        for content in (message(body=body), message(body="\r\n".join(["y" * 70] * 10_000))):
            assert wire.mail("big@dead.test", content=content).startswith("452 4.3.1")
            assert wire.say("RSET").startswith("250")
    assert gateway.process.poll() is None
    assert len(gateway.workers()) == 1
    ballast.unlink()
    assert gateway.mail("after@box.test").startswith("250")
    gateway.await_maildir("after@box.test")
    gateway.stop()
    kept = {copy["id"] for copy in gateway.queue()}
    assert kept == {*waiting, *taken}


def test_what_cannot_be_written_is_delivered_no_second_time_when_there_is_room(gateway: Gateway) -> None:
    """The next hop has the mail; while the disk is full nobody can note that, and it is not sent again meanwhile."""
    configure(gateway, "0")
    gateway.start()
    with gateway.connect() as wire:
        wire.hello()
        wire.begin("once@box.test")
        ballast = gateway.data / "ballast"
        fill(ballast, leave=0)
        reply = wire.finish(message())
    ballast.unlink()
    if reply.startswith("250"):
        gateway.await_maildir("once@box.test")
    until(lambda: not gateway.queue())
    gateway.stop()
    gateway.start()
    assert len(gateway.maildir("once@box.test")) == (1 if reply.startswith("250") else 0)


@pytest.fixture
def disk(new_gateway: Callable[[], Gateway]) -> Iterator[Gateway]:
    """A gateway whose data are on a disk that can be made to fail: ext4 in a file."""
    found = new_gateway()
    found.data.mkdir()
    image = found.folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(64 * 1024**2)
    run("mkfs.ext4", "-q", str(image))
    run("mount", "-o", "loop,errors=remount-ro", str(image), str(found.data))
    try:
        yield found
    finally:
        found.destroy()
        unmount(found.data)


def fail(gateway: Gateway) -> None:
    """Let the disk report an error, on which the kernel makes the file system read-only."""
    device = Path(run("findmnt", "-n", "-o", "SOURCE", str(gateway.data))).name
    trigger = Path(f"/sys/fs/ext4/{device}/trigger_fs_error")
    if not trigger.exists():
        pytest.skip(f"this kernel has no {trigger}")
    trigger.write_text("1\n")
    with pytest.raises(OSError, match="Read-only"):
        (gateway.data / "probe").touch()


def test_a_disk_that_turns_read_only_puts_mail_off_and_says_so_and_loses_nothing(disk: Gateway) -> None:
    configure(disk, "1M")
    disk.start()
    waiting = trace_id(disk.mail("waiting@dead.test"))
    until(lambda: readiness(disk) == 200)
    disk.await_line("delivery_attempted", waiting, "status=deferred")
    fail(disk)
    for content in (message(), message(body="\r\n".join(["y" * 70] * 10_000))):
        reply = disk.mail("during@box.test", content=content)
        assert reply[0] == "4", reply
    disk.await_line("error storage_failed")
    until(lambda: readiness(disk) == 503, what="/readyz to say 503")
    answer = disk.ask("status")
    assert answer.status == 1
    assert "takes no mail: worker 0 is failing" in answer.out
    assert disk.process.poll() is None
    # What cannot be written does not keep the gateway from ending.
    assert disk.stop() == 0
    unmount(disk.data)
    image = str(disk.folder / "disk.img")
    subprocess.run(["e2fsck", "-p", image], capture_output=True, check=False)
    run("mount", "-o", "loop", image, str(disk.data))
    disk.start()
    assert [copy["id"] for copy in disk.queue()] == [waiting]
    assert disk.mail("after@box.test").startswith("250")
    disk.await_maildir("after@box.test")


def test_a_start_on_a_read_only_file_system_says_so_in_a_line(gateway: Gateway) -> None:
    configure(gateway, "1M")
    run("mount", "-o", "remount,ro", str(gateway.data))
    answer = gateway.run("serve")
    assert answer.status == 75
    assert answer.err == f"tidegate: {gateway.data}/tidegate.pid: Read-only file system\n"
