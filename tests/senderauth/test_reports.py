"""Aggregate reports: what we write is what RFC 9990 has, what strangers send is read within bounds and counted once."""

import gzip
import io
import json
import zipfile
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from typer.testing import CliRunner

from gateway.cli import dmarc
from gateway.clock import FakeClock
from gateway.dns.zone import ZoneResolver
from gateway.intake.acceptance import judged
from gateway.policy.verdict import Verdict
from gateway.senderauth.dmarc import aggregate as counting
from gateway.senderauth.dmarc import ingest
from gateway.senderauth.dmarc.aggregate import aggregate
from gateway.senderauth.dmarc.facts import DmarcFacts
from gateway.senderauth.dmarc.ingest import MAX_XML_OCTETS, ReportError, read_reports
from gateway.senderauth.dmarc.report import NAMESPACE, Reporter, packed, report_mail, report_xml
from gateway.senderauth.message import MessageAuth
from gateway.smtp.replies import ACCEPTED, DMARC_REJECT
from tests.senderauth.conftest import MAIL
from tests.senderauth.test_message import CLOCK, transaction

ZONE = """
author.example TXT v=spf1 ip4:192.0.2.1 -all
_dmarc.author.example TXT v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@author.example
"""
BEGIN = 1_699_920_000
REPORTER = Reporter(
    host="mx.ours.example",
    organisation='Ours "and" <theirs>',
    email="postmaster@ours.example",
    generator="Tidegate 0",
    contact="https://ours.example/dmarc",
)


async def event(zone: str = ZONE, reply=ACCEPTED, findings=(), at: float = 0.0):
    """Return the event of a mail that was judged under ``zone``."""
    tx = transaction(MAIL)
    auth = MessageAuth.of(tx, ZoneResolver(zone))
    await auth.dmarc()
    facts = auth.report_facts
    verdict = Verdict(dispositions=(), reply=None, dmarc=facts.texts if facts else ())
    made = judged(tx, verdict, reply, CLOCK.stamp(), None)
    return replace(made, findings=tuple(findings), at=made.at + at)


@cache
def schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(Path(__file__).with_name("rfc9990.xsd")))


def parsed(xml: bytes) -> ET.Element:
    """Return a report's root without namespaces, once it is valid by the RFC's schema."""
    schema().assertValid(etree.fromstring(xml))
    root = ET.fromstring(xml)  # noqa: S314 - our own
    assert root.tag == f"{{{NAMESPACE}}}feedback"
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def day_of(events, domain: str = "author.example"):
    return aggregate(events, BEGIN, domain).get(domain)


async def test_a_report_has_every_element_in_its_order():
    events = [await event(), await event(), await event(ZONE.replace("192.0.2.1", "192.0.2.9"), DMARC_REJECT)]
    root = parsed(report_xml(day_of(events), "author.example", BEGIN, REPORTER))
    assert [child.tag for child in root] == ["version", "report_metadata", "policy_published", "record", "record"]
    assert [child.tag for child in root.find("report_metadata")] == [
        "org_name",
        "email",
        "extra_contact_info",
        "report_id",
        "date_range",
        "generator",
    ]
    published = {child.tag: child.text for child in root.find("policy_published")}
    assert published == {
        "domain": "author.example",
        "discovery_method": "treewalk",
        "p": "reject",
        "sp": "quarantine",
        "np": "quarantine",
        "fo": "0",
        "adkim": "r",
        "aspf": "r",
        "testing": "n",
    }
    passed, failed = root.findall("record")
    assert [child.tag for child in passed] == ["row", "identifiers", "auth_results"]
    assert passed.findtext("row/count") == "2"
    assert passed.findtext("row/policy_evaluated/disposition") == "pass"
    assert passed.findtext("row/policy_evaluated/spf") == "pass"
    assert passed.findtext("auth_results/spf/scope") == "mfrom"
    assert failed.findtext("row/policy_evaluated/disposition") == "reject"
    assert failed.find("row/policy_evaluated/reason") is None
    assert failed.findtext("auth_results/spf/result") == "fail"
    assert root.findtext("report_metadata/date_range/end") == str(BEGIN + 86_399)


