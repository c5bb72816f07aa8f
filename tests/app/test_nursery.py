"""What breaks if these fail: a worker does not begin clean, nobody hears of its end or can end it, or the death of
what forks workers takes mail with it.
"""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway.app.children import UNTOLD, Children, Cradle
from tests.system.parts import command_line

MODULE = "tests.app.small_nursery"
HOME = str(Path(__file__).parents[2])


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Children, list[str]]]:
    """A nursery of small_nursery, and what is said of it."""
    said: list[str] = []
    children = Children(Cradle(None, 0), said.append, MODULE)
    children._begin_again()
    try:
        yield children, said
    finally:
        await children.close()


async def so(condition: Callable[[], object]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def gone(pid: int) -> None:
    await so(lambda: not command_line(pid))


async def staying(children: Children) -> tuple[object, int]:
    """Return a child that is past its beginning, and the end of a pipe that closes with it."""
    reading, writing = os.pipe()
    child = await children.fork("stay", (), (writing,))
    os.close(writing)
    assert await asyncio.to_thread(os.read, reading, 4) == b"here"
    return child, reading


async def ended(reading: int) -> None:
    """Return when every process that held the other end is gone."""
    assert await asyncio.to_thread(os.read, reading, 1) == b""
    os.close(reading)


async def test_a_child_begins_as_a_fresh_process_does() -> None:
    async with serving() as (children, _):
        done = [await children.run("tell", ()) for _ in range(2)]
    assert [(each.status, each.err) for each in done] == [(0, b"so far")] * 2
    first, second = (json.loads(each.out) for each in done)
    # A terminal's Ctrl-C is the supervisor's alone.
    assert first["session"] == first["pid"] != os.getsid(0)
    assert first["blocked"] == []
    assert first["dispositions"] == [repr(signal.SIG_DFL)] * 3
    assert first["stdin"] == "/dev/null"
    assert first["others"] == 0
    assert first["inheritable"] == [False, False]
    assert first["cwd"] == str(Path.cwd())
    assert first["random"] != second["random"]


@pytest.mark.parametrize(
    ("arguments", "status"), [(("0",), 0), (("75",), 75), (("exit", "3"), 3), (("raise", "no such thing"), 1)]
)
async def test_its_exit_status_is_heard_and_a_bug_is_told_as_the_interpreter_would(
    arguments: tuple[str, ...], status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving() as (children, _):
        child = await children.fork("end", arguments, ())
        assert await child.wait() == child.returncode == status
        await gone(child.pid)
        # Its pid may be another's now.
        child.kill()
    err = capfd.readouterr().err
    assert err.startswith("Traceback (most recent call last):") == (status == 1)
    assert err.endswith("ValueError: no such thing\n" if status == 1 else "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_signal_reaches_it_however_early(number: int) -> None:
    async with serving() as (children, _):
        for _ in range(5):
            child = await children.fork("stay", (), (2,))
            child._signal(number)
            assert await asyncio.wait_for(child.wait(), 20) == -number


async def test_whoever_gives_up_waiting_leaves_no_child_behind() -> None:
    async with serving() as (children, _):
        reading, writing = os.pipe()
        asked = asyncio.create_task(children.fork("stay", (), (writing,)))
        await asyncio.sleep(0)
        asked.cancel()
        os.close(writing)
        while await asyncio.to_thread(os.read, reading, 4):
            pass
        os.close(reading)
        await so(lambda: not children._living)
        running = asyncio.create_task(children.run("stay", ()))
        await so(lambda: children._living)
        (child,) = children._living.values()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        assert child.returncode == -signal.SIGKILL


async def test_one_that_is_born_as_its_asker_gives_up_is_ended() -> None:
    """In the turn between the nursery's word and the asker's: nobody else has the child to end it."""
    async with serving() as (children, _):
        asked = asyncio.create_task(children.fork("stay", (), (2,)))
        born = children._born

        def born_too_late(number: int, pid: int, pidfd: int) -> None:
            born(number, pid, pidfd)
            asked.cancel()

        children._born = born_too_late  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(asked, 20)
        assert not children._living


async def test_a_nursery_that_is_killed_takes_nobody_along() -> None:
    async with serving() as (children, said):
        child, reading = await staying(children)
        killed = children._cradle.pid
        os.kill(killed, signal.SIGKILL)
        await so(lambda: said)
        assert "exit status -9" in said[0]
        assert child.returncode is None
        # Begun anew for the next child; the old one can still be ended, and its end is still heard.
        assert await (await children.fork("end", ("5",), ())).wait() == 5
        assert children._cradle.pid != killed
        child.terminate()
        # Who told is gone; whoever inherited it, if not we, keeps its status.
        assert await asyncio.wait_for(child.wait(), 20) in {UNTOLD, -signal.SIGTERM}
        await ended(reading)
        await gone(killed)


async def test_who_waits_for_a_child_when_the_nursery_dies_hears_so() -> None:
    async with serving() as (children, _):
        os.kill(children._cradle.pid, signal.SIGSTOP)
        asked = asyncio.create_task(children.fork("end", ("0",), ()))
        await asyncio.sleep(0)
        os.kill(children._cradle.pid, signal.SIGKILL)
        with pytest.raises(OSError, match="the nursery ended"):
            await asked


async def test_without_a_place_for_its_pidfd_a_child_is_refused_and_the_next_is_begun() -> None:
    """Else whoever keeps a worker waits for ever for one that died while the supervisor's descriptors were used up."""
    async with serving() as (children, _):
        await (await children.fork("end", ("0",), ())).wait()
        lowest = os.dup(2)
        os.close(lowest)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            with pytest.raises(OSError, match="too many open files"):
                await asyncio.wait_for(children.fork("end", ("0",), ()), 20)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert await (await children.fork("end", ("5",), ())).wait() == 5


async def test_a_nursery_that_lived_has_its_successor_before_anybody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.app.children.HEALTHY_SECONDS", -1.0)
    async with serving() as (children, _):
        killed = children._cradle.pid
        os.kill(killed, signal.SIGKILL)
        await so(lambda: children._cradle.pid != killed)
        assert await (await children.fork("end", ("5",), ())).wait() == 5


async def test_it_ends_with_its_supervisor_and_leaves_no_zombie() -> None:
    async with serving() as (children, _):
        pid = children._cradle.pid
        child, reading = await staying(children)
        # As when the supervisor is asked to stop by whoever stops everything.
        os.kill(pid, signal.SIGTERM)
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        assert command_line(pid)
    assert not command_line(pid)
    assert child.returncode is None
    os.kill(child.pid, signal.SIGKILL)
    await ended(reading)


def test_one_that_is_forked_runs_the_same_code_and_nothing_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "chosen_by_others.py").write_text("")
    (tmp_path / "serve.py").write_text(
        textwrap.dedent(
            """
            import asyncio, json, os, sys
            from gateway.app import nursery
            from gateway.app.children import Children
            from tests.app.small_nursery import ENTRIES

            def found(_, descriptors):
                import importlib.util
                os.write(descriptors[0], json.dumps([
                    importlib.util.find_spec("chosen_by_others") is None, os.environ["PYTHONPATH"].split(":")[0]
                ]).encode())
                return 0

            cradle = nursery.beside_us({**ENTRIES, "found": found})

            async def main():
                children = Children(cradle, print)
                children.begin()
                print((await children.run("found", ())).out.decode(), end="")
                await children.close()

            asyncio.run(main())
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "serve"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": HOME},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    assert (done.stdout, done.stderr) == (json.dumps([True, HOME]), "")


def said(program: str, *, closed: str) -> str:
    """Return what a program says on standard error where a shell has closed other streams."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, textwrap.dedent(program)],
        cwd=HOME,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=50,
    )
    return done.stderr


def test_one_is_forked_also_where_standard_output_is_closed() -> None:
    """As by ``serve >&-``: there is no such stream then, neither to begin with nor at a child's end."""
    program = """
        import asyncio, os, sys
        from gateway.app import nursery
        from gateway.app.children import Children
        from tests.app.small_nursery import ENTRIES

        assert sys.stdout is None
        cradle = nursery.beside_us(ENTRIES)

        async def main():
            children = Children(cradle, print)
            children.begin()
            print(await (await children.fork("end", ("5",), ())).wait(), file=sys.stderr)
            await children.close()

        asyncio.run(main())
        """
    assert said(program, closed=">&-") == "5\n"


def test_no_file_of_ours_comes_to_lie_where_programs_print() -> None:
    program = """
        import os, sys
        from gateway.app import descriptors

        descriptors.fill_standard()
        found = [os.readlink(f"/proc/self/fd/{each}") for each in (0, 1)]
        print(found, [os.get_inheritable(each) for each in (0, 1)], os.open("/", os.O_RDONLY), file=sys.stderr)
        """
    assert said(program, closed="<&- >&-") == "['/dev/null', '/dev/null'] [True, True] 3\n"
