"""An aggregate report as it travels (RFC 9990): XML by the RFC's schema, gzipped, in a mail of the prescribed form.

The same day makes the same octets each time, so that a report which is sent again can be told as the same one
(RFC 9990 §3.5): its id is made of domain, day and host, the file's name and the Message-ID of that.
"""

import base64
import gzip
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from xml.etree import ElementTree as ET

from gateway.mail.own_mail import OwnMail
from gateway.senderauth.dmarc.aggregate import DAY_SECONDS, Day, Row
from gateway.senderauth.dmarc.record import parse_dmarc
from gateway.smtp.reply import printable

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
PURPOSE = "dmarc-report"
# RFC 2045 §6.8: lines of base 64 have at most 76 characters, which are 57 octets.
_LINE_OCTETS = 57


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Who reports.

    ``host`` is our name, ``organisation`` what people call us, ``email`` the author of reports and whom to ask,
    ``contact`` another way to us or "", ``generator`` this program and version.
    """

    host: str
    organisation: str
    email: str
    generator: str
    contact: str = ""


def report_id(domain: str, begin: int, reporter: Reporter) -> str:
    """Return the Report-ID: unique for the domain, the day and us (RFC 9990 §3.5.1)."""
    return f"{domain}.{begin}@{reporter.host}"


def file_name(domain: str, begin: int, reporter: Reporter) -> str:
    """Return what the gzipped report's file is called (RFC 9990 §3.5.2)."""
    return f"{reporter.host}!{domain}!{begin}!{begin + DAY_SECONDS - 1}.xml.gz"


def packed(xml: bytes) -> bytes:
    """Return the report gzipped, without a time in it."""
    return gzip.compress(xml, mtime=0)


def report_mail(gzipped: bytes, address: str, about: tuple[str, int], reporter: Reporter, now: float) -> OwnMail:
    """Return the mail that takes a gzipped report to ``address``; ``about`` is the policy domain and the day."""
    domain, begin = about
    name, own_id = file_name(domain, begin, reporter), report_id(domain, begin, reporter)
    boundary = f"=_{begin}_{reporter.host}"
    day = f"{datetime.fromtimestamp(begin, UTC):%Y-%m-%d}"
    text = (
        f"This is the DMARC aggregate report of {printable(reporter.organisation)} about mail\r\n"
        f"whose author is of {domain}, judged on {day} (UTC).\r\n"
        f"Where to send such reports is said by the record at _dmarc.{domain}.\r\n"
        f"Questions: {reporter.email}\r\n"
    )
    fields = [
        f"From: {_phrase(reporter.organisation)} <{reporter.email}>",
        f"To: <{address}>",
        # RFC 9990 §3.5.2: dmarc-subject.
        f"Subject: Report Domain: {domain}\r\n\tSubmitter: {reporter.host}\r\n\tReport-ID: <{own_id}>",
        f"Date: {format_datetime(datetime.fromtimestamp(now, UTC))}",
        f"Message-ID: <{own_id}>",
        # RFC 3834 §5: made by a machine, and nobody's answer.
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed;\r\n\tboundary="{boundary}"',
    ]
    attached = (
        f"--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{text}\r\n"
        f'--{boundary}\r\nContent-Type: application/gzip;\r\n\tname="{name}"\r\n'
        f'Content-Disposition: attachment;\r\n\tfilename="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    head = "\r\n".join(fields) + "\r\n\r\n" + attached
    octets = head.encode("ascii") + _base64_lines(gzipped) + f"--{boundary}--\r\n".encode("ascii")
    return OwnMail(sender=reporter.email, recipients=(address,), octets=octets, purpose=PURPOSE)


def _base64_lines(octets: bytes) -> bytes:
    pieces = (octets[at : at + _LINE_OCTETS] for at in range(0, len(octets), _LINE_OCTETS))
    return b"".join(base64.b64encode(piece) + b"\r\n" for piece in pieces)


def _phrase(text: str) -> str:
    # RFC 5322 §3.2.4: a quoted-string holds what is no atom.
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def report_xml(day: Day, domain: str, begin: int, reporter: Reporter) -> bytes:
    """Return the report of a day on which there was something to report, as XML."""
    # Unprefixed, as every reader of such reports expects it.
    ET.register_namespace("", NAMESPACE)
    root = ET.Element(f"{{{NAMESPACE}}}feedback")
    _text(root, "version", "1.0")
    metadata = _element(root, "report_metadata")
    _metadata(metadata, domain, begin, reporter)
    if day.left_out:
        _text(metadata, "error", f"{day.left_out} more messages found no room in this report")
    _text(metadata, "generator", reporter.generator)
    # RFC 9990 §3.3: a policy that changed meanwhile stands there as it was last.
    _published(_element(root, "policy_published"), domain, day.record)
    for row, count in day.rows.items():
        _record(_element(root, "record"), row, count)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _metadata(parent: ET.Element, domain: str, begin: int, reporter: Reporter) -> None:
    _text(parent, "org_name", reporter.organisation)
    _text(parent, "email", reporter.email)
    if reporter.contact:
        _text(parent, "extra_contact_info", reporter.contact)
    _text(parent, "report_id", report_id(domain, begin, reporter))
    period = _element(parent, "date_range")
    _text(period, "begin", str(begin))
    _text(period, "end", str(begin + DAY_SECONDS - 1))


def _published(parent: ET.Element, domain: str, text: str) -> None:
    record = parse_dmarc(text)
    _text(parent, "domain", domain)
    _text(parent, "discovery_method", "treewalk")
    if record is None:
        _text(parent, "p", "none")
        return
    _text(parent, "p", record.p.value)
    _text(parent, "sp", (record.sp or record.p).value)
    _text(parent, "np", (record.np or record.sp or record.p).value)
    _text(parent, "fo", record.fo)
    _text(parent, "adkim", "s" if record.strict_dkim else "r")
    _text(parent, "aspf", "s" if record.strict_spf else "r")
    _text(parent, "testing", "y" if record.testing else "n")


def _record(parent: ET.Element, row: Row, count: int) -> None:
    facts = row.facts
    line = _element(parent, "row")
    _text(line, "source_ip", row.client)
    _text(line, "count", str(count))
    evaluated = _element(line, "policy_evaluated")
    _text(evaluated, "disposition", row.disposition)
    _text(evaluated, "dkim", facts.aligned_dkim)
    _text(evaluated, "spf", facts.aligned_spf)
    if row.reason:
        _text(_element(evaluated, "reason"), "type", row.reason)
    identifiers = _element(parent, "identifiers")
    _text(identifiers, "header_from", facts.author)
    _text(identifiers, "envelope_from", facts.envelope_domain)
    results = _element(parent, "auth_results")
    for domain, selector, result in facts.signature_parts:
        signature = _element(results, "dkim")
        _text(signature, "domain", domain)
        _text(signature, "selector", selector)
        _text(signature, "result", result)
    if facts.spf:
        spf = _element(results, "spf")
        _text(spf, "domain", facts.envelope_domain)
        _text(spf, "scope", "mfrom")
        _text(spf, "result", facts.spf)


def _element(parent: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(parent, f"{{{NAMESPACE}}}{name}")


def _text(parent: ET.Element, name: str, text: str) -> None:
    # XML 1.0 §2.2: some characters may not be written in any way, and a HELO name may have them.
    _element(parent, name).text = text if text.isprintable() else printable(text)
