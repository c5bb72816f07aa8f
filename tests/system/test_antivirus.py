"""A gateway, a real clamd and real mail: what each mode delivers, and what happens while the scanner is gone."""

import base64
import re
import signal
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.antivirus.selftest import eicar
from tests.antivirus.conftest import Clamd, need_clamd
from tests.system.parts import Gateway, message, settings, to_maildir, until

pytestmark = pytest.mark.real

EICAR = bytes(eicar().octets)
MODES = {
    "clean.test": 'mode = "clean"',
    "mark.test": 'mode = "scan-only"\nsubject_tag = "[VIRUS]"',
    "reject.test": 'mode = "reject"',
    "off.test": 'mode = "off"',
    "pass.test": 'on_error = "pass"',
}
BOUNDARY = b"=_b"


def _clamd() -> Iterator[Clamd]:
    need_clamd()
    # A socket's name has 108 octets at most.
    with tempfile.TemporaryDirectory(prefix="av-") as folder:
        scanner = Clamd(Path(folder))
        scanner.start()
        yield scanner
        scanner.kill()


def _in_front_of(gateway: Gateway, clamd: Clamd) -> Gateway:
    """Start a gateway with a domain for each mode."""
    policies = {domain: to_maildir(domain, more=f"[antivirus]\n{keys}\n") for domain, keys in MODES.items()}
    more = f'[clamd]\naddress = "{clamd.unix}"\ntimeout = "5s"\n[metrics]\naddress = "127.0.0.1:0"\n'
    gateway.configure(settings(more=more), policies)
    return gateway.start()


@pytest.fixture
def clamd() -> Iterator[Clamd]:
    """A clamd that the test may harm."""
    yield from _clamd()


@pytest.fixture
def scanning(new_gateway: Callable[[], Gateway], clamd: Clamd) -> Gateway:
    return _in_front_of(new_gateway(), clamd)


@pytest.fixture(scope="module")
def well_clamd() -> Iterator[Clamd]:
    yield from _clamd()


@pytest.fixture(scope="module")
def well(shared_gateway: Callable[[], Gateway], well_clamd: Clamd) -> Gateway:
    """One gateway for all tests that harm nothing; each has recipients of its own."""
    return _in_front_of(shared_gateway(), well_clamd)


def infected(name: str = "bad.com") -> bytes:
    parts = (
        b"Content-Type: text/plain\r\n\r\nSee the attachment.\r\n",
        b'Content-Type: application/octet-stream; name="%b"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        % name.encode()
        + base64.encodebytes(EICAR).replace(b"\n", b"\r\n"),
    )
    head = message().partition(b"\r\n\r\n")[0].replace(b"Content-Type", b"X-Was")
    body = b"".join(b"--%b\r\n%b\r\n" % (BOUNDARY, part) for part in parts) + b"--%b--\r\n" % BOUNDARY
    return head + b'\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="%b"\r\n\r\n' % BOUNDARY + body


def _await_held(gateway, address):
    """Return the copy that is held when what was delivered beside it is on record."""
    copies = until(lambda: len(found := gateway.queue("--recipient", address)) == 1 and found)
    assert [(copy["recipient"], copy["state"]) for copy in copies] == [(address, "quarantined")]
    return copies[0]


def test_each_mode_delivers_what_it_says(well):
    assert well.mail("modes@clean.test", content=infected()).startswith("250 ")
    [cleaned] = well.await_maildir("modes@clean.test")
    assert b"X-Virus-Status: Clean (Eicar-Test-Signature.UNOFFICIAL removed)" in cleaned
    assert b"bad.com" in cleaned
    assert b"See the attachment." in cleaned
    _await_held(well, "modes@clean.test")

    assert well.mail("modes@mark.test", content=infected()).startswith("250 ")
    [marked] = well.await_maildir("modes@mark.test")
    assert b"X-Virus-Status: Infected (Eicar-Test-Signature.UNOFFICIAL)" in marked
    assert b"[VIRUS]" in marked

    reply = well.mail("modes@reject.test", content=infected())
    assert reply.startswith("550 5.7.1")
    assert "Eicar-Test-Signature" in reply

    assert well.mail("modes@off.test", content=infected()).startswith("250 ")
    [unscanned] = well.await_maildir("modes@off.test")
    assert b"X-Virus-Status: Unscanned (switched off)" in unscanned


def test_clean_mail_is_delivered_as_it_came_and_says_by_what_it_was_scanned(well):
    content = message()
    assert well.mail("plain@clean.test", content=content).startswith("250 ")
    [mail] = well.await_maildir("plain@clean.test")
    assert mail.endswith((content.replace(b"\r\n", b"\n"), content))
    assert b"X-Virus-Status: Clean" in mail
    assert b"X-Virus-Scanned: ClamAV " in mail


def test_the_original_that_was_kept_can_be_released(well):
    well.mail("kept@clean.test", content=infected())
    well.await_maildir("kept@clean.test")
    kept = _await_held(well, "kept@clean.test")
    assert well.ask("queue", "release", kept["id"]).status == 1
    refused = well.ask("quarantine", "release", kept["id"])
    assert (refused.status, "infected: Eicar-Test-Signature" in refused.err) == (1, True)
    forced = well.ask("quarantine", "release", kept["id"], "--force")
    assert forced.status == 0, forced
    until(lambda: "although infected: Eicar" in well.ask("audit").out)
    mails = well.await_maildir("kept@clean.test", 2)
    assert [b"X-Virus-Status: Infected" in mail for mail in mails].count(True) == 1


