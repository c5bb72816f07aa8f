"""The control socket commands the gateway: only its own user may, and nothing said there stops it."""

import asyncio
import json
import os
import stat

import pytest

from gateway.admin import control
from gateway.admin.control import ControlClient, ControlServer, user_name
from gateway.admin.protocol import VERSION, Done, Failed, RefusedError, UnknownCommandError
from gateway.clock import FakeClock
from gateway.journal.sinks import Recorded


async def handler(command, arguments):
    match command:
        case "echo":
            return arguments
        case "refuse":
            raise RefusedError("not now")
        case "bug":
            raise ZeroDivisionError("oops")
        case "unserialisable":
            return {"value": object()}
        case "stuck":
            await asyncio.Event().wait()
    raise UnknownCommandError(command)


@pytest.fixture
async def served(tmp_path):
    events = Recorded()
    path = tmp_path / "control.sock"
    server = ControlServer(path, handler, clock=FakeClock(), events=events)
    await server.start()
    yield path, events
    await server.close()


async def test_a_command_is_answered_and_knows_who_asked(served):
    path, _ = served
    outcome = await ControlClient(path).call("echo", id="T", operator="somebody else")
    assert outcome == Done({"id": "T", "operator": user_name(os.getuid())})


async def test_only_the_gateways_user_may_open_the_socket(served):
    path, _ = served
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("command", "failure"),
    [
        ("refuse", Failed("refused", "not now")),
        ("no.such", Failed("unknown-command", "no.such is no command of this gateway")),
        ("bug", Failed("failed", "ZeroDivisionError: oops")),
    ],
)
async def test_failures_are_values(served, command, failure):
    path, _ = served
    assert await ControlClient(path).call(command) == failure
    assert isinstance(await ControlClient(path).call("echo"), Done)


@pytest.mark.parametrize("command", ["bug", "unserialisable"])
async def test_a_bug_in_a_command_leaves_an_event_and_the_gateway_serving(served, command):
    path, events = served
    assert (await ControlClient(path).call(command)).code == "failed"
    assert [e.where for e in events.events] == [f"control {command}"]
    assert "Traceback" in events.events[0].traceback


async def test_a_stuck_command_is_answered_in_time(served, monkeypatch):
    path, _ = served
    monkeypatch.setattr(control, "COMMAND_SECONDS", 0.05)
    assert (await ControlClient(path).call("stuck")).code == "timeout"


async def test_a_gateway_that_does_not_answer_is_given_up(served):
    path, _ = served
    outcome = await ControlClient(path, seconds=0.05).call("stuck")
    assert outcome.code == "timeout"


async def test_nobody_there_is_unavailable(tmp_path):
    assert (await ControlClient(tmp_path / "control.sock").call("echo")).code == "unavailable"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"not json\n", "bad-request"),
        (b'{"v": 99, "command": "echo"}\n', "version"),
        (b"[]\n", "version"),
        (json.dumps({"v": VERSION, "command": 1}).encode() + b"\n", "bad-request"),
        (json.dumps({"v": VERSION, "command": "echo", "arguments": 1}).encode() + b"\n", "bad-request"),
        (b"\xff\xfe\n", "bad-request"),
    ],
)
async def test_what_is_no_request_is_answered_and_the_connection_goes_on(served, line, code):
    path, _ = served
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(line)
    assert json.loads(await reader.readline())["error"]["code"] == code
    writer.write(json.dumps({"v": VERSION, "id": 7, "command": "echo"}).encode() + b"\n")
    assert json.loads(await reader.readline())["id"] == 7
    writer.close()


async def test_a_line_without_end_is_cut_off(served, monkeypatch, tmp_path):
    monkeypatch.setattr(control, "MAX_LINE_OCTETS", 1000)
    path = tmp_path / "other.sock"
    server = ControlServer(path, handler, clock=FakeClock(), events=Recorded())
    await server.start()
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"x" * 5000)
    assert json.loads(await reader.readline())["error"]["code"] == "bad-request"
    assert await reader.read() == b""
    writer.close()
    await server.close()


async def test_the_socket_of_a_gateway_that_was_killed_is_replaced(served, tmp_path):
    path = tmp_path / "control2.sock"
    sock = control._listening(path)
    sock.close()
    assert path.is_socket()
    server = ControlServer(path, handler, clock=FakeClock(), events=Recorded())
    await server.start()
    assert isinstance(await ControlClient(path).call("echo"), Done)
    await server.close()
    assert not path.exists()


async def test_a_second_gateway_does_not_take_the_socket_away(served):
    path, _ = served
    with pytest.raises(OSError, match="in use"):
        await ControlServer(path, handler, clock=FakeClock(), events=Recorded()).start()
    assert isinstance(await ControlClient(path).call("echo"), Done)


async def test_a_data_folder_deeper_than_a_socket_address_works(tmp_path):
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    server = ControlServer(folder / "control.sock", handler, clock=FakeClock(), events=Recorded())
    await server.start()
    assert isinstance(await ControlClient(folder / "control.sock").call("echo"), Done)
    await server.close()


async def test_an_answer_beyond_the_bound_is_refused_in_words(served, monkeypatch):
    """The client reads no longer lines; it would say that the connection was lost."""
    path, _ = served
    monkeypatch.setattr(control, "MAX_LINE_OCTETS", 1000)
    outcome = await ControlClient(path).call("echo", text="x" * 1000)
    assert outcome == Failed("refused", "the answer is too long, ask for less at a time")
