"""What an operator does to the queue: list, show, flush, hold, release, drop; serving or stopped.

The copies are selected by id, recipient, domain, route (next hop), age and state; every condition given must hold.
``flush`` makes queued copies due now, ``hold`` keeps queued ones back, ``release`` sends held ones on (what is
quarantined is scanned on its way out: ``admin.quarantine``), ``drop`` removes copies undelivered, with a ledger row
each. Dropping wants ids, or ``everything`` said in so many words; releasing wants at least a condition.

Each change leaves one ``queue_changed`` event a message that names its operator (contract.md §6, audit); a flush
leaves one in all.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, cast

from gateway.admin.protocol import (
    AttemptView,
    QueueArguments,
    QueueChangeResult,
    QueuedMessage,
    QueuedRecipient,
    QueueListResult,
    RefusedError,
    UnknownCommandError,
)
from gateway.clock import Clock
from gateway.journal.events import EventSink, QueueChanged
from gateway.journal.mentions import comparison_form
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.spool.custody import Custody, RecordRows
from gateway.spool.message import Attempt, QueueQuery, RecipientState, SpoolMessage, SpoolRecipient

# What a listing gives when nothing is said, and at most: the answer is one line of the control protocol.
DEFAULT_LIMIT = 1000
MAX_LIMIT = 10_000
# Copies changed between two looks at the queue; above the recipients one message may have (RFC 5321 §4.5.3.1.8 asks
# for 100, the default is 1,000).
PAGE_COPIES = 2000
# The beginning of the header section that ``show`` gives.
HEADER_OCTETS = 8192
# Recipients named in the one event of a flush.
FLUSH_NAMED = 100

_SOURCES = {
    "hold": frozenset({RecipientState.QUEUED}),
    "release": frozenset({RecipientState.HELD}),
    "drop": frozenset({RecipientState.QUEUED, RecipientState.HELD, RecipientState.QUARANTINED}),
}


class QueueDesk:
    """Carries out the queue's commands on one custody.

    ``wake`` tells delivery that copies became due, ``recall`` that messages it may have in its queues were changed.
    """

    def __init__(
        self,
        custody: Custody,
        *,
        clock: Clock,
        events: EventSink,
        records: RecordRows,
        wake: Callable[[], None] = lambda: None,
        recall: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        self._custody = custody
        self._clock = clock
        self._events = events
        self._wake = wake
        self._recall = recall
        self._records = records

    async def handle(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carry out ``queue.list`` … ``queue.drop``; RefusedError says what is wrong with the arguments."""
        operation = _OPERATIONS.get(command)
        if operation is None:
            raise UnknownCommandError(command)
        given = cast("QueueArguments", arguments)
        return dict(await operation(self, query_of(given), given))

    async def _list(self, query: QueueQuery, _: QueueArguments) -> QueueListResult:
        messages = await self._custody.select(query)
        return {"messages": [view(m) for m in messages], "more": _copies(messages) >= query.limit}

    async def _show(self, query: QueueQuery, _: QueueArguments) -> QueueListResult:
        if not query.trace_ids:
            raise RefusedError("show wants the ids of messages")
        found = [m for trace_id in sorted(query.trace_ids) if (m := await self._custody.load(trace_id))]
        return {"messages": [full_view(m) for m in found], "more": False}

    async def _flush(self, query: QueueQuery, given: QueueArguments) -> QueueChangeResult:
        named = await self._custody.select(replace(query, states=frozenset({RecipientState.QUEUED}), limit=FLUSH_NAMED))
        changed = await self._custody.reschedule(query, self._clock.stamp().utc)
        if changed:
            recipients = [copy.recipient.path.wire for m in named for copy in m.recipients]
            if changed > len(recipients):
                recipients.append(f"and {changed - len(recipients)} more")
            self._say("flush", "", recipients, given)
            self._wake()
        return {"changed": changed}

    async def _hold(self, query: QueueQuery, given: QueueArguments) -> QueueChangeResult:
        return await self._change("hold", query, given, self._custody.hold)

    async def _release(self, query: QueueQuery, given: QueueArguments) -> QueueChangeResult:
        if not given.get("everything") and not _has_condition(query):
            raise RefusedError("release wants ids or another condition, or --all")
        if RecipientState.QUARANTINED in query.states:
            raise RefusedError("quarantined mail is scanned on its way out: use tidegate quarantine release")
        result = await self._change(
            "release", query, given, lambda page: self._custody.release(page, self._clock.stamp().utc)
        )
        self._wake()
        return result

    async def _drop(self, query: QueueQuery, given: QueueArguments) -> QueueChangeResult:
        if not given.get("everything") and not query.trace_ids:
            raise RefusedError("drop wants the ids of messages, or --all for every one that is selected")
        return await self._change("drop", query, given, lambda page: self._custody.drop(page, self._records))

    async def _change(
        self,
        operation: str,
        query: QueueQuery,
        given: QueueArguments,
        act: Callable[[QueueQuery], Awaitable[int]],
    ) -> QueueChangeResult:
        """Act on page after page: what was acted on is no longer in a state that the next page selects."""
        sources = _SOURCES[operation]
        query = replace(query, states=query.states & sources if query.states else sources, limit=PAGE_COPIES)
        if not query.states:
            return {"changed": 0}
        changed = 0
        while page := _whole(await self._custody.select(query)):
            count = await act(replace(query, trace_ids=frozenset(m.trace_id for m in page)))
            if not count:
                break
            changed += count
            self._recall(frozenset(message.trace_id for message in page))
            for message in page:
                self._say(operation, message.trace_id, [c.recipient.path.wire for c in message.recipients], given)
        return {"changed": changed}

    def _say(self, operation: str, trace_id: str, recipients: Sequence[str], given: QueueArguments) -> None:
        event = QueueChanged(
            at=self._clock.stamp().utc,
            trace_id=trace_id,
            operation=operation,
            recipients=tuple(recipients),
            operator=given.get("operator", "unknown"),
        )
        self._events.emit(event)


