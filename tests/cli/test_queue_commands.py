"""The queue by hand: the same through a serving gateway and on the spool of a stopped one, and never by mistake."""

import asyncio
import fcntl
import json
import os
import threading

import pytest
import typer
from typer.testing import CliRunner

from gateway.admin.control import ControlServer, user_name
from gateway.admin.protocol import RefusedError, UnknownCommandError
from gateway.cli import quarantine, queue, reload, status, trace
from gateway.clock import FakeClock, SystemClock
from gateway.journal.sinks import Recorded
from gateway.ledger import MIGRATIONS
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.trace_id import new_trace_id
from gateway.smtp.address import ForwardPath, Mailbox, ReversePath
from gateway.spool.custody import Custody
from gateway.spool.message import MessageStamps, Origin, RecipientState, SpoolMessage, SpoolRecipient
from gateway.spool.opening import SilentWitness
from gateway.spool.shard import ShardSettings

app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
app.add_typer(queue.app, name="queue")
app.add_typer(quarantine.app, name="quarantine")
app.command()(trace.trace)
app.command()(status.status)
app.command()(reload.reload)


@pytest.fixture
def home(tmp_path):
    """Return a folder with a configuration whose policies are broken: the commands must do without them."""
    (tmp_path / "tidegate.toml").write_text('data = "var"\npolicies = "missing"\n')
    (tmp_path / "var").mkdir()
    return tmp_path


@pytest.fixture
def run(home):
    def run(*arguments):
        return CliRunner().invoke(app, [*arguments, "--config", str(home / "tidegate.toml")])

    return run


def mailbox(address):
    local_part, _, domain = address.rpartition("@")
    return Mailbox(local_part, domain, address)


@pytest.fixture
def ids():
    return sorted(new_trace_id(SystemClock().stamp().utc, os.urandom) for _ in range(2))


@pytest.fixture
def spool(home, ids):
    """Return the spool of a stopped gateway: one message queued to two, one quarantined."""
    asyncio.run(_fill(home / "var", ids))
    return home / "var"


async def _fill(data, ids):
    clock = SystemClock()
    settings = ShardSettings(data=data, clock=clock, companions=MIGRATIONS)
    custody = Custody.open(settings, worker=0, workers=1, witness=SilentWitness())
    for trace_id, copies in zip(
        ids,
        ([("b@example.com", "queued"), ("c@example.net", "queued")], [("d@example.com", "quarantined")]),
        strict=True,
    ):
        now = clock.stamp()
        content = Content(b"Subject: \x1b[2Jhello\r\n\r\nbody\r\n")
        message = SpoolMessage(
            trace_id=trace_id,
            origin=Origin.SMTP,
            envelope=Envelope(reverse_path=ReversePath(mailbox("a@example.org"))),
            recipients=tuple(
                SpoolRecipient(
                    number=place,
                    recipient=Recipient(path=ForwardPath(mailbox(address))),
                    route="smtp://10.1.0.5:25",
                    customer="example",
                    state=RecipientState(state),
                )
                for place, (address, state) in enumerate(copies)
            ),
            stamps=MessageStamps(connected=now, enveloped=now, received=now, filtered=now),
            content=content,
            octets=content.size,
        )
        await custody.store(message)
    custody.close_now()


class Serving:
    """A control socket with given answers, in a thread of its own."""

    def __init__(self, path, answers):
        self.asked = []
        self._answers = answers
        self._path = path
        self._stop = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = ControlServer(self._path, self._handle, clock=FakeClock(), events=Recorded())
        await server.start()
        self._ready.set()
        await self._stop.wait()
        await server.close()

    async def _handle(self, command, arguments):
        self.asked.append((command, arguments))
        answer = self._answers.get(command)
        if answer is None:
            raise UnknownCommandError(command)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def serving(home):
    return lambda **answers: Serving(
        home / "var" / "control.sock", {name.replace("_", "."): answer for name, answer in answers.items()}
    )


def test_a_stopped_spool_is_listed(run, spool, ids):
    result = run("queue", "list", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert [(m["id"], [c["state"] for c in m["recipients"]]) for m in found["messages"]] == [
        (ids[0], ["queued", "queued"]),
        (ids[1], ["quarantined"]),
    ]


def test_plain_lines_have_one_copy_each_with_tabs_between(run, spool, ids):
    lines = run("queue", "list", "--state", "quarantined").stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].split("\t")[0] == ids[1]
    assert "<d@example.com>" in lines[0]


