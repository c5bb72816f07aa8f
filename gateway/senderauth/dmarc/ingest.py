"""Aggregate reports about our own domains, as others send them (RFC 9990, and the form before it).

``read_reports`` takes the octets of a file: XML, gzip, zip, or a mail with such attachments. Reports come from
strangers: what is packed and unpacked is bounded for the whole file together, whatever it holds; the XML is read as a
stream that never becomes a tree, without any document type declaration (so without entities of any kind), in bounded
depth and number of rows. ``ReportError`` says what is wrong. Elements are compared without their namespace.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from xml.parsers import expat

from gateway.mail.content import Content
from gateway.mail.mime import parse
from gateway.smtp.reply import printable

# The largest senders' reports have some 5 MB unpacked; together, of one file.
MAX_PACKED_OCTETS = 16 * 1024 * 1024
MAX_XML_OCTETS = 64 * 1024 * 1024
MAX_FILES = 100
MAX_ROWS = 200_000
# The schema has five levels, extensions some more.
MAX_DEPTH = 20
# The longest text that counts is a domain.
MAX_TEXT = 1024
# Nobody sends more in a day; sums of such stay whole numbers of SQLite.
MAX_COUNT = 10**12
# The year 2100.
MAX_SECOND = 4_102_444_800

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_BEGINNINGS = (_GZIP, _ZIP, b"<?xml", b"<feedback", b"\xef\xbb\xbf<")


class ReportError(ValueError):
    """The octets are no report; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRow:
    """Messages that somebody says came from ``client`` with ``author`` in From.

    ``dkim`` and ``spf`` are DMARC's word for them; ``signers`` and ``envelopes`` the domains whose signature or SPF
    passed by itself, aligned or not: they tell who the sender is.
    """

    client: str
    author: str
    count: int
    disposition: str
    dkim: str
    spf: str
    signers: str = ""
    envelopes: str = ""

    @property
    def passes(self) -> bool:
        """Whether DMARC passed."""
        return "pass" in (self.dkim, self.spf)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedReport:
    """One report; ``begin`` and ``end`` are UTC seconds, 0 where it does not say."""

    reporter: str
    report_id: str
    domain: str
    begin: int
    end: int
    policy: str
    rows: tuple[ReportedRow, ...] = field(repr=False)

    @property
    def messages(self) -> int:
        """How many messages it tells of."""
        return sum(row.count for row in self.rows)


def read_reports(octets: bytes) -> list[ReceivedReport]:
    """Return every report in ``octets``; raise ``ReportError``."""
    if len(octets) > MAX_PACKED_OCTETS:
        raise ReportError(f"more than {MAX_PACKED_OCTETS} octets")
    budget = _Budget()
    found = [_Reader().read(document) for document in _documents(octets, budget)]
    if not found:
        raise ReportError("no report in it")
    return found


class _Budget:
    """What may still be unpacked of one file."""

    def __init__(self) -> None:
        self.octets = MAX_XML_OCTETS
        self.files = MAX_FILES

    def took(self, octets: bytes) -> bytes:
        self.octets -= len(octets)
        self.files -= 1
        if self.octets < 0:
            raise ReportError(f"more than {MAX_XML_OCTETS} octets unpacked")
        if self.files < 0:
            raise ReportError(f"more than {MAX_FILES} files in it")
        return octets


def _documents(octets: bytes, budget: _Budget) -> Iterator[bytes]:
    if octets.startswith(_GZIP):
        yield _gunzipped(octets, budget)
    elif octets.startswith(_ZIP):
        yield from _unzipped(octets, budget)
    elif octets.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        yield budget.took(octets)
    else:
        content = Content(octets)
        for part in parse(content).parts:
            payload = b"" if part.is_divided or part.is_multipart else part.decoded(content)
            if payload.startswith(_BEGINNINGS):
                yield from _documents(payload, budget)