def test_mail_that_cannot_be_cleaned_is_held_and_the_recipient_gets_a_notice(well):
    assert well.mail("text@clean.test", content=message().rstrip(b"\r\n") + b"\r\n" + EICAR + b"\r\n").startswith(
        "250 "
    )
    [notice] = well.await_maildir("text@clean.test")
    assert EICAR not in notice
    assert b"Auto-Submitted: auto-generated" in notice
    assert notice.startswith(b"Return-Path: <>"), "nobody who may be forged hears of what becomes of it"
    _await_held(well, "text@clean.test")


@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_while_the_scanner_is_gone_mail_is_deferred_or_marked_and_it_flows_again(scanning, clamd, fault):
    clamd.kill() if fault == "killed" else clamd.signal(signal.SIGSTOP)
    scanning.await_line("scanner_changed", "state=open")
    assert scanning.mail("a@clean.test").startswith("451 4.3.0")
    assert scanning.mail("a@pass.test").startswith("250 ")
    [marked] = scanning.await_maildir("a@pass.test")
    assert b"X-Virus-Status: Unscanned (not scanned:" in marked
    clamd.start() if fault == "killed" else clamd.signal(signal.SIGCONT)
    clamd.wait()
    # Within five seconds of its return.
    until(lambda: scanning.mail("a@clean.test").startswith("250 "), seconds=5)
    [mail] = scanning.await_maildir("a@clean.test")
    assert b"X-Virus-Status: Clean" in mail


def test_under_load_nothing_passes_unscanned_and_nothing_is_lost(scanning, clamd):
    """Four clients that come again when they are deferred; clamd is stopped, continued, killed and started again."""
    faults = iter((lambda: clamd.signal(signal.SIGSTOP), lambda: clamd.signal(signal.SIGCONT), clamd.kill, clamd.start))

    patience = threading.Lock()

    def client(number: int) -> int:
        deferred = 0
        for _ in range(15):
            content = message(f"X-Client: {number}")
            while not (reply := scanning.mail("a@clean.test", content=content)).startswith("250 "):
                assert reply.startswith("451 4.3.0"), reply
                deferred += 1
                # As clients do, it comes again after a while: here when the scanner is said to be back.
                with patience:
                    until(lambda: scanning.lines("scanner_changed")[-1].count("state=well"), what=scanning.log)
        return deferred

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(client, number) for number in range(4)]
        for taken, fault in zip((8, 9, 20, 21), faults, strict=True):
            # A stopped or killed scanner lets nothing through, so that only the first of each pair waits for mail.
            if taken % 2 == 0:
                until(lambda taken=taken: len(scanning.maildir("a@clean.test")) >= taken, what=scanning.log)
            else:
                scanning.await_line("scanner_changed", "state=open", count=1 if taken == 9 else 2)
            fault()
        deferred = [each.result(30) for each in clients]
    assert sum(deferred) > 0
    mails = scanning.await_maildir("a@clean.test", 60)
    assert len(mails) == 60
    assert all(b"X-Virus-Status: Clean" in mail for mail in mails)


def test_the_commands_tell_of_scanners_and_signatures(well, tmp_path):
    answer = well.ask("av", "status", "--json")
    [report] = answer.json()
    assert (report["answers"], report["test_passed"], report["stream_limit"]) == (True, True, 30 * 1024 * 1024)
    assert answer.status == 1, "StreamMaxLength is below max_message"
    assert any("StreamMaxLength" in problem for problem in report["problems"])
    [update] = until(lambda: well.ask("av", "updates", "--json").json())
    assert update["after"].startswith("ClamAV ")
    assert update["before"] == ""
    (tmp_path / "bad.eml").write_bytes(infected())
    (tmp_path / "good.eml").write_bytes(message())
    bad = well.ask("av", "scan", str(tmp_path / "bad.eml"), "--json")
    assert (bad.status, bad.json()["outcome"]) == (1, "infected")
    assert [part["file"] for part in bad.json()["parts"] if part["outcome"] == "infected"] == ["bad.com"]
    assert well.ask("av", "scan", str(tmp_path / "good.eml")).status == 0
    assert "reloading" in well.ask("av", "reload").out


def test_explain_scans_too(well, tmp_path):
    (tmp_path / "bad.eml").write_bytes(infected())
    answer = well.ask(
        "explain", str(tmp_path / "bad.eml"),
        "--client-ip", "198.51.100.7", "--helo", "mail.sender.test", "--from", "a@sender.test",
        "--rcpt", "a@reject.test",
    )  # fmt: skip
    assert "Eicar-Test-Signature" in answer.out
    assert answer.status == 1


def test_metrics_tell_of_scans_and_scanners(well):
    well.mail("metrics@clean.test")

    def exposed() -> str:
        with urllib.request.urlopen(f"{well.metrics_url()}/metrics") as response:  # noqa: S310 - our own server
            return response.read().decode()

    text = exposed()
    assert 'tidegate_antivirus_scanners{state="well"} 1.0' in text
    [scans] = re.findall(r"^tidegate_antivirus_seconds_count (\S+)$", text, re.MULTILINE)
    assert float(scans) >= 1
