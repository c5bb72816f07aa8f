r"""One event as one log line, in Postfix's vocabulary or as JSON (style.md, "Conventions").

A text line is ``UTC-time level event id=… from=<…> to=<…> relay=host[ip]:port delay=… delays=a/b/c/d dsn=… status=…
(text)``; a JSON line has the same keys. What came from outside is escaped: a control character, a character that is
not printable, and in a value also a space or an angle bracket appear as ``\xNN`` or ``\uNNNN``, so no client can
begin a line, end a value or forge a field; one value has at most MAX_VALUE characters.
"""

import json
import re
from collections.abc import Callable
from time import gmtime, strftime
from typing import Any

from gateway.admin.duty_lines import DUTIES
from gateway.admin.level import Described, Level
from gateway.journal.codec import as_dict
from gateway.journal.events import (
    ConfigurationChanged,
    DeliveryAttempted,
    Event,
    InternalError,
    MessageJudged,
    NoticeQueued,
    OperatorActed,
    QuarantineReleased,
    QueueChanged,
    RecipientRefused,
    SessionClosed,
    SessionRefused,
    ShardAdopted,
    StorageFailed,
    TransactionAborted,
    WorkerChanged,
)
from gateway.value import value

# RFC 5321 §4.5.3.1.5: a reply line has 512 octets, the longest a well-behaved peer sends.
MAX_VALUE = 512
# A traceback is for the one who mends the bug; eight kilobytes hold some forty frames.
MAX_TRACEBACK = 8192
# Recipients shown of one message; the journal has them all.
MAX_RECIPIENTS = 3


@value()
class Line:
    """What a line says before it is rendered: ``fields`` in order, ``text`` for people, "" for none."""

    level: Level
    at: float
    event: str
    fields: dict[str, Any]
    text: str = ""


def describe(event: Event) -> Line:
    """Return what the log says of an event."""
    level, fields, text = _DESCRIBE.get(type(event), _any)(event)
    return Line(level, event.at, event.kind, fields, text)


def render_text(line: Line) -> str:
    """Return the line as text, without its end."""
    shown = {name: value if isinstance(value, str) else _shown(value) for name, value in line.fields.items()}
    # One look at all values together: nearly every line is plain, and this is the path of every message.
    if not _is_plain("".join(shown.values())):
        shown = {name: _escaped(value, _UNSAFE_IN_VALUE)[:MAX_VALUE] for name, value in shown.items()}
    parts = [f"{name}=<{value}>" if name in _PATHS else f"{name}={value}" for name, value in shown.items()]
    if line.text:
        parts.append(f"({printable(line.text)[:MAX_TRACEBACK]})")
    return " ".join((_moment(line.at), _WORDS[line.level], line.event, *parts))


def render_json(line: Line) -> str:
    """Return the line as one JSON object, ASCII only."""
    head = {"at": _moment(line.at), "level": _WORDS[line.level], "event": line.event}
    return _json(head | line.fields | {"text": line.text} if line.text else head | line.fields)


def printable(text: str) -> str:
    """Return ``text`` with everything escaped that is not printable."""
    return text if text.isprintable() else _escaped(text, _UNSAFE)


_json = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False).encode
_PATHS = frozenset({"from", "to", "msgid"})
_is_plain = re.compile(rf"[!-;=?-~]{{0,{MAX_VALUE}}}").fullmatch
_WORDS = {level: level.word for level in Level}
_UNSAFE: frozenset[str] = frozenset()
_UNSAFE_IN_VALUE = frozenset(" <>")


def _escaped(text: str, unsafe: frozenset[str]) -> str:
    return "".join(c if c.isprintable() and c not in unsafe else _escape(c) for c in text[:MAX_TRACEBACK])


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:  # noqa: PLR2004 - the two-digit form reaches this far
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - likewise


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"  # noqa: PLR2004 - Postfix shows whole seconds above
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


_second = (-1, "")


def _moment(at: float) -> str:
    """Return RFC 3339 in UTC with milliseconds; the part down to the second is made once a second."""
    global _second  # noqa: PLW0603 - a cache of one, the only state here
    whole = int(at)
    if _second[0] != whole:
        _second = (whole, strftime("%Y-%m-%dT%H:%M:%S", gmtime(whole)))
    return f"{_second[1]}.{int((at - whole) * 1000):03d}Z"


