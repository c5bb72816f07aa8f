"""Personal data left out of what leaves the house (RFC 6590): local parts become pseudonyms, domains stay.

RFC 6590 §3: each private text is replaced by the same pseudonym wherever it occurs, made with a key that stays with
whoever redacts, so that reports about one mailbox can be told to belong together and nobody else can tell whose it is.
Here: the first 16 characters of base32 of HMAC-SHA-256, which is a local part that every system takes (§3 step 4 asks
for an encoding that fits the place).

Private are our users' addresses: the envelope's recipients, those in To, Cc, Bcc and the delivery fields, and an
account that is itself the source. A spammer's own addresses are what a report is about and stay. Addresses in parts
that are encoded (quoted-printable, base64) are found too; what names a person in other ways, such as a token in a link
or a name in a greeting, is not: send the header section alone where that matters (§5.2 says as much).
"""

import base64
import email.message
import email.parser
import email.policy
import hashlib
import hmac
import os
import quopri
import re
from collections.abc import Iterable, Sequence
from email.header import decode_header
from pathlib import Path
from typing import Any

from gateway.incidents.schema import FOLDER
from gateway.storage import DurableFiles

KEY_OCTETS = 32
_PSEUDONYM_CHARACTERS = 16
_ADDRESSED = (
    "to",
    "cc",
    "bcc",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "x-envelope-to",
    "resent-to",
    "resent-cc",
)
# Whose a mail is: private where it is a complaint.
_AUTHORS = ("from", "sender", "reply-to", "return-path")
_SIGN = re.compile("(@|%40|=40)")
# RFC 5322 §3.4.1 in a form that takes what occurs; the local part is what is replaced.
_ADDRESS = re.compile(r"([^\s<>()\[\]:;,\"@\\]+)@([\w.-]+\w)")
# A search for thousands of addresses in one message is somebody's list, and takes its time.
MAX_PRIVATE = 5000
# mail.mime looks no deeper; what lies below is left out.
_MAX_DEPTH = 50


def redaction_key(data: Path, files: DurableFiles | None = None) -> bytes:
    """Return the node's key, made at the first call; whoever has it can tell whose a pseudonym is."""
    path = data / FOLDER / "redaction.key"
    if not path.exists():
        (files or DurableFiles()).write(path, [os.urandom(KEY_OCTETS)])
        path.chmod(0o600)
    return path.read_bytes()