_Operation = Callable[[QueueDesk, QueueQuery, QueueArguments], Awaitable[QueueListResult | QueueChangeResult]]
_OPERATIONS: dict[str, _Operation] = {
    "queue.list": QueueDesk._list,  # noqa: SLF001 - the class's own table of commands
    "queue.show": QueueDesk._show,  # noqa: SLF001 - as above
    "queue.flush": QueueDesk._flush,  # noqa: SLF001 - as above
    "queue.hold": QueueDesk._hold,  # noqa: SLF001 - as above
    "queue.release": QueueDesk._release,  # noqa: SLF001 - as above
    "queue.drop": QueueDesk._drop,  # noqa: SLF001 - as above
}


def merge_answers(command: str, arguments: dict[str, Any], answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the workers' answers to one queue command as one."""
    if command not in {"queue.list", "queue.show"}:
        return {"changed": sum(answer["changed"] for answer in answers)}
    messages = sorted((m for answer in answers for m in answer["messages"]), key=lambda m: m["id"])
    limit = _limit(cast("QueueArguments", arguments))
    kept: list[QueuedMessage] = []
    for message in messages:
        if limit <= 0:
            break
        limit -= len(message["recipients"])
        kept.append(message)
    return {"messages": kept, "more": len(kept) < len(messages) or any(answer["more"] for answer in answers)}


def query_of(given: QueueArguments) -> QueueQuery:
    """Return what the arguments select; RefusedError names what cannot be meant."""
    try:
        return QueueQuery(
            states=frozenset(RecipientState(word) for word in given.get("states", [])),
            trace_ids=frozenset(map(str, given.get("ids", []))),
            recipient=comparison_form(str(given.get("recipient", ""))),
            domain=_domain(str(given.get("domain", ""))),
            route=str(given.get("route", "")),
            older_than=float(given.get("older_than_seconds", 0.0)),
            limit=_limit(given),
        )
    except (TypeError, ValueError) as error:
        raise RefusedError(str(error)) from error


def view(message: SpoolMessage) -> QueuedMessage:
    """Return a message as a listing shows it."""
    return {
        "id": message.trace_id,
        "shard": message.shard,
        "origin": message.origin.value,
        "reverse_path": message.envelope.reverse_path.wire,
        "message_id": message.message_id,
        "client": message.client,
        "octets": message.octets,
        "received_at": message.stamps.received.utc,
        "recipients": [_recipient_view(copy) for copy in message.recipients],
    }


def full_view(message: SpoolMessage) -> QueuedMessage:
    """Return a message with every attempt and the beginning of its header section."""
    shown = view(message)
    for copy, recipient in zip(message.recipients, shown["recipients"], strict=True):
        recipient["history"] = [_attempt_view(attempt) for attempt in copy.attempts]
    if message.content is not None:
        shown["header"] = message.content.header.octets[:HEADER_OCTETS].decode("utf-8", "backslashreplace")
    return shown


def _recipient_view(copy: SpoolRecipient) -> QueuedRecipient:
    return {
        "number": copy.number,
        "recipient": copy.recipient.path.wire,
        "state": copy.state.value,
        "route": copy.route,
        "due": copy.due,
        "attempts": len(copy.attempts),
        "last": copy.attempts[-1].reply if copy.attempts else "",
        "action": copy.action,
        "score": copy.score,
        "reason": copy.reason,
        "held_since": copy.held_since,
    }


def _attempt_view(attempt: Attempt) -> AttemptView:
    return {
        "at": attempt.at,
        "next_hop": attempt.next_hop,
        "relay": attempt.relay,
        "phase": attempt.phase,
        "reply": attempt.reply,
        "status": attempt.status,
        "seconds": attempt.seconds,
    }


def _whole(page: list[SpoolMessage]) -> list[SpoolMessage]:
    """Return a page without its last message when the limit may have cut that one's copies; the next page has it."""
    return page[:-1] if len(page) > 1 and _copies(page) >= PAGE_COPIES else page


def _copies(messages: Sequence[SpoolMessage]) -> int:
    return sum(len(m.recipients) for m in messages)


def _has_condition(query: QueueQuery) -> bool:
    return bool(query.trace_ids or query.recipient or query.domain or query.route or query.older_than or query.states)


def _domain(text: str) -> str:
    if not text or text.startswith("["):
        return text
    try:
        return normalise_domain(text)
    except DomainError as error:
        raise ValueError(f"{text} is no domain: {error}") from error


def _limit(given: QueueArguments) -> int:
    return max(1, min(int(given.get("limit", DEFAULT_LIMIT)), MAX_LIMIT))
