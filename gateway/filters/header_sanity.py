"""Is the header section one that a mail program would write? See RFC 5322 §3.6, RFC 6532 §3.

RFC 5322 §3.6 asks for one Date and one From, at most one Subject and Message-ID. Mail that breaks these is rarely a
person's, and two From fields are a way to show one author and have another checked. One result is given, the gravest;
its detail ``also`` names the others.

Fields that are merely missing are no matter for mail from trusted networks: RFC 6409 §8 has the submission server
complete such mail.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

from gateway.mail.connection import Role
from gateway.mail.header import HeaderSection
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding

_BACKSLASH, _QUOTE, _COMMA = b'\\",'

# RFC 5322 §3.6: "max number 1" of the fields that senders and filters are judged by.
_ONCE = ("from", "date", "message-id", "subject")


class HeaderSanity(Filter[NoOptions]):
    """Counts fields; parses none but From, and that only for its commas."""

    stage = Stage.DATA
    # In descending gravity: the first that applies is the result.
    results: ClassVar[Mapping[str, str]] = {
        "too-long": "the header section is longer than the 1 MiB that is looked at",
        "duplicate-from": "more than one From field",
        "no-header": "there is no header section at all",
        "missing-from": "no From field, or an empty one",
        "duplicate-date": "more than one Date field",
        "duplicate-message-id": "more than one Message-ID field",
        "duplicate-subject": "more than one Subject field",
        "not-a-field": "a line in the header section that is no field",
        "missing-date": "no Date field",
        "multiple-authors": "several mailboxes in From and no Sender (RFC 5322 §3.6.2)",
        "eight-bit": "octets over 127 in the header section without SMTPUTF8",
        "missing-message-id": "no Message-ID field",
    }
    on: ClassVar[Mapping[str, float | Action]] = {
        # Behind that mark nothing was examined and no forged trace field removed.
        "too-long": Action.REJECT,
        "duplicate-from": 4.0,
        "no-header": 3.0,
        "missing-from": 2.0,
        "duplicate-date": 1.5,
        "duplicate-message-id": 1.5,
        "duplicate-subject": 1.5,
        "not-a-field": 1.0,
        "missing-date": 1.0,
        "multiple-authors": 1.0,
        "eight-bit": 0.5,
        "missing-message-id": 0.5,
    }
    grounds: ClassVar[Mapping[str, Ground]] = {
        "duplicate-from": Ground.FALSE_SOURCE,
        "missing-from": Ground.HIDDEN_SENDER,
        "no-header": Ground.HIDDEN_SENDER,
        "multiple-authors": Ground.HIDDEN_SENDER,
    }

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:  # noqa: ARG002 - the header section suffices
        """Return the gravest fault with the others as detail, or None."""
        header = tx.content.header
        present = set(_faults(header, missing=tx.connection.role is Role.MX))
        if not tx.envelope.smtputf8 and not header.octets.isascii():
            present.add("eight-bit")
        if not present:
            return None
        first, *others = (result for result in self.results if result in present)
        return self.found(first, self.results[first].split(" (")[0], **({"also": " ".join(others)} if others else {}))


def _faults(header: HeaderSection, *, missing: bool) -> Iterator[str]:
    counts = {name: header.count(name) for name in _ONCE}
    if header.defect:
        yield "too-long" if header.defect == "no-end" else "not-a-field"
    if not header.names:
        yield "no-header"
        return
    for name, count in counts.items():
        if count > 1:
            yield f"duplicate-{name}"
        elif count == 0 and missing and name != "subject":
            yield f"missing-{name}"
    author = header.first("from")
    if author is None:
        return
    value = author.value
    if not value and missing:
        yield "missing-from"
    # One comma outside quotes, comments and angle brackets separates two mailboxes; most From fields have none at all.
    elif b"," in value and _has_list_comma(value) and not header.count("sender"):
        yield "multiple-authors"


def _has_list_comma(value: bytes) -> bool:
    quoted = skip = False
    depth = 0
    for octet in value:
        if skip:
            skip = False
        elif octet == _BACKSLASH:
            # RFC 5322 §3.2.1: quoted-pair.
            skip = True
        elif octet == _QUOTE and not depth:
            quoted = not quoted
        elif quoted:
            continue
        elif octet in b"(<":
            depth += 1
        elif octet in b")>":
            depth = max(0, depth - 1)
        elif octet == _COMMA and not depth:
            return True
    return False
