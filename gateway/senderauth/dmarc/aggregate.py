"""Aggregate reports (RFC 9990): one domain's day as XML, from the journal's events.

``aggregate`` counts, ``report_xml`` writes. What a report says is what was done: *pass* for mail in order, else what
became of it here, with the reason where that is not what the domain asked for.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from gateway.journal.events import MessageJudged
from gateway.senderauth.dmarc.facts import DmarcFacts
from gateway.senderauth.dmarc.record import parse_dmarc

NAMESPACE = "urn:ietf:params:xml:ns:dmarc-2.0"
DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Row:
    """What is counted: messages of one client that were alike."""

    client: str
    disposition: str
    reason: str
    facts: DmarcFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Reporter:
    """Who reports: ``organisation`` our host name, ``email`` whom to ask, ``generator`` this program and version."""

    organisation: str
    email: str
    generator: str


def aggregate(events: Iterable[MessageJudged], domain: str, begin: float) -> Counter[Row]:
    """Return how often what happened to mail under ``domain``'s policy in the day from UTC second ``begin``."""
    rows: Counter[Row] = Counter()
    for event in events:
        facts = DmarcFacts.read(event.dmarc)
        if facts is None or facts.policy_domain != domain or not begin <= event.at < begin + DAY_SECONDS:
            continue
        disposition = _disposition(event, facts)
        rows[Row(event.client, disposition, _reason(event, disposition, facts), facts)] += 1
    return rows


def _disposition(event: MessageJudged, facts: DmarcFacts) -> str:
    if facts.result == "pass":
        return "pass"
    if event.reply.startswith("5"):
        return "reject"
    actions = {action for _, action, *_ in event.dispositions}
    return "quarantine" if "quarantine" in actions else "none"


def _reason(event: MessageJudged, disposition: str, facts: DmarcFacts) -> str:
    # RFC 9990, policy_evaluated: where alignment fails and what was done is not what was asked for, a reason is due.
    if facts.result == "pass" or disposition == facts.policy:
        return ""
    if any((name, result) == ("dmarc", "forwarded") for name, result, _ in event.findings):
        return "trusted_forwarder"
    record = parse_dmarc(facts.record)
    return "policy_test_mode" if record is not None and record.testing else "local_policy"


def report_xml(rows: Counter[Row], domain: str, begin: int, reporter: Reporter) -> bytes:
    """Return the report as XML; ``rows`` is not empty."""
    # Unprefixed, as every reader of such reports expects it.
    ET.register_namespace("", NAMESPACE)
    root = ET.Element(f"{{{NAMESPACE}}}feedback")
    _text(root, "version", "1.0")
    _metadata(_element(root, "report_metadata"), domain, begin, reporter)
    latest = next(reversed(rows)).facts
    _published(_element(root, "policy_published"), domain, latest)
    for row, count in rows.items():
        _record(_element(root, "record"), row, count)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _metadata(parent: ET.Element, domain: str, begin: int, reporter: Reporter) -> None:
    _text(parent, "org_name", reporter.organisation)
    _text(parent, "email", reporter.email)
    # RFC 9990, Report-ID: unique for us, the domain and the day.
    _text(parent, "report_id", f"{domain}.{begin}@{reporter.organisation}")
    period = _element(parent, "date_range")
    _text(period, "begin", str(begin))
    _text(period, "end", str(begin + DAY_SECONDS - 1))
    _text(parent, "generator", reporter.generator)


def _published(parent: ET.Element, domain: str, facts: DmarcFacts) -> None:
    record = parse_dmarc(facts.record)
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
    _element(parent, name).text = text
