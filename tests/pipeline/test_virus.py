"""From a mail with a virus to what each recipient gets: a failure here is somebody who gets it, or gets too little."""

import base64
from email import message_from_bytes
from email.header import decode_header, make_header
from itertools import count
from typing import Any

import pytest

from gateway.antivirus.desk import Antivirus
from gateway.antivirus.fakes import ScriptedAntivirus, ScriptedScanners
from gateway.antivirus.result import Cause
from gateway.clock import FakeClock
from gateway.policy.action import Action
from gateway.state.deferrals import Deferrals
from gateway.state.table import SharedTable

SCANNED = 'hostname = "mx.ours.test"\n[clamd]\naddress = "unix:/fake"\n[[listen]]\naddress = "127.0.0.1:0"\n'
POLICY = 'domains = ["ours.test"]\nnext_hop = "smtp://192.0.2.25"\n[antivirus]\n'
HEAD = (
    b"Date: Tue, 01 Sep 2026 10:00:00 +0000\r\nFrom: a@sender.test\r\nTo: b@ours.test\r\n"
    b"Message-ID: <1@sender.test>\r\nSubject: hello\r\nX-Virus-Status: Clean\r\n"
)
BAD = (
    b'Content-Type: application/octet-stream; name="bad.com"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    + base64.encodebytes(b"VIRUS").replace(b"\n", b"\r\n")
)
MAIL = (
    HEAD + b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nSee the attachment.\r\n--b\r\n" + BAD + b"\r\n--b--\r\n"
)
HARMLESS = MAIL.replace(base64.encodebytes(b"VIRUS").strip(), base64.encodebytes(b"HELLO").strip()).replace(
    b"bad.com", b"good.dat"
)


@pytest.fixture
def scripted():
    antivirus = ScriptedAntivirus(ScriptedScanners(signatures={"VIRUS": "Test.Virus"}), FakeClock())
    yield antivirus
    antivirus.close()


@pytest.fixture
def judged(bench, tools, scripted, tmp_path):
    """Judge a mail under policies; return verdict and what the spool is to keep (None when refused)."""
    clock = FakeClock()
    table = SharedTable(tmp_path / "deferrals", places=64, clock=clock)

    async def judge(policies: dict[str, str] | str, content: bytes = MAIL, *recipients: str) -> tuple[Any, Any]:
        files = {"ours": POLICY + policies} if isinstance(policies, str) else policies
        services = {Antivirus: scripted, Deferrals: Deferrals(table, clock)}
        b = bench(files, main=SCANNED, services=services)
        tx = tools.transaction(content, *recipients)
        verdict = await b.gate.judge_content(tx)
        return verdict, b.gate.entry(tx, verdict, b.clock.stamp()) if verdict.reply is None else None

    yield judge
    table.close()


def copies(message: Any) -> list[tuple[str, str, bytes]]:
    """Return address, state and octets of each copy."""
    return [
        (r.recipient.key, str(r.state), b"".join(message.renditions[r.rendition].chunks(message.content)))
        for r in message.recipients
    ]


async def test_clean_mail_says_so_and_by_what(judged):
    verdict, message = await judged("", HARMLESS)
    [(_, state, octets)] = copies(message)
    assert state == "queued"
    assert b"X-Virus-Status: Clean\r\n" in octets
    assert b"X-Virus-Scanned: Fake 1 at mx.ours.test\r\n" in octets
    assert octets.count(b"X-Virus-Status:") == 1, "the sender's own claim is cut"
    assert message.hostile is False
    assert verdict.dispositions[0].score == 0
    assert "antivirus" in dict(verdict.filter_seconds)


async def test_the_scanners_time_stands_apart_in_the_stamps(judged, monkeypatch):
    """contract.md §2 and §5: scanning is to cause no delay, so its share is shown."""
    ticks = iter(range(10_000))
    monkeypatch.setattr(FakeClock, "monotonic", lambda _: float(next(ticks)))
    verdict, message = await judged("", HARMLESS)
    assert message.stamps.antivirus_seconds == dict(verdict.filter_seconds)["antivirus"] > 0