# --- what each event says ---------------------------------------------------------------------------------------------

_dsn_in = re.compile(r"[245]\d\d[ -]([245]\.\d{1,3}\.\d{1,3})\b").match
_REFUSED_STATUS = {"2": "2.0.0", "4": "4.0.0", "5": "5.0.0"}
# RFC 3463 §3.5: 4.4.7, delivery time expired.
_ATTEMPT_DSN = {"sent": "2.0.0", "deferred": "4.0.0", "bounced": "5.0.0", "expired": "4.4.7"}


def dsn_of(reply: str, otherwise: str) -> str:
    """Return the enhanced status code (RFC 3463) that a reply carries."""
    found = _dsn_in(reply)
    return found[1] if found else otherwise


def status_of(event: MessageJudged) -> str:
    """Return the status word of a judged message: by its reply when refused, else by its most severe disposition."""
    if event.reply[:1] == "5":
        return "rejected"
    if event.reply[:1] == "4":
        return "deferred"
    actions = {disposition[1] for disposition in event.dispositions}
    # What is tagged is delivered; the more severe of two holdings names the message.
    return "quarantined" if "quarantine" in actions else "discarded" if actions == {"discard"} else "queued"


def _judged(event: MessageJudged) -> Described:
    recipients = event.dispositions
    fields: dict[str, Any] = {
        "id": event.trace_id,
        "from": event.reverse_path,
        "to": recipients[0][0] if len(recipients) == 1 else _first(d[0] for d in recipients[:MAX_RECIPIENTS]),
        "nrcpt": len(recipients),
        "client": f"{event.client_name or 'unknown'}[{event.client}]",
        "helo": event.helo,
        "size": event.octets,
        "msgid": event.message_id[:MAX_VALUE].strip("<> "),
        "delay": event.filtered_seconds + event.durable_seconds,
        "dsn": dsn_of(event.reply, _REFUSED_STATUS.get(event.reply[:1], "2.0.0")),
        "status": status_of(event),
    }
    score = max([d[2] for d in recipients], default=0.0)
    if score:
        fields["score"] = score
    if event.grounds:
        fields["grounds"] = tuple(dict.fromkeys(ground for _, ground in event.grounds))
    return Level.INFO, fields, _with_reasons(event)


def _with_reasons(event: MessageJudged) -> str:
    reasons = {d[4] for d in event.dispositions if d[4]}
    return f"{event.reply}; {', '.join(sorted(reasons))}" if reasons else event.reply


def _first(addresses: Any) -> tuple[str, ...]:
    return tuple(addresses)


def _attempted(event: DeliveryAttempted) -> Described:
    fields: dict[str, Any] = {
        "id": event.trace_id,
        "from": event.reverse_path,
        "to": event.recipient,
        "relay": event.relay or "none",
        "delay": event.delay_seconds,
        "delays": "/".join([f"{d:.2g}" for d in event.delays]),
        "dsn": dsn_of(event.reply, _ATTEMPT_DSN.get(event.status, "4.0.0")),
        "status": event.status,
    }
    if event.possible_duplicate:
        fields["duplicate"] = "possible"
    return Level.INFO, fields, event.reply


def _recipient_refused(event: RecipientRefused) -> Described:
    fields: dict[str, Any] = {
        "id": event.trace_id,
        "from": event.reverse_path,
        "to": event.recipient,
        "client": f"[{event.client}]",
        "helo": event.helo,
        "dsn": dsn_of(event.reply, _REFUSED_STATUS.get(event.reply[:1], "5.0.0")),
        "status": "deferred" if event.reply[:1] == "4" else "rejected",
    }
    if event.filter:
        fields["filter"] = event.filter
    if event.grounds:
        fields["grounds"] = event.grounds
    return Level.INFO, fields, _because(event.reply, event.reason)