async def test_what_was_done_otherwise_has_its_reason():
    failing = ZONE.replace("192.0.2.1", "192.0.2.9")
    reasons = [
        (await event(failing), "local_policy"),
        (await event(failing.replace("p=reject", "p=reject; t=y")), "policy_test_mode"),
        (await event(failing, findings=[("dmarc", "forwarded", "")]), "trusted_forwarder"),
    ]
    for made, reason in reasons:
        day = day_of([made])
        [row] = day.rows
        assert (row.disposition, row.reason) == ("none", reason)
        assert parsed(report_xml(day, "author.example", BEGIN, REPORTER)).findtext(".//reason/type") == reason


async def test_other_days_other_domains_and_domains_that_want_none_are_left_out():
    made = await event()
    assert aggregate([made], BEGIN - 86_400) == {}
    assert aggregate([made], BEGIN, "other.example") == {}
    silent = await event(ZONE.replace("rua=mailto:d@author.example", "fo=1"))
    assert silent.dmarc == ()
    unknown = await event("_dmarc.author.example TXT !SERVFAIL")
    assert unknown.dmarc == ()


def test_an_event_of_another_version_is_passed_over():
    assert DmarcFacts.read(("too", "few")) is None


async def test_the_policy_is_told_as_it_was_last_whatever_the_order_of_files():
    late = await event(ZONE.replace("p=reject", "p=none"), at=60.0)
    day = day_of([late, await event()])
    root = parsed(report_xml(day, "author.example", BEGIN, REPORTER))
    assert (root.findtext("policy_published/p"), len(root.findall("record"))) == ("none", 2)


async def test_domains_come_busiest_first_and_rows_beyond_the_bound_are_told(monkeypatch):
    monkeypatch.setattr(counting, "MAX_ROWS", 2)
    made = await event()
    facts = DmarcFacts.read(made.dmarc)
    quiet = replace(made, dmarc=replace(facts, policy_domain="quiet.example").texts)
    days = aggregate([quiet, *(replace(made, client=f"2001:db8::{n}") for n in range(1, 6))], BEGIN)
    assert list(days) == ["author.example", "quiet.example"]
    day = days["author.example"]
    assert (day.messages, day.rows.total(), day.left_out) == (5, 2, 3)
    assert "3 more" in parsed(report_xml(day, "author.example", BEGIN, REPORTER)).findtext("report_metadata/error")


async def test_what_senders_write_stays_text_in_valid_xml():
    hostile = replace(
        DmarcFacts.read((await event()).dmarc), envelope_domain="a\x01<&b>\ufffe", signatures="d<x/s&\x0c/pass"
    )
    xml = report_xml(day_of([replace(await event(), dmarc=hostile.texts)]), "author.example", BEGIN, REPORTER)
    root = parsed(xml)
    assert root.findtext("record/identifiers/envelope_from") == "a\\x01<&b>\\ufffe"
    assert root.findtext("report_metadata/org_name") == REPORTER.organisation


async def test_our_own_report_is_read_back():
    [report] = read_reports(report_xml(day_of([await event()]), "author.example", BEGIN, REPORTER))
    assert (report.reporter, report.report_id, report.domain, report.begin, report.end, report.policy) == (
        REPORTER.organisation,
        f"author.example.{BEGIN}@mx.ours.example",
        "author.example",
        BEGIN,
        BEGIN + 86_399,
        "reject",
    )
    [row] = report.rows
    assert (row.client, row.author, row.count, row.passes, row.envelopes) == (
        "192.0.2.1",
        "author.example",
        1,
        True,
        "author.example",
    )


