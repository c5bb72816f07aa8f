"""Aggregate reports: what we write is what RFC 9990 has, what strangers send is read within bounds."""

import gzip
import io
import zipfile
from dataclasses import replace
from email.message import EmailMessage
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gateway.cli import dmarc
from gateway.clock import FakeClock
from gateway.dns.zone import ZoneResolver
from gateway.intake.acceptance import judged
from gateway.policy.verdict import Verdict
from gateway.senderauth.dmarc.aggregate import NAMESPACE, Reporter, aggregate, report_xml
from gateway.senderauth.dmarc.facts import DmarcFacts
from gateway.senderauth.dmarc.ingest import MAX_XML_OCTETS, ReportError, read_reports
from gateway.senderauth.message import MessageAuth
from gateway.smtp.replies import ACCEPTED, DMARC_REJECT
from tests.senderauth.conftest import MAIL
from tests.senderauth.test_message import CLOCK, transaction

ZONE = """
author.example TXT v=spf1 ip4:192.0.2.1 -all
_dmarc.author.example TXT v=DMARC1; p=reject; sp=quarantine; rua=mailto:d@author.example
"""
BEGIN = 1_699_920_000
REPORTER = Reporter(organisation="mx.ours.example", email="postmaster@ours.example", generator="Tidegate 0")


async def event(zone: str = ZONE, reply=ACCEPTED, findings=()):
    """Return the event of a mail that was judged under ``zone``."""
    tx = transaction(MAIL)
    auth = MessageAuth.of(tx, ZoneResolver(zone))
    await auth.dmarc()
    facts = auth.report_facts
    verdict = Verdict(dispositions=(), reply=None, dmarc=facts.texts if facts else ())
    made = judged(tx, verdict, reply, CLOCK.stamp(), None)
    return replace(made, findings=tuple(findings))


def parsed(xml: bytes) -> ET.Element:
    root = ET.fromstring(xml)  # noqa: S314 - our own
    assert root.tag == f"{{{NAMESPACE}}}feedback"
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


async def test_a_report_has_every_element_in_its_order():
    events = [await event(), await event(), await event(ZONE.replace("192.0.2.1", "192.0.2.9"), DMARC_REJECT)]
    rows = aggregate(events, "author.example", BEGIN)
    root = parsed(report_xml(rows, "author.example", BEGIN, REPORTER))
    assert [child.tag for child in root] == ["version", "report_metadata", "policy_published", "record", "record"]
    assert [child.tag for child in root.find("report_metadata")] == [
        "org_name",
        "email",
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
        [row] = aggregate([made], "author.example", BEGIN)
        assert (row.disposition, row.reason) == ("none", reason)


async def test_other_days_other_domains_and_domains_that_want_none_are_left_out():
    made = await event()
    assert aggregate([made], "author.example", BEGIN - 86_400) == {}
    assert aggregate([made], "other.example", BEGIN) == {}
    silent = await event(ZONE.replace("rua=mailto:d@author.example", "fo=1"))
    assert silent.dmarc == ()
    unknown = await event("_dmarc.author.example TXT !SERVFAIL")
    assert unknown.dmarc == ()


def test_an_event_of_another_version_is_passed_over():
    assert DmarcFacts.read(("too", "few")) is None


async def test_our_own_report_is_read_back():
    xml = report_xml(aggregate([await event()], "author.example", BEGIN), "author.example", BEGIN, REPORTER)
    [row] = read_reports(xml)
    assert (row.reporter, row.policy_domain, row.client, row.author, row.count, row.passes) == (
        "mx.ours.example",
        "author.example",
        "192.0.2.1",
        "author.example",
        1,
        True,
    )


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


@pytest.mark.parametrize("packed", [lambda x: x, gzip.compress, zipped, lambda x: mailed(gzip.compress(x))])
def test_reports_are_read_however_they_are_packed(packed):
    first, second = read_reports(packed(REPORT))
    assert (first.author, first.count, first.dkim, first.spf) == ("ours.example", 7, "fail", "pass")
    assert (second.client, second.count, second.author) == ("?", 0, "ours.example")


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<",
        b"<html/>",
        b"nothing of the kind",
        b'<!DOCTYPE feedback [<!ENTITY a "aaaa">]><feedback/>',
        "<feedback/>".encode("utf-16"),
        gzip.compress(REPORT)[:40],
        b"PK\x03\x04broken",
        zipped(b"x", "a.txt"),
        gzip.compress(b"<" + b" " * (MAX_XML_OCTETS + 10)),
    ],
    ids=range(10),
)
def test_what_is_no_report_says_why(octets):
    with pytest.raises(ReportError):
        read_reports(octets)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_octets_never_raise_anything_else(octets):
    for given_octets in (octets, b"<feedback>" + octets, gzip.compress(octets), b"\x1f\x8b" + octets):
        try:
            read_reports(given_octets)
        except ReportError:
            continue


# Commands -------------------------------------------------------------------------------------------------------------


def test_ingest_tells_failing_sources_first(tmp_path):
    good = REPORT.replace(b"<dkim>fail", b"<dkim>pass")
    forged = REPORT.replace(b"192.0.2.1", b"198.51.100.66").replace(b"<spf>pass", b"<spf>fail")
    for name, content in (("a.xml", good), ("b.xml.gz", gzip.compress(forged))):
        (tmp_path / name).write_bytes(content)
    result = CliRunner().invoke(dmarc.app, ["ingest", str(tmp_path / "a.xml"), str(tmp_path / "b.xml.gz")])
    assert result.exit_code == 0, result.output
    first, second, *_ = [line.split("\t") for line in result.stdout.splitlines()]
    assert first[:4] == ["ours.example", "198.51.100.66", "7", "0"]
    assert "192.0.2.1" in second


def test_ingest_names_the_file_that_is_none(tmp_path):
    (tmp_path / "x.xml").write_bytes(b"<html/>")
    result = CliRunner().invoke(dmarc.app, ["ingest", str(tmp_path / "x.xml")])
    assert result.exit_code == 65
    assert CliRunner().invoke(dmarc.app, ["ingest", str(tmp_path / "gone.xml")]).exit_code == 66


def test_report_wants_a_day():
    result = CliRunner().invoke(dmarc.app, ["report", "--domain", "a.example", "--date", "yesterday"])
    assert result.exit_code == 2


def test_the_clock_of_these_tests_is_within_the_day():
    assert BEGIN <= FakeClock(1_700_000_000.0).stamp().utc < BEGIN + 86_400