def _aborted(event: TransactionAborted) -> Described:
    fields = {
        "id": event.trace_id,
        "from": event.reverse_path,
        "to": _first(event.recipients[:MAX_RECIPIENTS]),
        "nrcpt": len(event.recipients),
        "client": f"[{event.client}]",
        "size": event.octets,
        "status": "deferred" if event.reply[:1] in {"", "4"} else "rejected",
    }
    return Level.INFO, fields, _because(event.reply, event.reason)


def _session_refused(event: SessionRefused) -> Described:
    fields = {"id": event.trace_id, "client": f"[{event.client}]", "role": event.role, "status": "rejected"}
    return Level.INFO, fields, _because(event.reply, event.reason)


def _session_closed(event: SessionClosed) -> Described:
    # The ordinary end of a session says nothing that the message's own line does not.
    quiet = event.end in {"quit", "disconnect"} and not event.errors
    fields = {
        "id": event.trace_id,
        "client": f"[{event.client}]",
        "helo": event.helo,
        "tls": event.tls or "none",
        "end": event.end,
        "messages": event.messages,
        "commands": event.commands,
        "errors": event.errors,
        "delay": event.seconds,
    }
    return Level.DEBUG if quiet else Level.INFO, fields, ""


def _notice(event: NoticeQueued) -> Described:
    fields = {"id": event.trace_id, "about": event.about, "to": event.recipient, "notice": event.notice}
    return Level.INFO, fields, ""


def _queue(event: QueueChanged) -> Described:
    fields = {
        "id": event.trace_id,
        "operation": event.operation,
        "to": _first(event.recipients[:MAX_RECIPIENTS]),
        "nrcpt": len(event.recipients),
        "operator": event.operator,
    }
    return Level.INFO, fields, ""


def _let_out(event: QuarantineReleased) -> Described:
    fields = {
        "id": event.trace_id,
        "to": _first(event.recipients[:MAX_RECIPIENTS]),
        "nrcpt": len(event.recipients),
        "scan": event.outcome or "none",
        "operator": event.operator,
    }
    return Level.WARNING if event.objection else Level.INFO, fields, event.objection


def _operator(event: OperatorActed) -> Described:
    fields = {"operation": event.operation, "target": event.target, "operator": event.operator}
    return Level.INFO, fields, ", ".join(event.changes)


def _configuration(event: ConfigurationChanged) -> Described:
    facts = {"digest": event.digest, "operator": event.operator}
    if event.errors:
        return Level.ERROR, facts | {"errors": len(event.errors)}, "; ".join(event.errors)
    return Level.INFO, facts, ", ".join(event.changed)


def _worker(event: WorkerChanged) -> Described:
    return Level.INFO, {"worker": event.worker, "state": event.state}, event.detail


def _shard(event: ShardAdopted) -> Described:
    return Level.WARNING, {"shard": event.shard, "queued": event.queued}, ""


def _storage(event: StorageFailed) -> Described:
    return Level.ERROR, {"id": event.trace_id, "store": event.store, "operation": event.operation}, event.error


def _internal(event: InternalError) -> Described:
    return Level.ERROR, {"id": event.trace_id, "where": event.where, "error": event.error}, event.traceback


def _any(event: Event) -> Described:
    fields = as_dict(event)
    return Level.INFO, {name: value for name, value in fields.items() if name not in {"kind", "at"}}, ""


def _because(reply: str, reason: str) -> str:
    return f"{reply}; {reason}" if reply and reason and reason not in reply else reply or reason


# Each describes the one class it stands beside; a dictionary cannot say so to the type checker.
_DESCRIBE: dict[type[Event], Callable[..., Described]] = {
    **DUTIES,
    MessageJudged: _judged,
    DeliveryAttempted: _attempted,
    RecipientRefused: _recipient_refused,
    TransactionAborted: _aborted,
    SessionRefused: _session_refused,
    SessionClosed: _session_closed,
    NoticeQueued: _notice,
    QueueChanged: _queue,
    QuarantineReleased: _let_out,
    OperatorActed: _operator,
    ConfigurationChanged: _configuration,
    WorkerChanged: _worker,
    ShardAdopted: _shard,
    StorageFailed: _storage,
    InternalError: _internal,
}
