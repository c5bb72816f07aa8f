"""Aggregate reports about our own domains, as others send them (RFC 9990, and the form before it).

``read_reports`` takes the octets of a file: XML, gzip, zip, or a mail with such attachments. Reports come from
strangers: sizes are bounded, packed and unpacked, a document type declaration is refused (with it every kind of
entity), and ``ReportError`` says what is wrong. Elements are compared without their namespace.
"""

import email
import email.policy
import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from xml.etree import ElementTree as ET

# The largest senders' reports have some 5 MB unpacked.
MAX_PACKED_OCTETS = 16 * 1024 * 1024
MAX_XML_OCTETS = 64 * 1024 * 1024
MAX_FILES = 100

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"


class ReportError(ValueError):
    """The octets are no report; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRow:
    """Messages that somebody says came from ``client`` with ``author`` in From."""

    reporter: str
    policy_domain: str
    client: str
    author: str
    count: int
    disposition: str
    dkim: str
    spf: str

    @property
    def passes(self) -> bool:
        """Whether DMARC passed."""
        return "pass" in (self.dkim, self.spf)


def read_reports(octets: bytes) -> list[ReportedRow]:
    """Return the rows of every report in ``octets``; raise ``ReportError``."""
    if len(octets) > MAX_PACKED_OCTETS:
        raise ReportError(f"more than {MAX_PACKED_OCTETS} octets")
    documents = list(_documents(octets))
    if not documents:
        raise ReportError("no report in it")
    return [row for document in documents for row in _rows(document)]


def _documents(octets: bytes) -> Iterator[bytes]:
    if octets.startswith(_GZIP):
        yield _gunzipped(octets)
    elif octets.startswith(_ZIP):
        yield from _unzipped(octets)
    elif octets.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        yield octets
    else:
        mail = email.message_from_bytes(octets, policy=email.policy.compat32)
        for part in [part for part in mail.walk() if not part.is_multipart()][:MAX_FILES]:
            payload = part.get_payload(decode=True)
            if isinstance(payload, bytes) and payload.startswith((_GZIP, _ZIP, b"<?xml", b"<feedback")):
                yield from _documents(payload)


def _gunzipped(octets: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(octets)) as stream:
            return _bounded(stream.read(MAX_XML_OCTETS + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise ReportError(f"damaged gzip: {error}") from error


def _unzipped(octets: bytes) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            for name in archive.namelist()[:MAX_FILES]:
                if name.lower().endswith(".xml"):
                    with archive.open(name) as stream:
                        yield _bounded(stream.read(MAX_XML_OCTETS + 1))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ReportError(f"damaged zip: {error}") from error


def _bounded(octets: bytes) -> bytes:
    if len(octets) > MAX_XML_OCTETS:
        raise ReportError(f"more than {MAX_XML_OCTETS} octets unpacked")
    return octets


def _rows(document: bytes) -> Iterator[ReportedRow]:
    root = _root(_bounded(document))
    reporter = _said(root, "report_metadata/org_name") or "?"
    domain = _said(root, "policy_published/domain").lower()
    for record in root.iterfind("record"):
        yield ReportedRow(
            reporter=reporter,
            policy_domain=domain,
            client=_client(_said(record, "row/source_ip")),
            author=_said(record, "identifiers/header_from").lower() or domain,
            count=_count(_said(record, "row/count")),
            disposition=_said(record, "row/policy_evaluated/disposition") or "none",
            dkim=_said(record, "row/policy_evaluated/dkim"),
            spf=_said(record, "row/policy_evaluated/spf"),
        )


def _root(document: bytes) -> ET.Element:
    # UTF-16 would hide the declaration; reports are UTF-8.
    if b"<!DOCTYPE" in document or b"<!ENTITY" in document or b"\0" in document:
        raise ReportError("a document type declaration or NUL octets")
    try:
        root = ET.fromstring(document)  # noqa: S314 - bounded, and without a declaration there are no entities
    except (ET.ParseError, LookupError, ValueError) as error:
        raise ReportError(f"not XML: {error}") from error
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    if root.tag != "feedback":
        raise ReportError(f"a {root.tag[:40]!r} and no DMARC report")
    return root


def _said(element: ET.Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()[:255]
    return "".join(character for character in text if character.isprintable())


def _client(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return "?"


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else 0  # noqa: PLR2004 - a day's mail
