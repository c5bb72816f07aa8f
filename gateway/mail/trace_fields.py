r"""The fields the gateway writes, and the copies it must not trust (RFC 5321 §4.4, RFC 3848, RFC 6531 §4.3).

``received_field`` is the trace field proper. ``X-Tidegate-Id`` names the transaction, ``X-Tidegate-Reason`` says why
a mail is not a plain accept (or what could not be found out), ``X-Spam-*`` and ``X-Virus-Status`` are the fields that
mail clients and Sieve scripts look for. All stand before the received octets; none is signed, none replaces a field
of the author's.

``forged_fields`` are the ranges to cut: every ``X-Tidegate-*``; ``Authentication-Results`` with our authserv-id (RFC
8601 §5); and exactly those ``X-Spam-*`` and ``X-Virus-*`` names that are written here, because whoever sorts mail by
them takes them for ours. Other products' names stay: they claim nothing about us.

Nothing from outside can add a field: every text is printable ASCII (or an address the parser passed), escaped or
encoded (RFC 2047), and bounded. Lines are folded at 78 octets where there is a space to fold at, and none exceeds 998
(RFC 5322 §2.1.1).

``Date`` and ``Message-ID`` are never added: content does not change on its way through a relay (RFC 5321 §6.4 leaves
that to submission).
"""

import re
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, groupby, takewhile

from gateway.mail.connection import Connection, TlsFacts
from gateway.mail.content import Content
from gateway.mail.header import HeaderField, HeaderSection
from gateway.mail.rendition import Edit
from gateway.mail.transaction import Transaction
from gateway.smtp.address import Mailbox
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.smtp.limits import MAX_DOMAIN_OCTETS
from gateway.smtp.reply import printable

# RFC 5322 §2.1.1: lines SHOULD be at most 78 and MUST be at most 998 characters, CR LF not counted.
FOLD_AT = 78
# A word has no space to fold at; longer ones are cut, so that a line never exceeds 998.
MAX_WORD = 900
# Octets of a reason in a header section; a screenful.
MAX_REASON = 2000
# SpamAssassin's own ceiling of X-Spam-Level.
MAX_LEVEL = 50
# RFC 2047 §2: an encoded-word is at most 75 characters; 12 are its frame, and four characters of base 64 carry three
# octets.
_ENCODED_WORD_OCTETS = (75 - 12) // 4 * 3

_PREFIX = b"x-tidegate-"
# Fields that mail software believes without asking who wrote them.
OWN_NAMES = frozenset(
    [b"x-spam-flag", b"x-spam-status", b"x-spam-score", b"x-spam-level", b"x-virus-status", b"x-virus-scanned"],
)
_AUTHENTICATION_RESULTS = "authentication-results"

# RFC 5321 §4.1.2: Domain or address literal, with the underscore that names in the wild have.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[A-Za-z0-9:.]+\]")

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=64)  # mail of the same second shares its date
def date_time(utc_second: int) -> str:
    """Return an instant as RFC 5322 §3.3 writes it, in UTC."""
    t = time.gmtime(utc_second)
    clock = f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
    return f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04d} {clock} +0000"


def received_field(tx: Transaction, recipient: Mailbox | None) -> bytes:
    """Return our ``Received`` field, CR LF included; ``recipient`` only when there is exactly one.

    RFC 5321 §7.2: a "for" clause with several recipients would tell each about the others, and blind copies with them.
    """
    connection = tx.connection
    parts = [f"Received: from {_helo(connection)}", _tcp_info(connection)]
    if connection.tls is not None:
        parts.append(_tls_comment(connection.tls))
    protocol = _protocol(connection, smtputf8=tx.envelope.smtputf8)
    parts.append(f"by {connection.hostname} (Tidegate)")
    parts.append(f"with {protocol}")
    parts.append(f"id {tx.trace_id}" if recipient else f"id {tx.trace_id};")
    if recipient:
        parts.append(f"for <{recipient.wire}>;")
    parts.append(date_time(int(tx.received.utc if tx.received else connection.connected.utc)))
    return _folded(parts).encode("utf-8") + b"\r\n"