def _gunzipped(octets: bytes, budget: _Budget) -> bytes:
    try:
        with gzip.open(io.BytesIO(octets)) as stream:
            return budget.took(stream.read(budget.octets + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise ReportError(f"damaged gzip: {error}") from error


def _unzipped(octets: bytes, budget: _Budget) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(octets)) as archive:
            for name in archive.namelist()[: MAX_FILES + 1]:
                if name.lower().endswith(".xml"):
                    with archive.open(name) as stream:
                        yield budget.took(stream.read(budget.octets + 1))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise ReportError(f"damaged zip: {error}") from error


_PATHS = {
    "report_metadata/org_name",
    "report_metadata/report_id",
    "report_metadata/date_range/begin",
    "report_metadata/date_range/end",
    "policy_published/domain",
    "policy_published/p",
    "record/row/source_ip",
    "record/row/count",
    "record/row/policy_evaluated/disposition",
    "record/row/policy_evaluated/dkim",
    "record/row/policy_evaluated/spf",
    "record/identifiers/header_from",
}
_RESULTS = ("record/auth_results/dkim", "record/auth_results/spf")


class _Reader:
    """One document, read as a stream; the values of one record are held at a time."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text = ""
        self._said: dict[str, str] = {}
        self._result: dict[str, str] = {}
        self._passed: dict[str, list[str]] = {path: [] for path in _RESULTS}
        self._rows: list[ReportedRow] = []

    def read(self, document: bytes) -> ReceivedReport:
        """Return the report; raise ``ReportError``."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _no_declaration
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        try:
            parser.Parse(document, True)
        except (expat.ExpatError, LookupError, ValueError) as error:
            raise error if isinstance(error, ReportError) else ReportError(f"not XML: {error}") from error
        domain = self._said.get("policy_published/domain", "").lower()
        if not domain:
            raise ReportError("it does not say of which domain")
        return ReceivedReport(
            reporter=self._said.get("report_metadata/org_name") or "?",
            report_id=self._said.get("report_metadata/report_id", ""),
            domain=domain,
            begin=_second(self._said.get("report_metadata/date_range/begin", "")),
            end=_second(self._said.get("report_metadata/date_range/end", "")),
            policy=self._said.get("policy_published/p", ""),
            rows=tuple(row if row.author else _with_author(row, domain) for row in self._rows),
        )

    def _start(self, name: str, _: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if not self._path and local != "feedback":
            raise ReportError(f"not a report but {printable(local[:40])}")
        self._path.append(local)
        self._text = ""
        if len(self._path) > MAX_DEPTH:
            raise ReportError("elements within elements without end")

    def _characters(self, text: str) -> None:
        if len(self._text) < MAX_TEXT:
            self._text += text[:MAX_TEXT]

    def _end(self, _: str) -> None:
        path = "/".join(self._path[1:])
        parent, _, name = path.rpartition("/")
        text, self._text = printable(self._text.strip()[:MAX_TEXT]), ""
        self._path.pop()
        if path in _PATHS:
            self._said.setdefault(path, text)
        elif parent in _RESULTS:
            self._result.setdefault(name, text)
        elif path in _RESULTS:
            self._keep_result(path)
        elif path == "record":
            self._keep_record()

    def _keep_result(self, path: str) -> None:
        domain, passed = self._result.get("domain", "").lower(), self._result.get("result") == "pass"
        if passed and domain and domain not in self._passed[path] and len(self._passed[path]) < MAX_DEPTH:
            self._passed[path].append(domain)
        self._result = {}

    def _keep_record(self) -> None:
        if len(self._rows) >= MAX_ROWS:
            raise ReportError(f"more than {MAX_ROWS} rows")
        said = {path: self._said.pop(path, "") for path in _PATHS if path.startswith("record/")}
        evaluated = "record/row/policy_evaluated/"
        self._rows.append(
            ReportedRow(
                client=_client(said["record/row/source_ip"]),
                author=said["record/identifiers/header_from"].lower(),
                count=_number(said["record/row/count"]),
                disposition=said[f"{evaluated}disposition"] or "none",
                dkim=said[f"{evaluated}dkim"],
                spf=said[f"{evaluated}spf"],
                signers=" ".join(self._passed[_RESULTS[0]]),
                envelopes=" ".join(self._passed[_RESULTS[1]]),
            )
        )
        self._passed = {path: [] for path in _RESULTS}


def _no_declaration(*_: object) -> None:
    raise ReportError("a document type declaration")


def _with_author(row: ReportedRow, domain: str) -> ReportedRow:
    return replace(row, author=domain)


def _client(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return "?"


def _second(text: str) -> int:
    second = _number(text)
    return second if second <= MAX_SECOND else 0


def _number(text: str) -> int:
    return min(int(text), MAX_COUNT) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_COUNT)) else 0
