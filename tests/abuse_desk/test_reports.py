"""What leaves about spam sources is what its format says, told once a day, redacted, and only when switched on.

Read by parsers that are not ours: the standard library's email, and the XARF project's own library with its schemas.
"""

import csv
import email
import email.policy
import io
import json

import pytest
import xarf

from gateway.abuse.reporting.contacts import NOBODY, RDAP, ZONE
from gateway.abuse.reporting.desk import ReportDesk
from gateway.abuse.reporting.table import COLUMNS
from gateway.incidents import State
from gateway.incidents.evidence import EvidenceStore, pack
from gateway.incidents.values import Sighting, Source
from gateway.incidents.verification import verify
from gateway.journal.guard_events import OwnListingChanged
from gateway.storage import StorageError
from tests.abuse_desk.conftest import SPAM as COMPLAINED
from tests.abuse_desk.conftest import Desk, arf

SPAM = (
    b"Received: from bulk.spam.test ([203.0.113.9])\r\nFrom: offers@spam.test\r\nTo: Anna <anna@ours.test>\r\n"
    b"Subject: =?utf-8?B?5Luj5byA5Y+R56Wo?=\r\nMessage-ID: <offer.1@spam.test>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=gb18030\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    + "代开发票 anna@ours.test\r\n".encode("gb18030")
)
FACTS = {
    "connection": {"client": "203.0.113.9", "client_port": 40123, "helo": "bulk.spam.test", "connected_at": 1.0},
    "envelope": {"reverse_path": "offers@spam.test", "recipients": ["anna@ours.test"]},
}
SETTINGS = """
[reporting]
enabled = true
organisation = "Ours Mail"
[[reporting.contact]]
network = "203.0.113.0/24"
address = "abuse@hoster.test"
[reporting.association]
address = "spam@association.test"
formats = ["csv", "xarf", "arf"]
"""


def spam(case: Desk, address: str = "203.0.113.9", **given: object) -> int:
    """Put a confirmed incident with one message on record; return its number."""
    source = Source.at(address)
    sighting = {
        "trace_id": "01KAQ6WQ00000000000000000X",
        "at": case.clock.stamp().utc,
        "source": source,
        "client": address,
        "helo": "bulk.spam.test",
        "reverse_path": "offers@spam.test",
        "recipients": ("anna@ours.test",),
        "recipient_domain": "ours.test",
        "message_id": "<offer.1@spam.test>",
        "subject": "=cmd|' /C calc'!A0",
        "grounds": ("advertising",),
        "findings": ("rule fapiao: anna@ours.test",),
        "action": "reject",
    }
    message = given.pop("message", SPAM)
    with case.book.change("test", "fold") as change:
        [number] = change.fold([Sighting(**sighting | given)]).incidents
        if change.incident(number).state is State.OPEN:
            change.move(number, State.CONFIRMED, "threshold")
        if message:
            facts = FACTS | {"connection": FACTS["connection"] | {"client": address}}
            EvidenceStore(case.data).keep(change, number, sighting["trace_id"], pack([message]), facts)
    return number


def reports(case: Desk, **lookups: str | None) -> ReportDesk:
    found = tuple((name, lambda _, value=value: value) for name, value in lookups.items())
    return ReportDesk(lambda: case.snapshot, case.book, clock=case.clock, lookups=lambda: found, patience_seconds=30.0)


def parsed(octets: bytes) -> email.message.EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.default)


# Feedback reports -----------------------------------------------------------------------------------------------------


def test_an_operator_gets_a_feedback_report_as_rfc_5965_has_it(desk):
    case: Desk = desk(SETTINGS)
    spam(case)
    assert reports(case).operators(10) == 1
    [octets] = case.mails()
    mail = parsed(octets)
    assert mail.defects == []
    assert mail["To"] == "abuse@hoster.test"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "feedback-report"
    words, feedback, original = mail.iter_parts()
    assert words.get_content_type() == "text/plain"
    assert "203.0.113.9" in words.get_content()
    assert feedback.get_content_type() == "message/feedback-report"
    [fields] = feedback.get_payload()
    # RFC 5965 §3.1: exactly once each.
    assert [fields.get_all(name) for name in ("Feedback-Type", "Version")] == [["abuse"], ["1"]]
    assert len(fields.get_all("User-Agent")) == 1
    assert fields["Source-IP"] == "203.0.113.9"
    assert fields["Source-Port"] == "40123"
    assert fields["Original-Mail-From"] == "<offers@spam.test>"
    assert fields["Incidents"] == "1"
    assert original.get_content_type() == "message/rfc822"
    assert original.get_payload()[0]["Message-ID"] == "<offer.1@spam.test>"