class Redactor:
    """Replaces what is private; the same key gives the same pseudonyms."""

    def __init__(self, key: bytes, private: Iterable[str] = ()) -> None:
        self._key = key
        self._private = {each.casefold() for each in list(private)[:MAX_PRIVATE] if "@" in each}
        self._pattern = _pattern_of(self._private)

    def with_private(self, addresses: Iterable[str]) -> "Redactor":
        """Return one that holds these addresses for private as well."""
        return Redactor(self._key, {*self._private, *addresses})

    def pseudonym(self, address: str) -> str:
        """Return an address with its local part replaced; the domain stays (RFC 6590 §3)."""
        # A link writes the sign as %40, quoted-printable as =40.
        parts = _SIGN.split(address)
        local, domain = ("@".join(parts[0:-2:2]), parts[-1]) if len(parts) > 1 else (address, "")
        return f"{self._local(local, domain)}{parts[-2] if domain else ''}{domain}"

    def _local(self, local: str, domain: str) -> str:
        digest = hmac.digest(self._key, f"{local.casefold()}@{domain.casefold()}".encode("utf-8", "replace"), "sha256")
        return base64.b32encode(digest).decode("ascii")[:_PSEUDONYM_CHARACTERS].lower()

    def text(self, text: str) -> str:
        """Return a text in which every private address is its pseudonym."""
        return self._pattern.sub(lambda found: self.pseudonym(found[0]), text) if self._pattern else text

    def octets(self, octets: bytes) -> bytes:
        """Return octets in which every private address is its pseudonym."""
        return self.text(octets.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")

    def value(self, value: Any) -> Any:
        """Return plain values, texts within redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(each) for key, each in value.items()}
        return [self.value(each) for each in value] if isinstance(value, list | tuple) else value

    def message(self, content: bytes, depth: int = 0, fields: Sequence[str] = _ADDRESSED) -> bytes:
        """Return a message with private addresses replaced, those that its address fields name everywhere in it."""
        head, gap, body = _split(content)
        parsed = email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(head)
        redactor = self.with_private(_addressed(parsed, fields))
        return redactor.header(head, fields) + gap + redactor.body(parsed, body, depth)

    def complaint(self, content: bytes) -> bytes:
        """Return a complaint's mail, whose author is private too; of an enclosed mail, the author is not."""
        return self.message(content, fields=(*_ADDRESSED, *_AUTHORS))

    def header(self, section: bytes, fields: Sequence[str] = _ADDRESSED) -> bytes:
        """Return a header section, a field that names somebody in encoded words written anew."""
        return b"".join(self._field(field, fields) for field in re.split(rb"(?<=\n)(?![ \t])", section))

    def _field(self, field: bytes, fields: Sequence[str]) -> bytes:
        """Return a field; one that says for whom the mail is loses the names beside the addresses too."""
        plain = re.sub(rb"\r?\n(?=[ \t])", b"", field)
        name, colon, value = plain.partition(b":")
        if name.strip().lower().decode("ascii", "replace") in fields:
            found = [self.pseudonym(match[0]) for match in _ADDRESS.finditer(_decoded(value))]
            return name + colon + b" " + ", ".join(found).encode("utf-8", "replace") + b"\r\n"
        if b"=?" in value:
            decoded = _decoded(value)
            if (cleared := self.text(decoded)) != decoded:
                words = base64.b64encode(cleared.strip().encode("utf-8", "replace"))
                return self.octets(name) + colon + b" =?utf-8?B?" + words + b"?=\r\n"
        cleared_octets = self.octets(plain)
        return field if cleared_octets == plain else cleared_octets

    def body(self, header: email.message.Message, body: bytes, depth: int = 0) -> bytes:
        """Return a body; an encoded part that names somebody is decoded, redacted and encoded again."""
        encoding = str(header.get("content-transfer-encoding", "")).strip().lower()
        if depth > _MAX_DEPTH:
            return b""
        if header.get_content_maintype() == "multipart":
            return self._parts(header, body, depth + 1)
        if header.get_content_type() == "message/rfc822" and encoding in {"", "7bit", "8bit", "binary"}:
            return self.message(body, depth + 1)
        if encoding in {"base64", "quoted-printable"}:
            return self._encoded(body, encoding)
        return self.octets(body)

    def _parts(self, header: email.message.Message, body: bytes, depth: int) -> bytes:
        boundary = header.get_boundary()
        if not boundary:
            return self.octets(body)
        mark = b"--" + boundary.encode("utf-8", "surrogateescape")
        pieces = re.split(rb"(?:(?<=\n)|\A)(" + re.escape(mark) + rb"(?:--)?[ \t]*(?:\r?\n|\Z))", body)
        done = [self.octets(pieces[0])]
        for delimiter, piece in zip(pieces[1::2], pieces[2::2], strict=False):
            done.append(delimiter)
            head, gap, rest = _split(piece)
            parsed = email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(head)
            done.append(self.header(head) + gap + self.body(parsed, rest, depth))
        return b"".join(done)

    def _encoded(self, body: bytes, encoding: str) -> bytes:
        carrier = email.message.Message()
        carrier["Content-Transfer-Encoding"] = encoding
        carrier.set_payload(body.decode("ascii", "surrogateescape"))
        decoded = carrier.get_payload(decode=True)
        if not isinstance(decoded, bytes) or self.octets(decoded) == decoded:
            return self.octets(body)
        cleared = self.octets(decoded)
        if encoding == "base64":
            return base64.encodebytes(cleared).replace(b"\n", b"\r\n")
        return quopri.encodestring(cleared).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _pattern_of(addresses: set[str]) -> re.Pattern[str] | None:
    """Return what finds these addresses, also where ``@`` is written as in a link."""
    if not addresses:
        return None
    ordered = sorted(addresses, key=lambda each: (-len(each), each))
    return re.compile("|".join(re.escape(each).replace("@", "(?:@|%40|=40)") for each in ordered), re.IGNORECASE)


def _split(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Return header section, the empty line, body."""
    found = re.search(rb"(?:\A|(?<=\n))\r?\n", content)
    if found is None:
        return content, b"", b""
    return content[: found.start()], found[0], content[found.end() :]


def _decoded(value: bytes) -> str:
    """Return a field's value with its encoded words decoded; what cannot be decoded stays."""
    text = value.decode("utf-8", "replace")
    try:
        pieces = decode_header(text)
        return "".join(p if isinstance(p, str) else p.decode(charset or "latin-1", "replace") for p, charset in pieces)
    except (ValueError, LookupError, email.errors.HeaderParseError):
        return text


def _addressed(header: email.message.Message, fields: Sequence[str]) -> set[str]:
    """Return the addresses in the fields given, such as those that say for whom a mail is."""
    values = [_decoded(str(value).encode("utf-8", "replace")) for name in fields for value in header.get_all(name, [])]
    return {match[0] for value in values for match in _ADDRESS.finditer(value)}


def key_fingerprint(key: bytes) -> str:
    """Return what names a key in a bundle without telling it."""
    return hashlib.sha256(b"tidegate redaction key" + key).hexdigest()[:16]