async def test_of_policies_that_ask_at_the_same_time_the_longest_is_the_scanners(judged, monkeypatch):
    """Each waits for the one scan: neither the last nor their sum is what the mail waited."""
    # Ever shorter steps, so that the last one asked is not the one that took longest.
    times = (1 - 1 / step for step in count(1))
    monkeypatch.setattr(FakeClock, "monotonic", lambda _: next(times))
    policies = {"ours": POLICY + '[mailbox."only@ours.test".antivirus]\nmode = "scan-only"\n'}
    verdict, message = await judged(policies, HARMLESS, "b@ours.test", "only@ours.test")
    took = [seconds for name, seconds in verdict.filter_seconds if name == "antivirus"]
    assert len(took) == 2
    assert message.stamps.antivirus_seconds == max(took) > min(took)


async def test_scan_only_changes_nothing_but_our_fields(judged):
    _, message = await judged('mode = "scan-only"\n')
    [(_, state, octets)] = copies(message)
    assert state == "queued"
    assert b"X-Virus-Status: Infected (Test.Virus)\r\n" in octets
    assert octets.endswith(MAIL.partition(b"Subject: hello\r\nX-Virus-Status: Clean\r\n")[2])
    assert b"X-Spam" not in octets
    assert message.hostile is True, "nobody outside hears of it"


async def test_scan_only_puts_a_tag_before_the_subject_where_asked(judged):
    _, message = await judged('mode = "scan-only"\nsubject_tag = "[VIRUS]"\n')
    assert b"Subject: [VIRUS] hello\r\n" in copies(message)[0][2]


@pytest.mark.parametrize("mode", ["clean", "scan-only"])
async def test_the_name_and_kind_of_what_has_a_virus_add_no_score_to_it(judged, mode):
    """Else the recipient of a cleaned mail would find it in quarantine for an attachment that is not in it any more."""
    deceptive = MAIL.replace(b"bad.com", b"invoice.pdf.exe")
    verdict, message = await judged(f'mode = "{mode}"\n', deceptive)
    assert verdict.dispositions[0].score == 0
    assert copies(message)[0][1] == "queued"


async def test_a_virus_lets_in_nothing_that_the_policy_refuses_by_kind(judged):
    """scan-only delivers viruses; a program that is refused without one is refused with one."""
    program = MAIL.replace(b"bad.com", b"bad.exe")
    refusing = 'mode = "scan-only"\n[filters.attachments]\non = { executable = "reject" }\n'
    verdict, _ = await judged(refusing, program)
    assert str(verdict.reply).startswith("550 5.7.1")
    verdict, _ = await judged(refusing.replace("scan-only", "clean"), program)
    assert verdict.reply is None


async def test_another_attachment_beside_one_with_a_virus_counts(judged):
    program = BAD.replace(b"bad.com", b"setup.exe").replace(b"VklSVVM=", b"TVpIRUxMTw==")
    verdict, message = await judged("", MAIL.replace(b"\r\n--b--\r\n", b"\r\n--b\r\n" + program + b"\r\n--b--\r\n"))
    # Two of a kind are one finding, which is about something that stays.
    assert verdict.dispositions[0].score == 6.0
    assert b"setup.exe" in copies(message)[0][2]


async def test_clean_cuts_the_part_and_keeps_the_original_in_quarantine(judged):
    _, message = await judged('mode = "clean"\n')
    (to, state, octets), (kept_to, kept_state, original) = copies(message)
    assert (to, state) == ("b@ours.test", "queued")
    assert b"X-Virus-Status: Clean (Test.Virus removed)\r\n" in octets
    assert base64.encodebytes(b"VIRUS").strip() not in octets
    assert b"See the attachment." in octets
    parts = list(message_from_bytes(octets).walk())
    assert "bad.com" in parts[2].get_payload(decode=True).decode()
    assert message.trace_id in parts[2].get_payload(decode=True).decode()
    assert (kept_to, kept_state) == ("b@ours.test", "quarantined")
    assert b"X-Virus-Status: Infected (Test.Virus)\r\n" in original
    assert BAD in original
    assert [r.number for r in message.recipients] == [0, 1]


async def test_without_keep_original_nothing_is_kept(judged):
    _, message = await judged('mode = "clean"\nkeep_original = false\n')
    assert [state for _, state, _ in copies(message)] == ["queued"]


