"""What breaks if these fail: a worker's death, an operator's edit and a stop, in any order, cost mail or a worker."""

import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from gateway.app.descriptors import WANTED
from tests.system.parts import Gateway, message, settings, to_maildir, until

TWO = settings(workers=2)


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of two workers for box.test, gone with the test."""
    with ExitStack() as stack:
        made = Gateway(tmp_path_factory.mktemp("gateway"))
        stack.callback(made.destroy)
        made.configure(TWO, {"box": to_maildir("box.test")})
        yield made.start()


def digests(gateway: Gateway) -> list[str]:
    return [worker["digest"] for worker in gateway.status()["workers"]]


def kill_worker(gateway: Gateway, number: int) -> int:
    pid = gateway.workers()[number]
    os.kill(pid, signal.SIGKILL)
    return pid


def replaced(gateway: Gateway, number: int, pid: int) -> Callable[[], bool]:
    def is_so() -> bool:
        found = gateway.status()["workers"]
        return len(found) == 2 and any(w["worker"] == number and w["pid"] not in (pid, 0) for w in found)

    return is_so


@pytest.mark.parametrize("broken", ['domains = ["box.test"]\nnext_hop = 5\n', "half an ed", ""])
def test_invariant_10_a_worker_that_starts_again_serves_what_the_others_serve(gateway: Gateway, broken: str) -> None:
    """Files that do not load, or that nobody has reloaded, must not keep a worker from coming back."""
    before = digests(gateway)
    gateway.write_policy("box", broken)
    gateway.write_policy("added", to_maildir("added.test"))
    until(replaced(gateway, 1, kill_worker(gateway, 1)), what="the next worker")
    assert digests(gateway) == before
    # Enough sessions that both workers have some.
    assert {gateway.mail("anna@box.test")[:3] for _ in range(8)} == {"250"}
    assert {gateway.mail("anna@added.test")[:3] for _ in range(8)} == {"550"}
    gateway.await_maildir("anna@box.test", 8)


def test_a_reload_while_a_worker_starts_again_leaves_none_behind(gateway: Gateway) -> None:
    for number in range(6):
        pid = kill_worker(gateway, number % 2)
        # From before the death is noticed to after the next one serves.
        time.sleep(number * 0.15)
        gateway.write_policy("added", to_maildir(f"added{number}.test"))
        answer = gateway.ask("reload")
        assert answer.status == 0, answer
        wanted = answer.out.split()[-2]
        until(replaced(gateway, number % 2, pid), what="the next worker")
        until(lambda wanted=wanted: digests(gateway) == [wanted] * 2, what=f"both workers with {wanted}")


def test_while_it_drains_nobody_is_left_waiting_at_the_door(gateway: Gateway) -> None:
    """A connection that the kernel takes and no worker accepts would wait for minutes instead of trying another MX."""
    port = gateway.port()
    with gateway.connect() as wire:
        wire.hello()
        wire.begin("anna@box.test")
        assert gateway.process is not None
        gateway.process.terminate()
        until(lambda: len(gateway.lines("state=draining")) == 2, what="the drain")
        with pytest.raises(ConnectionRefusedError):
            until(lambda: socket.create_connection(("127.0.0.1", port), 5).close(), what="a refusal")
        # Whoever asks is answered until the end.
        assert "shutting down" in gateway.ask("reload").err
        assert gateway.status()["reason"] == "draining"
        assert wire.finish(message()).startswith("250")
    assert gateway.process.wait(30) == 0
    gateway.start()
    gateway.await_maildir("anna@box.test")


def test_workers_open_as_many_files_as_the_system_allows(tmp_path_factory: pytest.TempPathFactory) -> None:
    """With a shell's usual 1,024 the default 2,000 connections would keep mail from leaving."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    gateway.configure(settings(), {"box": to_maildir("box.test")})
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
        gateway.start()
        limits = resource.prlimit(gateway.workers()[0], resource.RLIMIT_NOFILE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        gateway.destroy()
    assert limits == (min(hard, WANTED), hard)


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.3])
def test_a_stop_while_a_worker_starts_is_obeyed_at_once(gateway: Gateway, delay: float) -> None:
    kill_worker(gateway, 0)
    time.sleep(delay)
    assert gateway.stop(seconds=20) == 0