def _protocol(connection: Connection, *, smtputf8: bool) -> str:
    # RFC 6531 §4.3: UTF8SMTP and UTF8SMTPS stand for ESMTP and ESMTPS when SMTPUTF8 was asked for.
    protocol = connection.protocol
    return f"UTF8{protocol.removeprefix('E')}" if smtputf8 and connection.esmtp else protocol


def _helo(connection: Connection) -> str:
    helo = connection.helo
    return helo if _NAME.fullmatch(helo) and len(helo) <= MAX_DOMAIN_OCTETS else "unknown"


def _tcp_info(connection: Connection) -> str:
    # RFC 5321 §4.4: TCP-info = address-literal / ( Domain FWS address-literal ). "unknown" as in Postfix and Sendmail.
    client = connection.client
    literal = f"[IPv6:{client}]" if ":" in client else f"[{client}]"
    name = connection.client_name
    name = name if _NAME.fullmatch(name) and len(name) <= MAX_DOMAIN_OCTETS else "unknown"
    helo = connection.helo
    # What is no domain cannot stand behind "from"; it is shown escaped, as evidence.
    said = f" helo={_comment_text(helo)}" if helo and _helo(connection) == "unknown" else ""
    return f"({name} {literal}{said})"


def _tls_comment(tls: TlsFacts) -> str:
    return f"(using {_comment_text(tls.version)} with cipher {_comment_text(tls.cipher)} ({tls.bits}/{tls.bits} bits))"


def _comment_text(text: str) -> str:
    # RFC 5322 §3.2.2: ctext has neither parentheses nor the backslash.
    safe = (
        printable(text[:MAX_DOMAIN_OCTETS])[:MAX_DOMAIN_OCTETS]
        .replace("\\", "\\\\")
        .replace("(", "\\(")
        .replace(")", "\\)")
    )
    return safe.replace(" ", "_")


def _folded(words: Sequence[str]) -> str:
    lines: list[str] = []
    line = words[0]
    for word in words[1:]:
        if len(line) + 1 + len(word) <= FOLD_AT:
            line = f"{line} {word}"
        else:
            lines.append(line)
            line = "\t" + word
    lines.append(line)
    return "\r\n".join(lines)


def text_field(name: str, text: str) -> bytes:
    """Return a field whose value is free text: escaped, encoded, folded and bounded, CR LF included.

    What is printable stays readable: words outside ASCII are encoded-words, which mail readers and Sieve scripts
    (RFC 5228 §2.7.2) decode.
    """
    if len(text) < MAX_REASON and text.isascii() and text.isprintable():
        # Nearly every text, and within every bound as it stands.
        return _folded([f"{name}:", *(word[:MAX_WORD] for word in text.split())]).encode("ascii") + b"\r\n"
    shown = "".join(c if c.isprintable() else printable(c) for c in text[:MAX_REASON])
    words = list(_text_words(shown))
    within = takewhile(lambda length: length <= MAX_REASON, accumulate(len(word) + 1 for word in words))
    words = words[: len(list(within))]
    return _folded([f"{name}:", *words]).encode("ascii") + b"\r\n"


def _text_words(text: str) -> Iterator[str]:
    # RFC 2047 §6.2: white space between encoded-words is not shown, so words beside each other are encoded as one text.
    for plain, words in groupby(text.split(), key=str.isascii):
        if plain:
            yield from (word[:MAX_WORD] for word in words)
        else:
            yield from (word.decode("ascii") for word in _encoded_words(" ".join(words)))


def spam_fields(score: float, required: float | None, tests: Iterable[str], *, flagged: bool) -> bytes:
    """Return ``X-Spam-*`` as SpamAssassin's users know them; ``tests`` are words such as ``helo.bare-ip=2.0``."""
    word = "Yes" if flagged else "No"
    status = f"{word}, score={score:.1f}"
    if required is not None:
        status += f" required={required:.1f}"
    if named := ", ".join(tests):
        status += f" tests={named}"
    fields = [f"X-Spam-Score: {score:.1f}\r\n".encode("ascii"), text_field("X-Spam-Status", status)]
    if flagged:
        fields.append(b"X-Spam-Flag: YES\r\n")
        if level := min(max(int(score), 0), MAX_LEVEL):
            fields.append(b"X-Spam-Level: " + b"*" * level + b"\r\n")
    return b"".join(fields)