async def test_a_text_in_the_recipients_language(judged):
    _, message = await judged('mode = "clean"\nlanguage = "zh"\n')
    parts = list(message_from_bytes(copies(message)[0][2]).walk())
    assert "已被删除" in parts[2].get_payload(decode=True).decode()


async def test_what_cannot_be_cleaned_is_quarantined_and_a_notice_comes_instead(judged):
    _, message = await judged('mode = "clean"\nlanguage = "zh"\n', HEAD + b"\r\nVIRUS in the text\r\n")
    (_, state, octets), (to, notice_state, notice) = copies(message)
    assert (state, notice_state, to) == ("quarantined", "queued", "b@ours.test")
    assert b"VIRUS in the text" in octets
    assert b"VIRUS in the text" not in notice
    told = message_from_bytes(notice)
    assert "病毒" in str(make_header(decode_header(told["Subject"])))
    assert told["To"] == "b@ours.test"
    assert told["Auto-Submitted"] == "auto-generated"
    text = told.get_payload(decode=True).decode()
    for word in ("a@sender.test", "hello", "Test.Virus", message.trace_id, "postmaster@mx.ours.test"):
        assert word in text
    assert message.hostile is True


async def test_reject_names_the_virus(judged):
    verdict, _ = await judged('mode = "reject"\n')
    assert str(verdict.reply).startswith("550 5.7.1")
    assert "Test.Virus" in str(verdict.reply)
    assert verdict.reply.grounds == ("harmful",)


async def test_off_asks_nobody(judged, scripted):
    scripted._scripted._scanners.cause = Cause.TIMEOUT
    _, message = await judged('mode = "off"\n')
    [(_, state, octets)] = copies(message)
    assert state == "queued"
    assert b"X-Virus-Status: Unscanned (switched off)\r\n" in octets


async def test_what_cannot_be_scanned_is_deferred(judged, scripted):
    scripted._scripted._scanners.cause = Cause.TIMEOUT
    verdict, _ = await judged("")
    assert str(verdict.reply).startswith("451 4.3.0")


@pytest.mark.parametrize(("word", "state"), [("pass", "queued"), ("tag", "queued"), ("quarantine", "quarantined")])
async def test_what_cannot_be_scanned_is_never_called_clean(judged, scripted, word, state):
    scripted._scripted._scanners.cause = Cause.CONNECT
    _, message = await judged(f'on_error = "{word}"\n')
    [(_, found, octets)] = copies(message)
    assert found == state
    assert b"X-Virus-Status: Unscanned (not scanned: connect)" in octets
    assert b"X-Tidegate-Reason:" in octets


async def test_recipients_of_one_mail_each_get_what_their_policy_says(judged):
    policies = {
        "ours": POLICY + 'mode = "clean"\nkeep_original = false\n'
        '[mailbox."only@ours.test".antivirus]\nmode = "scan-only"\n[mailbox."off@ours.test".antivirus]\nmode = "off"\n'
        '[mailbox."no@ours.test".antivirus]\nmode = "reject"\n'
    }
    verdict, message = await judged(policies, MAIL, "b@ours.test", "only@ours.test", "off@ours.test", "no@ours.test")
    found = {to: (state, octets) for to, state, octets in copies(message)}
    assert {to: state for to, (state, _) in found.items()} == {
        "b@ours.test": "queued",
        "only@ours.test": "queued",
        "off@ours.test": "queued",
        "no@ours.test": "quarantined",
    }
    assert BAD not in found["b@ours.test"][1]
    assert BAD in found["only@ours.test"][1]
    assert [d.action for d in verdict.dispositions][3] is Action.QUARANTINE


async def test_without_a_configured_scanner_nothing_is_asked_or_claimed(bench, tools):
    b = bench({"ours": POLICY + 'mode = "reject"\n'})
    tx = tools.transaction(MAIL)
    verdict = await b.gate.judge_content(tx)
    message = b.gate.entry(tx, verdict, b.clock.stamp())
    assert "antivirus" not in dict(verdict.filter_seconds)
    assert b"X-Virus-Status: Unscanned (no scanner configured)\r\n" in copies(message)[0][2]