def test_the_recipients_address_does_not_leave_and_is_one_pseudonym_everywhere(desk):
    case: Desk = desk(SETTINGS)
    spam(case)
    reports(case).operators(10)
    [octets] = case.mails()
    mail = parsed(octets)
    _, feedback, _ = mail.iter_parts()
    [fields] = feedback.get_payload()
    assert b"anna@ours.test" not in octets
    pseudonym = fields["Original-Rcpt-To"].strip("<>")
    assert pseudonym.endswith("@ours.test")
    assert pseudonym.encode() in octets.split(b"message/rfc822", 1)[1]


def test_what_is_not_to_be_redacted_is_enclosed_octet_by_octet(desk):
    case: Desk = desk(SETTINGS.replace("enabled = true", "enabled = true\nredact = false"))
    spam(case)
    reports(case).operators(10)
    assert SPAM in case.mails()[0]


@pytest.mark.parametrize(
    "message",
    [
        b"Subject: long\r\n\r\n" + b"x" * 2000 + b"\r\n",
        b"Subject: bare\r\n\r\none\ntwo\r\n",
        b"Subject: zero\r\n\r\n\0\r\n",
        b"Subject: large\r\n\r\n" + b"y" * 76 + b"\r\n" * 200_000,
    ],
    ids=["overlong", "bare-lf", "nul", "large"],
)
def test_a_mail_that_cannot_travel_enclosed_is_reported_by_its_header_section(desk, message):
    case: Desk = desk(SETTINGS)
    spam(case, message=message)
    reports(case).operators(10)
    [octets] = case.mails()
    parts = list(parsed(octets).iter_parts())
    assert parts[2].get_content_type() == "text/rfc822-headers"
    assert len(octets) < 20_000
    assert all(len(line) <= 998 for line in octets.split(b"\r\n"))


# Whom, how often ------------------------------------------------------------------------------------------------------


def test_a_source_is_reported_once_a_day_and_only_while_it_sends(desk):
    case: Desk = desk(SETTINGS)
    spam(case)
    room = reports(case)
    assert [room.operators(10), room.operators(10)] == [1, 0]
    case.clock.advance(86_400.0)
    assert room.operators(10) == 0
    spam(case)
    assert room.operators(10) == 1
    assert case.rows("SELECT state FROM incident") == [("reported",)]


def test_the_days_limits_hold(desk):
    case: Desk = desk(SETTINGS.replace("enabled = true", "enabled = true\ncontact_per_day = 2"))
    for host in range(1, 6):
        spam(case, f"203.0.113.{host}")
    assert reports(case).operators(10) == 2


def test_contacts_come_from_the_zone_then_from_registration_data_and_are_remembered(desk):
    case: Desk = desk(SETTINGS)
    spam(case, "198.51.100.1")
    assert reports(case, zone="", rdap="noc@isp.test").operators(10) == 1
    spam(case, "198.51.100.2")
    assert reports(case, zone="abuse@isp.test", rdap="x@isp.test").operators(10) == 1
    assert case.rows("SELECT address, origin FROM contact ORDER BY source_key") == [
        ("noc@isp.test", RDAP),
        ("abuse@isp.test", ZONE),
    ]


def test_nobody_to_tell_is_remembered_and_not_known_is_asked_again(desk):
    case: Desk = desk(SETTINGS)
    spam(case, "198.51.100.1")
    assert reports(case, zone=None).operators(10) == 0
    assert case.rows("SELECT * FROM report") == []
    assert reports(case, zone="").operators(10) == 0
    assert case.rows("SELECT recipient, contact_origin FROM report") == [("", NOBODY)]


def test_our_own_domains_are_never_reported_to(desk):
    case: Desk = desk(SETTINGS)
    spam(case, "198.51.100.1")
    assert reports(case, zone="abuse@ours.test").operators(10) == 0
    assert case.mails() == []