# --- What is cut out.


def forged_fields(header: HeaderSection, authserv_id: str) -> tuple[Edit, ...]:
    """Return the edits that remove untrusted copies of our own fields; empty for nearly all mail."""
    names = header.names
    cut = [name for name in names if name in OWN_NAMES or name.startswith(_PREFIX)]
    edits = [Edit(field.start, field.end) for name in cut for field in header.get_all(name.decode("ascii"))]
    edits.extend(
        Edit(field.start, field.end) for field in header.get_all(_AUTHENTICATION_RESULTS) if _claims(field, authserv_id)
    )
    return tuple(edits)


# RFC 8601 §2.2: [CFWS] authserv-id, a token or quoted-string (RFC 2045 §5.1).
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_TOKEN = re.compile(r"[^\s;()\"]*")


def _claims(field: HeaderField, authserv_id: str) -> bool:
    text = _after_comments(field.text)
    quoted = _QUOTED.match(text)
    token = _TOKEN.match(text)
    named = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else token[0] if token else ""
    return _normal(named) == _normal(authserv_id)


def _after_comments(text: str) -> str:
    depth = 0
    skip = False
    for at, character in enumerate(text):
        if skip:
            skip = False
        elif depth and character == "\\":
            skip = True
        elif character == "(":
            depth += 1
        elif character == ")" and depth:
            depth -= 1
        elif not depth and not character.isspace():
            return text[at:]
    return ""


def _normal(name: str) -> str:
    # As lenient as the readers we protect: any case, U- or A-labels, a final dot.
    name = name.strip().removesuffix(".")
    try:
        return normalise_domain(name)
    except DomainError:
        return name.casefold()


# --- The tag before the subject.


def subject_edits(header: HeaderSection, tag: str) -> tuple[Edit, ...]:
    """Return the edits that put ``tag`` before every subject; none where it stands already.

    An insertion: the author's words, encoded or not, keep their octets.
    """
    return tuple(edit for field in header.get_all("subject") for edit in _subject_edit(field, tag))


def new_subject(tag: str) -> bytes:
    """Return a ``Subject`` field for a mail that has none."""
    return b"Subject: " + b" ".join(_tag_words(tag)) + b"\r\n"


def _subject_edit(field: HeaderField, tag: str) -> Iterator[Edit]:
    words = list(_tag_words(tag))
    if field.value.startswith(b" ".join(words)):
        return
    first_line = field.raw_value.partition(b"\n")[0].rstrip(b"\r")
    inserted = b" " + b"\r\n ".join(words)
    if len(field.name) + len(inserted) + len(first_line) >= FOLD_AT and first_line.strip():
        inserted += b"\r\n"
    # The value's own leading space, where it has one, keeps its place and makes the rest a continuation.
    if not first_line.startswith((b" ", b"\t")):
        inserted += b" "
    yield Edit(field.value_start, field.value_start, inserted)


def _tag_words(tag: str) -> Iterator[bytes]:
    if tag.isascii() and tag.isprintable() and "=?" not in f"{tag}?":
        yield tag.strip()[:FOLD_AT].encode("ascii")
        return
    # RFC 2047 §6.2: white space between encoded-words is not shown, so the space goes inside.
    yield from _encoded_words(tag.strip() + " ")


def _encoded_words(text: str) -> Iterator[bytes]:
    # RFC 2047 §5: no character is split.
    piece = ""
    for character in text:
        if len((piece + character).encode("utf-8", "replace")) > _ENCODED_WORD_OCTETS:
            yield _encoded_word(piece)
            piece = ""
        piece += character
    yield _encoded_word(piece)


def _encoded_word(text: str) -> bytes:
    return b"=?UTF-8?B?" + b64encode(text.encode("utf-8", "replace")) + b"?="


# --- Where our fields meet the received octets.


def separator(content: Content) -> bytes:
    """Return what stands between our fields and the content: an empty line when the content begins with white space.

    Its first line would else become a continuation of our last field. No header section begins so (RFC 5322 §2.2.3);
    it is body.
    """
    return b"\r\n" if content.head(1) in (b" ", b"\t") else b""