def test_show_escapes_what_a_terminal_would_obey(run, spool, ids):
    result = run("queue", "show", ids[0])
    assert result.exit_code == 0
    assert "Subject: \\x1b[2Jhello" in result.stdout
    assert "\x1b" not in result.stdout


def test_show_of_what_is_not_there_is_negative_and_names_the_next_step(run, spool):
    result = run("queue", "show", "01NOSUCHID")
    assert result.exit_code == 1
    assert "tidegate trace" in result.stderr


def test_changes_on_a_stopped_spool_are_made_and_audited(run, spool, ids):
    assert run("queue", "hold", "--domain", "example.com").stdout == "1 copy held\n"
    assert run("queue", "release", ids[0]).stdout == "1 copy released\n"
    passed_over = run("queue", "release", ids[1])
    assert (passed_over.exit_code, passed_over.stdout) == (1, "0 copies released\n")
    assert "tidegate quarantine release" in passed_over.stderr
    assert run("queue", "drop", ids[0]).stdout == "2 copies dropped\n"
    told = run("trace", ids[0]).stdout
    assert f"{user_name(os.getuid())}: hold b@example.com" in told
    assert "<c@example.net> dropped" in told
    assert run("queue", "flush").stdout == "0 copies made due now\n"


def test_quarantine_on_a_stopped_spool_is_shown_harmlessly_and_deleted_from_and_not_released(run, spool, ids):
    listed = run("quarantine", "list")
    assert (ids[1] in listed.stdout, ids[0] in listed.stdout, "<d@example.com>" in listed.stdout) == (True, False, True)
    shown = run("quarantine", "show", ids[1])
    assert "kept" in shown.stdout
    assert "Subject: \\x1b[2Jhello" in shown.stdout
    assert "part      text/plain, 6 octets, text, -" in shown.stdout
    assert "\x1b" not in shown.stdout
    [message] = json.loads(run("quarantine", "show", ids[1], "--json").stdout)["messages"]
    assert (message["recipients"][0]["why"], message["findings"]) == ("policy", [])
    refused = run("quarantine", "release", ids[1])
    assert (refused.exit_code, "start the gateway" in refused.stderr) == (1, True)
    assert run("quarantine", "delete", "--why", "policy", "--all").stdout == "1 copy deleted\n"
    assert run("quarantine", "show", ids[1]).exit_code == 1


def test_each_of_several_released_is_told_and_the_status_says_when_one_was_not(run, spool, monkeypatch):
    """One that has just left must not hide what became of the others."""

    def answer(_, arguments, __):
        [trace_id] = arguments["ids"]
        one = {"id": trace_id, "recipients": [], "outcome": "", "objection": "", "remedy": ""}
        answers = {
            "GOOD": [one | {"recipients": ["b@example.com"], "outcome": "clean"}],
            "LEFT": [one | {"objection": "it has just left quarantine"}],
            "HAD": [one | {"objection": "a copy went to x@example.com before", "remedy": "again"}],
            "NONE": [],
        }
        return {"released": answers[trace_id]}

    monkeypatch.setattr(quarantine, "ask", answer)
    result = run("quarantine", "release", "LEFT", "GOOD", "HAD", "NONE")
    assert result.exit_code == 1
    assert "GOOD released to b@example.com" in result.stdout
    assert result.stderr.splitlines() == [
        "LEFT not released: it has just left quarantine",
        "HAD not released: a copy went to x@example.com before; --again releases it",
        "NONE not released: it is not in quarantine",
        "1 of 4 released",
    ]
    told = json.loads(run("quarantine", "release", "GOOD", "NONE", "--json").stdout)["released"]
    assert [(one["id"], bool(one["recipients"])) for one in told] == [("GOOD", True), ("NONE", False)]
    assert run("quarantine", "release", "GOOD").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("release",), 2),
        (("delete",), 2),
        (("delete", "--domain", "example.com"), 2),
        (("list", "--why", "bad-luck"), 2),
        (("list", "--recipient", "nobody@example.com"), 0),
        (("delete", "01NOSUCHID"), 1),
        (("show", "01NOSUCHID"), 1),
        (("delete", "--all", "--why", "virus"), 1),
    ],
)
def test_exit_status_of_quarantine(run, spool, arguments, code):
    assert run("quarantine", *arguments).exit_code == code


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("drop",), 2),
        (("drop", "--domain", "example.com"), 2),
        (("release",), 2),
        (("list", "--older-than", "soon"), 2),
        (("hold", "--recipient", "nobody@example.com"), 1),
        (("list", "--state", "flying"), 1),
        (("drop", "--all", "--domain", "example.com"), 0),
        (("release", "--all"), 1),
    ],
)
def test_exit_status(run, spool, arguments, code):
    assert run("queue", *arguments).exit_code == code