def test_a_report_is_never_answered_with_a_report(desk):
    case: Desk = desk(SETTINGS)
    report = b'Content-Type: multipart/report; report-type=feedback-report; boundary="b"\r\nSubject: x\r\n\r\n--b--\r\n'
    spam(case, message=report)
    reports(case).operators(10)
    [octets] = case.mails()
    assert b"x-none" not in octets
    assert list(parsed(octets).iter_parts())[2].get_content().strip() == ""


# The association ------------------------------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_keeps_no_report_from_its_operator(desk, tmp_path):
    (tmp_path / "no-folder").write_text("")
    case: Desk = desk(SETTINGS + f'folder = "{tmp_path}/no-folder"\n')
    spam(case)
    with pytest.raises((StorageError, OSError)):
        reports(case).round()
    assert case.rows("SELECT kind FROM report") == [("operator",)]


def test_a_batch_is_a_table_documents_and_reports_that_others_can_read(desk):
    case: Desk = desk(SETTINGS)
    spam(case)
    spam(case, "198.51.100.7", virus="Eicar", grounds=("harmful", "false-source"), reverse_path="")
    assert reports(case).association() == 3
    batch, *feedback = map(parsed, case.mails())
    assert batch["To"] == "spam@association.test"
    files = {part.get_filename(): part for part in batch.iter_attachments()}
    [table] = [part for name, part in files.items() if name.endswith(".csv")]
    rows = list(csv.DictReader(io.StringIO(table.get_content())))
    assert tuple(rows[0]) == COLUMNS
    assert {row["source"] for row in rows} == {"203.0.113.9/32", "198.51.100.7/32"}
    assert {row["grounds"] for row in rows} == {"advertising", "false-source harmful"}
    # A spreadsheet must not run what a spammer wrote.
    assert all(row["subject"].startswith("'=") for row in rows)
    documents = [part.get_content() for name, part in files.items() if name.endswith(".json")]
    assert len(documents) == 2
    for document in documents:
        result = xarf.parse(document.decode() if isinstance(document, bytes) else document)
        assert result.errors == []
        assert result.report is not None
    assert [mail.get_content_type() for mail in feedback] == ["multipart/report"] * 2


@pytest.mark.parametrize(
    ("language", "yours", "reported", "ground"),
    [
        ("en", "in your network", "reports a spam source to the association", "unsolicited advertising"),
        ("zh", "贵方", "向互联网协会报告一个垃圾邮件来源：203.0.113.9", "未经同意的广告"),
    ],
)
def test_the_association_is_not_told_that_the_source_is_its_own(desk, language, yours, reported, ground):
    """Its feedback reports say what they are; an operator's say how we know that it is theirs; in one language."""
    case: Desk = desk(SETTINGS.replace("enabled = true", f'enabled = true\nlanguage = "{language}"'))
    spam(case)
    room = reports(case)
    room.association()
    batch, to_association = (parsed(octets) for octets in case.mails())
    words = next(to_association.iter_parts()).get_content()
    assert yours not in words
    assert reported in words
    assert ground in words
    assert "advertising" not in words or language == "en"
    [table] = [part for part in batch.iter_attachments() if part.get_content_type() == "text/csv"]
    assert table.get_param("charset") == "utf-8"
    room.operators(10)
    to_operator = next(parsed(case.mails()[-1]).iter_parts()).get_content()
    assert yours in to_operator
    assert {"en": "our list of contacts", "zh": "根据我方联系人名录"}[language] in to_operator
    assert "incident 1" in parsed(case.mails()[-1])["Subject"] or "事件 1" in parsed(case.mails()[-1])["Subject"]


def test_every_evidence_and_digest_of_a_xarf_document_is_what_it_says(desk):
    case: Desk = desk(SETTINGS)
    spam(case)
    [draft, *_] = reports(case).preview("association")
    files = {part.get_filename(): part for part in parsed(draft.written.octets).iter_attachments()}
    [content] = [part.get_content() for name, part in files.items() if name.endswith(".json")]
    document = json.loads(content)
    assert document["source_identifier"] == "203.0.113.9"
    assert document["source_port"] == 40123
    assert document["evidence"][0]["hash"].startswith("sha256:")
    assert case.rows("SELECT * FROM desk_mail") == []


