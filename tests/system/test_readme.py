"""What breaks if these fail: the README's first minute — a gateway from nothing, a first mail, and its story."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.parts import PATIENCE_SECONDS, Answer, Gateway, Wire, message, message_id, trace_id

README = Path(__file__).parents[2] / "README.md"
PORT = 2525


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    """The embedded default, served from an empty folder."""
    try:
        Wire(PORT, seconds=1).close()
    except OSError:
        pass
    else:
        pytest.skip(f"something else listens on 127.0.0.1:{PORT}")
    found = shared_gateway()
    script = found.folder / ".venv/bin/tidegate"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m gateway "$@"\n')
    script.chmod(0o755)
    found.options = ()
    return found.start()


@pytest.fixture(scope="module")
def first_mail(gateway: Gateway) -> Answer:
    """What the README's commands for a first mail print."""
    blocks = re.findall(r"(?:^    .+\n)+", README.read_text(encoding="utf-8"), re.MULTILINE)
    [block] = [text for text in blocks if "tidegate send" in text]
    lines = [line.strip() for line in block.splitlines()]
    # Delivery is a moment after the acknowledgement; nobody types faster.
    lines.insert(2, "until ls var/maildir/example.test/me/new/* >&2; do sleep 0.01; done")
    result = subprocess.run(
        ["sh", "-ec", "\n".join(lines)],
        cwd=gateway.folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return Answer(result.stdout, result.stderr, result.returncode)


def test_the_first_mail_is_sent_read_and_traced_as_the_readme_says(first_mail: Answer) -> None:
    assert first_mail.status == 0, first_mail
    reply, *mail = first_mail.out.splitlines()
    assert reply.startswith("250 2.0.0 ["), reply
    assert "Return-Path: <you@example.org>" in mail
    assert "Delivered-To: me@example.test" in mail
    assert "X-Virus-Status: Unscanned (no scanner configured)" in mail
    assert "From: you@example.org" in mail
    assert "Hello." in mail
    story = first_mail.out[first_mail.out.index("\n" + trace_id(reply)) :]
    assert "delivered" in story.splitlines()[1]
    assert "verdict   <me@example.test> accept" in story
    assert "sent by maildir:" in story


def test_the_start_says_where_it_listens_what_it_takes_and_that_nothing_is_scanned(gateway: Gateway) -> None:
    log = gateway.log()
    assert f"serves 127.0.0.1:{PORT} mx with " in log
    assert f"data in {gateway.folder}/var" in log
    assert "configuration embedded default" in log
    assert "mail for example.test, localhost" in log
    assert "nothing is scanned, mail is marked X-Virus-Status: Unscanned" in log
    assert "tidegate send FILE --from you@example.org --to me@example.test" in log


@pytest.mark.parametrize("by", ["id", "recipient", "sender", "message-id", "client"])
def test_a_mail_is_found_by_each_of_its_names(gateway: Gateway, by: str) -> None:
    sender, recipient = f"{by}@names.example", f"{by}@example.test"
    content = message()
    identity = trace_id(gateway.mail(recipient, sender=sender, content=content))
    gateway.await_line("delivery_attempted", identity, "status=sent")
    named = {
        "id": identity,
        "recipient": recipient,
        "sender": sender,
        "message-id": f"<{message_id(content)}>",
        "client": "127.0.0.1",
    }
    answer = gateway.run("trace", named[by])
    assert answer.status == 0, answer
    assert f"now       <{recipient}> delivered" in answer.out
    assert identity in answer.out


def test_a_story_for_programs(gateway: Gateway) -> None:
    identity = trace_id(gateway.mail("json@example.test"))
    gateway.await_line("delivery_attempted", identity, "status=sent")
    [story] = gateway.run("trace", "json@example.test", "--json").json()
    assert (story["id"], story["state"]) == (identity, "delivered")


def test_refused_mail_is_traced_by_address_and_by_the_id_in_the_reply(gateway: Gateway) -> None:
    (gateway.folder / "refused.eml").write_bytes(message())
    refused = gateway.run("send", "refused.eml", "--from", "you@example.org", "--to", "me@elsewhere.test")
    assert refused.status == 1
    assert "me@elsewhere.test: 550 5.7.1 [" in refused.err
    for name in ("me@elsewhere.test", trace_id(refused.err)):
        answer = gateway.run("trace", name)
        assert answer.status == 0, answer
        assert "RCPT <me@elsewhere.test> from <you@example.org>" in answer.out
        assert "550 5.7.1 relaying denied" in answer.out
        assert "now       <me@elsewhere.test> rejected" in answer.out


def test_mail_refused_for_its_content_is_traced_by_message_id(gateway: Gateway) -> None:
    content = message("Received: from a by b; Sun, 22 Nov 2026 17:00:00 +0000\r\n" * 60 + "X-End: here")
    reply = gateway.mail("loop@example.test", content=content)
    assert reply.startswith("554 5.4.6 ["), reply
    answer = gateway.run("trace", message_id(content))
    assert answer.status == 0, answer
    assert "finding   hop-count too-many-hops → reject" in answer.out
    assert "reply     554 5.4.6" in answer.out


def test_of_what_never_was_the_trace_says_so(gateway: Gateway) -> None:
    answer = gateway.run("trace", "nobody@nowhere.test", "--since", "1h")
    assert answer.status == 1
    assert answer.out == ""
    assert f"nothing is known of nobody@nowhere.test under {gateway.folder}/var in the last 1h" in answer.err


def test_sending_says_what_to_do_when_nobody_listens(tmp_path: Path, gateway: Gateway) -> None:
    mail = tmp_path / "mail.eml"
    mail.write_bytes(message())
    answer = gateway.run(
        "send", str(mail), "--from", "a@example.org", "--to", "b@example.test", "--server", "127.0.0.1:1"
    )
    assert answer.status == 69
    assert "cannot reach 127.0.0.1:1: Connection refused; is `tidegate serve` running?" in answer.err


def test_a_working_folder_that_cannot_be_written_is_named(gateway: Gateway) -> None:
    """The embedded default makes ./var; where it cannot, one line says so and what to do."""
    (gateway.folder / "readonly").mkdir()
    (gateway.folder / "readonly/var").write_text("a file where the folder should be")
    result = subprocess.run(
        [sys.executable, "-m", "gateway", "serve"],
        cwd=gateway.folder / "readonly",
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert result.returncode == 75
    assert result.stderr.count("\n") == 1, result.stderr
    assert f"{gateway.folder}/readonly/var" in result.stderr