def test_without_gateway_and_spool_the_command_says_so(run, home):
    result = run("queue", "list")
    assert result.exit_code == 69
    assert "--config" in result.stderr


def test_a_gateway_that_is_starting_keeps_its_spool_to_itself(run, spool):
    with (spool / "tidegate.pid").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        result = run("queue", "list")
    assert result.exit_code == 69
    assert "try again" in result.stderr


def test_a_serving_gateway_is_asked(run, serving):
    with serving(queue_hold={"changed": 3}) as gateway:
        result = run("queue", "hold", "T1", "T2", "--older-than", "2h")
    assert result.stdout == "3 copies held\n"
    [(command, arguments)] = gateway.asked
    assert command == "queue.hold"
    assert arguments == {"ids": ["T1", "T2"], "older_than_seconds": 7200.0, "operator": user_name(os.getuid())}


def test_a_refusal_is_told(run, serving):
    with serving(queue_flush=RefusedError("a worker does not answer")):
        result = run("queue", "flush")
    assert result.exit_code == 1
    assert "a worker does not answer" in result.stderr


STATUS = {
    "version": "0.1.0", "digest": "abc", "started_at": 0.0, "uptime_seconds": 93784.0, "ready": True, "reason": "",
    "queue": {"recipients": {"queued": 5, "held": 1}, "messages": 4, "oldest_seconds": 75.0},
    "rates": {"messages_in": 1.25, "recipients_out": 2.5}, "sessions": 7,
    "workers": [{
        "worker": 0, "pid": 42, "state": "serving", "reason": "", "version": "0.1.0", "digest": "abc",
        "started_at": 0.0, "sessions": 7, "rates": {"messages_in": 1.25, "recipients_out": 2.5},
    }],
}  # fmt: skip


def test_status_tells_what_waits_and_whether_mail_is_taken(run, serving):
    with serving(status=STATUS):
        result = run("status")
    assert result.exit_code == 0
    assert "takes mail" in result.stdout
    assert "up        1d 2h" in result.stdout
    assert "1 held, 5 queued; the oldest has waited 1m 15s" in result.stdout
    assert "0\t42\tserving\t7\t1.2\t2.5" in result.stdout


def test_status_of_a_gateway_that_takes_no_mail_is_negative(run, serving):
    with serving(status=STATUS | {"ready": False, "reason": "draining"}):
        result = run("status", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["reason"] == "draining"


def test_status_without_a_gateway(run):
    result = run("status")
    assert result.exit_code == 69
    assert "tidegate serve" in result.stderr


def test_reload_tells_what_changed(run, serving):
    with serving(reload={"digest": "new", "changed": ["smtp.spill: 256K → 1M"], "errors": []}):
        result = run("reload")
    assert (result.exit_code, result.stdout) == (0, "smtp.spill: 256K → 1M\nnew serves\n")


def test_a_refused_reload_names_every_error_and_fails(run, serving):
    errors = ["tidegate.toml:3: hostnam: unknown key"]
    with serving(reload={"digest": "old", "changed": [], "errors": errors}):
        result = run("reload")
    assert result.exit_code == 78
    assert result.stderr == "tidegate.toml:3: hostnam: unknown key\nrefused: the configuration old goes on serving\n"


def test_trace_of_nothing_known_is_negative_and_names_the_span(run, home):
    result = run("trace", "nobody@example.com", "--since", "2d")
    assert result.exit_code == 1
    assert "in the last 2d" in result.stderr
    assert run("trace", "x", "--since", "yesterday").exit_code == 2


def test_trace_finds_what_waits_in_the_spool(run, spool, ids):
    result = run("trace", "D@example.com", "--json")
    assert result.exit_code == 0
    assert [story["state"] for story in json.loads(result.stdout)] == ["quarantined"]