async def test_the_mail_has_the_prescribed_form():
    xml = report_xml(day_of([await event()]), "author.example", BEGIN, REPORTER)
    mail = report_mail(packed(xml), "d@author.example", ("author.example", BEGIN), REPORTER, BEGIN + 90_000)
    assert (mail.sender, mail.recipients, mail.notify) == (
        "postmaster@ours.example",
        ("d@author.example",),
        frozenset({"NEVER"}),
    )
    assert all(len(line) <= 78 or line.startswith(b"Content-") for line in mail.octets.split(b"\r\n"))
    assert mail.octets.count(b"\n") == mail.octets.count(b"\r\n")
    read = message_from_bytes(mail.octets)
    # RFC 9990 §3.5.2
    own_id = f"author.example.{BEGIN}@mx.ours.example"
    assert " ".join(read["Subject"].split()) == (
        f"Report Domain: author.example Submitter: mx.ours.example Report-ID: <{own_id}>"
    )
    assert (read["Message-ID"], read["Auto-Submitted"], read["To"]) == (
        f"<{own_id}>",
        "auto-generated",
        "<d@author.example>",
    )
    text, attached = read.get_payload()
    assert text.get_content_type() == "text/plain"
    assert attached.get_content_type() == "application/gzip"
    assert attached.get_filename() == f"mx.ours.example!author.example!{BEGIN}!{BEGIN + 86_399}.xml.gz"
    assert gzip.decompress(attached.get_payload(decode=True)) == xml
    # A report that is sent again is the same report: same octets, same names.
    again = report_mail(packed(xml), "d@author.example", ("author.example", BEGIN), REPORTER, BEGIN + 90_000)
    assert again == mail


REPORT = b"""<?xml version="1.0"?><feedback><report_metadata><org_name>big.example</org_name></report_metadata>
<policy_published><domain>Ours.example</domain></policy_published>
<record><row><source_ip>192.0.2.1</source_ip><count>7</count><policy_evaluated><disposition>none</disposition>
<dkim>fail</dkim><spf>pass</spf></policy_evaluated></row><identifiers><header_from>Ours.example</header_from>
</identifiers></record>
<record><row><source_ip>not an address</source_ip><count>-3</count></row></record></feedback>"""


def zipped(content: bytes, name: str = "a.xml") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def mailed(content: bytes) -> bytes:
    mail = EmailMessage()
    mail["From"] = "reports@big.example"
    mail.set_content("Here it is.")
    mail.add_attachment(content, maintype="application", subtype="gzip", filename="a.xml.gz")
    return mail.as_bytes()


@pytest.mark.parametrize("packing", [lambda x: x, gzip.compress, zipped, lambda x: mailed(gzip.compress(x))])
def test_reports_are_read_however_they_are_packed(packing):
    [report] = read_reports(packing(REPORT))
    first, second = report.rows
    assert (first.author, first.count, first.dkim, first.spf) == ("ours.example", 7, "fail", "pass")
    assert (second.client, second.count, second.author) == ("?", 0, "ours.example")


def nested(depth: int) -> bytes:
    """Return a mail with multiparts in one another."""
    lines = [f'Content-Type: multipart/mixed; boundary="b{n}"\r\n\r\n--b{n}\r\n' for n in range(depth)]
    return "".join(lines).encode()


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<",
        b"<html/>",
        b"<feedback/>",
        b"nothing of the kind",
        b'<!DOCTYPE feedback [<!ENTITY a "aaaa">]><feedback/>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE feedback><feedback/>'.encode("utf-16"),
        b'<?xml version="1.0" encoding="cp037"?>' + "<!DOCTYPE feedback><feedback/>".encode("cp037"),
        b"<feedback>" + b"<a>" * 1000,
        b"<feedback>" + b"<record/>" * (ingest.MAX_ROWS + 1) + b"</feedback>",
        b"<?xml version='1.0' encoding='no-such-thing'?><feedback/>",
        gzip.compress(REPORT)[:40],
        b"PK\x03\x04broken",
        zipped(b"x", "a.txt"),
        gzip.compress(b"<" + b" " * (MAX_XML_OCTETS + 10)),
        nested(5000),
    ],
    ids=range(16),
)
def test_what_is_no_report_says_why(octets):
    with pytest.raises(ReportError):
        read_reports(octets)


def test_what_is_unpacked_is_bounded_for_all_files_together():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.xml", REPORT + b" " * (MAX_XML_OCTETS // 2))
    with pytest.raises(ReportError, match="unpacked"):
        read_reports(out.getvalue())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(ingest.MAX_FILES + 1):
            archive.writestr(f"{number}.xml", REPORT)
    with pytest.raises(ReportError, match="more than 100 files"):
        read_reports(out.getvalue())