def test_a_source_is_in_one_batch_until_it_is_seen_again(desk):
    case: Desk = desk(SETTINGS.replace(', "arf"', ""))
    spam(case)
    room = reports(case)
    assert [room.association(), room.association()] == [1, 0]
    case.clock.advance(60.0)
    spam(case)
    assert room.association() == 1


def test_more_sources_than_a_batch_holds_are_told_the_same_day_each_once(desk, monkeypatch):
    monkeypatch.setattr("gateway.abuse.reporting.association.MOST_IN_A_BATCH", 2)
    case: Desk = desk(SETTINGS.replace(', "arf"', "").replace('address = "abuse@hoster.test"', 'address = "a@b.test"'))
    room = reports(case, **{ZONE: ""})
    for last in range(1, 6):
        spam(case, f"198.51.100.{last}")
    told = [room.round()["association"]]
    for _ in range(4):
        case.clock.advance(31.0)
        # It sends all the time, and is told no second time for it.
        spam(case, "198.51.100.1")
        told.append(room.round().get("association", 0))
    assert told == [1, 1, 1, 0, 0]
    counts = "SELECT count(*), count(DISTINCT i.incident) FROM report_incident i JOIN report r ON r.id = i.report"
    assert case.rows(f"{counts} WHERE r.kind = 'association'") == [(5, 5)]


def test_a_batch_may_go_into_a_folder(desk):
    case: Desk = desk(SETTINGS.replace('address = "spam@association.test"', 'folder = "batches"'))
    spam(case)
    assert reports(case).association() == 1
    names = sorted(path.suffix for path in (case.folder / "batches").glob("*/*"))
    assert names == [".csv", ".json"]
    assert case.rows("SELECT state FROM reports_sent") == [("written",)]


def test_batches_leave_on_schedule_and_nothing_leaves_while_switched_off(desk):
    case: Desk = desk(SETTINGS.replace("enabled = true", "enabled = false"))
    spam(case)
    assert reports(case).round() == {}
    assert case.rows("SELECT * FROM report") == []


def test_a_round_writes_a_batch_at_its_time_of_day(desk):
    """02:00 UTC: the batch of 01:00 is due at once, the next one at 01:00 of the next day."""
    case: Desk = desk(SETTINGS + "[queue]\n")
    room = reports(case)
    spam(case)
    assert room.round()["association"] == 2
    case.clock.advance(22 * 3600.0)
    spam(case)
    assert "association" not in room.round()
    case.clock.advance(3600.0)
    assert room.round()["association"] == 2


def test_our_own_listing_is_told_at_once_and_once(desk):
    case: Desk = desk(SETTINGS)
    facts = {"identity": "192.0.2.1", "zone": "zen.test", "code": "127.0.0.2", "reason": "spam"}
    listed = OwnListingChanged(at=case.clock.stamp().utc, state="listed", **facts)
    cleared = OwnListingChanged(at=case.clock.stamp().utc, state="cleared", **facts)
    room = reports(case)
    assert room.round([listed])["listing"] == 1
    assert "listing" not in room.round([listed])
    assert room.round([cleared])["listing"] == 1
    first, second = map(parsed, case.mails())
    assert "zen.test" in first["Subject"]
    assert "192.0.2.1" in second["Subject"]
    assert first["To"] == "spam@association.test"


async def test_a_listing_that_could_not_be_told_is_told_later(desk):
    """What the journal told went by while the disk was full, or the gateway was stopped: it is read again."""
    case: Desk = desk(SETTINGS)
    facts = {"identity": "192.0.2.1", "zone": "zen.test", "code": "127.0.0.2", "reason": "spam"}
    await case.journal(OwnListingChanged(at=case.clock.stamp().utc, state="listed", **facts))
    room = reports(case)
    assert room.round()["listing"] == 1
    assert "listing" not in room.round()
    assert "listing" not in reports(case).round()


async def test_what_the_desk_puts_on_record_proves_itself(desk):
    """Tickets, reports and what came of them stand in the chain as they stand in their tables."""
    case: Desk = desk(SETTINGS)
    await case.know("01KAQ6WQ00000000000000000X")
    spam(case)
    case.read(arf(COMPLAINED % b"01KAQ6WQ00000000000000000X"))
    room = reports(case)
    room.operators(10)
    room.association()
    assert verify(case.data).flaws == ()