@given(st.binary(max_size=300))
def test_octets_never_raise_anything_else(octets):
    for given_octets in (octets, b"<feedback>" + octets, gzip.compress(octets), b"\x1f\x8b" + octets):
        try:
            read_reports(given_octets)
        except ReportError:
            continue


# Commands -------------------------------------------------------------------------------------------------------------

NODE = 'hostname = "mx.ours.test"\ndata = "var"\n[[listen]]\naddress = "127.0.0.1:0"\n'


@pytest.fixture
def run(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "tidegate.toml").write_text(NODE, encoding="utf-8")
    policy = 'domains = ["ours.example"]\nnext_hop = "smtp://192.0.2.25"\n'
    (tmp_path / "policies/ours.toml").write_text(policy, encoding="utf-8")

    def invoke(*words: str):
        return CliRunner().invoke(dmarc.app, [*words, "--config", str(tmp_path / "tidegate.toml")])

    return invoke


def dated(report: bytes) -> bytes:
    """Return a report of the last days."""
    now = 4_000_000_000
    return report.replace(b"</org_name>", f"</org_name><date_range><end>{now}</end></date_range>".encode())


def test_reports_of_ours_become_a_table_of_who_sends_in_our_name(run, tmp_path):
    good = dated(REPORT.replace(b"<dkim>fail", b"<dkim>pass"))
    forged = dated(
        REPORT.replace(b"192.0.2.1", b"198.51.100.66").replace(b"<spf>pass", b"<spf>fail").replace(b"big", b"other")
    )
    foreign = REPORT.replace(b"Ours.example", b"theirs.example")
    folder = tmp_path / "reports"
    folder.mkdir()
    for name, content in (("a.xml", good), ("b.xml.gz", gzip.compress(forged)), ("c.eml", mailed(zipped(foreign)))):
        (folder / name).write_bytes(content)
    first = run("ingest", str(folder), "--json")
    assert first.exit_code == 0, first.output
    assert [(row["state"], row["domain"], row["messages"]) for row in json.loads(first.stdout)] == [
        ("taken", "ours.example", 7),
        ("taken", "ours.example", 7),
        ("not ours", "theirs.example", 7),
    ]
    again = run("ingest", str(folder / "a.xml"), "--json")
    assert [row["state"] for row in json.loads(again.stdout)] == ["known"]
    told = json.loads(run("senders", "--domain", "ours.example", "--json").stdout)
    assert [(row["client"], row["messages"], row["passing"], row["reporters"]) for row in told] == [
        ("198.51.100.66", 7, 0, ["other.example"]),
        ("192.0.2.1", 7, 7, ["big.example"]),
        ("?", 0, 0, ["big.example", "other.example"]),
    ]
    assert run("senders", "--domain", "elsewhere.example").stdout == ""
    assert "198.51.100.66" in run("senders").stdout.splitlines()[0]


def test_ingest_names_the_file_that_is_none_and_takes_the_others(run, tmp_path):
    (tmp_path / "x.xml").write_bytes(b"<html/>")
    (tmp_path / "y.xml").write_bytes(REPORT)
    result = run("ingest", str(tmp_path / "x.xml"), str(tmp_path / "y.xml"), "--json")
    assert result.exit_code == 65
    assert [row["state"] for row in json.loads(result.stdout)] == ["no report", "taken"]
    assert run("ingest", str(tmp_path / "gone.xml")).exit_code == 66


def test_report_and_send_want_a_day_that_is_over(run):
    assert run("report", "--domain", "a.example", "--date", "yesterday").exit_code == 2
    assert run("send", "--date", "2999-01-01").exit_code == 2


def test_nothing_is_sent_that_nobody_signs(run):
    result = run("send", "--date", "2026-01-01")
    assert (result.exit_code, "author is missing" in result.output) == (75, True)


def test_the_clock_of_these_tests_is_within_the_day():
    assert BEGIN <= FakeClock(1_700_000_000.0).stamp().utc < BEGIN + 86_400
