"""What an operator does with quarantined mail: list, show, release, delete.

Release scans the mail again. One that was kept for a virus, or in which one is found now, or that could not be looked
at to its end, goes out only when that is forced; whatever goes out says in ``X-Virus-Status`` what this scan said,
and leaves one ``quarantine_released`` event that names the operator (contract.md §6, audit). Released to another
address the mail stays in quarantine for whom it was kept, and that address gets a copy, one: whoever asks a second
time, because the first answer was lost, is told that it went, unless they say that another is meant.

Each message asked for has an answer of its own: that one has just left keeps no other back.

While no gateway serves, quarantine can be listed, shown and deleted from, and not released: nobody could scan.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from gateway.admin import queue
from gateway.admin.protocol import (
    PartView,
    QuarantineArguments,
    QuarantinedMessage,
    QuarantineListResult,
    QueueArguments,
    QueuedMessage,
    RefusedError,
    Released,
    ReleaseResult,
    UnknownCommandError,
)
from gateway.admin.queue import MAX_LIMIT, QueueDesk, full_view, query_of, view
from gateway.admin.release import Review, review
from gateway.antivirus.desk import Antivirus
from gateway.clock import Clock
from gateway.journal.events import EventSink, QuarantineReleased
from gateway.mail.content import Content
from gateway.mail.filetype import inspect
from gateway.mail.rendition import Rendition
from gateway.pipeline import virus
from gateway.smtp.address import ForwardPath
from gateway.smtp.path import AddressError, parse_forward_path
from gateway.spool.custody import Custody
from gateway.spool.message import QueueQuery, RecipientState, SpoolMessage, SpoolRecipient
from gateway.storage import StorageError

_QUARANTINED = frozenset({RecipientState.QUARANTINED})
_GONE = "it has just left quarantine"
# Parts that ``show`` describes.
MAX_PARTS = 200
# A part's beginning tells its kind; what is deeper in, the scan has told.
_LOOK_OCTETS = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class WayOut:
    """What only a serving gateway has: scanners, routes for other addresses, delivery to wake."""

    antivirus: Antivirus
    copy_to: Callable[[SpoolRecipient, ForwardPath], SpoolRecipient]
    hostname: str
    wake: Callable[[], None]
    # The addresses to which a message was delivered before; read from the ledger, off the loop.
    delivered_to: Callable[[str], Collection[str]]


class _StaysError(Exception):
    """One message cannot be let out now; the text says why."""


class QuarantineDesk:
    """Carries out quarantine's commands on one custody; ``way_out`` is None while nobody serves."""

    def __init__(
        self, custody: Custody, of_queue: QueueDesk, *, clock: Clock, events: EventSink, way_out: WayOut | None
    ) -> None:
        self._custody = custody
        self._queue = of_queue
        self._clock = clock
        self._events = events
        self._way_out = way_out
        # A message's renditions are read, added to and written: one release at a time.
        self._releasing = asyncio.Lock()
        self._last_number = 0

    async def handle(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carry out ``quarantine.list`` … ``quarantine.delete``; RefusedError says what is wrong."""
        operation = _OPERATIONS.get(command)
        if operation is None:
            raise UnknownCommandError(command)
        given = cast("QuarantineArguments", arguments | {"states": [RecipientState.QUARANTINED.value]})
        return dict(await operation(self, query_of(cast("QueueArguments", given)), given))

    async def _list(self, query: QueueQuery, given: QuarantineArguments) -> QuarantineListResult:
        wanted = given.get("why", "")
        messages = await self._custody.select(replace(query, limit=MAX_LIMIT) if wanted else query)
        copies = sum(len(message.recipients) for message in messages)
        shown = [seen for message in messages if (seen := _seen(message, view(message), wanted))["recipients"]]
        return {"messages": shown, "more": copies >= (MAX_LIMIT if wanted else query.limit)}

    async def _show(self, query: QueueQuery, given: QuarantineArguments) -> QuarantineListResult:
        found = []
        for bare in await self._chosen(query, given):
            try:
                message = replace(bare, content=await self._content(bare))
            except _StaysError:
                # It is not there to be shown, as if it had been asked for a moment later.
                continue
            shown = _seen(message, full_view(message), given.get("why", ""))
            shown["parts"] = await asyncio.to_thread(_parts, message.content)
            found.append(shown)
        return {"messages": found, "more": False}

    async def _delete(self, query: QueueQuery, given: QuarantineArguments) -> dict[str, Any]:
        if not given.get("why"):
            return await self._queue.handle("queue.drop", dict(given))
        changed = 0
        for message in await self._chosen(query, given):
            # Copies of one mail may be kept for different reasons.
            for address in _addresses(message.recipients):
                one = {**given, "ids": [message.trace_id], "recipient": address}
                changed += (await self._queue.handle("queue.drop", one))["changed"]
        return {"changed": changed}

    async def _release(self, query: QueueQuery, given: QuarantineArguments) -> ReleaseResult:
        if self._way_out is None:
            raise RefusedError("mail is scanned on its way out of quarantine: start the gateway first")
        way = self._way_out
        async with self._releasing:
            return {"released": [await self._answer(m, given, way) for m in await self._chosen(query, given)]}

    async def _answer(self, message: SpoolMessage, given: QuarantineArguments, way: WayOut) -> Released:
        try:
            return await self._let_out(message, given, way)
        except _StaysError as why:
            return _kept(message, Review(), str(why), "")

    async def _chosen(self, query: QueueQuery, given: QuarantineArguments) -> list[SpoolMessage]:
        """Return the messages named, each with those of its copies that are kept for the reason asked for."""
        if not query.trace_ids:
            raise RefusedError("say which: the ids of messages")
        wanted = given.get("why", "")
        messages = await self._custody.select(replace(query, limit=MAX_LIMIT) if wanted else query)
        if not wanted:
            return messages
        meant = [replace(m, recipients=tuple(c for c in m.recipients if why(m, c) == wanted)) for m in messages]
        return [message for message in meant if message.recipients]

    async def _content(self, message: SpoolMessage) -> Content:
        try:
            return await self._custody.content(message)
        except KeyError:
            raise _StaysError(_GONE) from None

    async def _let_out(self, message: SpoolMessage, given: QuarantineArguments, way: WayOut) -> Released:
        path = _other(given.get("to", ""), message)
        if path is not None and not given.get("again", False) and await self._has_had(message, path, way):
            return _kept(message, Review(), f"a copy went to {path.wire} before", "again")
        content = await self._content(message)
        try:
            said = await review(way.antivirus, content)
        except OSError as error:
            raise _StaysError(f"the content cannot be read: {error.strerror or error}") from error
        objection = said.objection or _kept_for_a_virus(message)
        if objection and not given.get("force", False):
            return _kept(message, said, objection, "force")
        message = await self._still_kept(message)
        if path is None:
            recipients = await self._to_its_recipients(message, content, said, way.hostname)
        else:
            copy = way.copy_to(message.recipients[0], path)
            rendition = _rendition(message.renditions[copy.rendition], content, said, way.hostname)
            recipients = await self._to_another(message, copy, rendition)
        self._events.emit(
            QuarantineReleased(
                at=self._clock.stamp().utc,
                trace_id=message.trace_id,
                recipients=tuple(recipients),
                kept_for=tuple(_addresses(message.recipients)),
                outcome=said.outcome,
                objection=objection,
                operator=given.get("operator", "unknown"),
            )
        )
        way.wake()
        return {
            "id": message.trace_id,
            "recipients": recipients,
            "outcome": said.outcome,
            "objection": objection,
            "remedy": "",
        }

    async def _has_had(self, message: SpoolMessage, path: ForwardPath, way: WayOut) -> bool:
        """Tell whether an address has had a copy, or one is on its way there: in custody, or in the ledger since."""
        wanted = path.wire.lower()
        stored = await self._custody.load(message.trace_id)
        under_way = [copy for copy in stored.recipients if copy.state not in _QUARANTINED] if stored else []
        if any(address.lower() == wanted for address in _addresses(under_way)):
            return True
        try:
            delivered = await asyncio.to_thread(way.delivered_to, message.trace_id)
        except StorageError as error:
            raise _StaysError(f"whether {path.wire} has had it cannot be read: {error}") from error
        return any(address.lower() == wanted for address in delivered)

    async def _still_kept(self, message: SpoolMessage) -> SpoolMessage:
        """Return what is still kept after a scan of seconds, in which copies may have been deleted, or grown too old.

        _StaysError when nothing is: nobody is to believe that it went out.
        """
        query = QueueQuery(states=_QUARANTINED, trace_ids=frozenset({message.trace_id}), limit=MAX_LIMIT)
        kept = await self._custody.select(query)
        chosen = {copy.number for copy in message.recipients}
        copies = [copy for found in kept for copy in found.recipients if copy.number in chosen]
        if not copies:
            raise _StaysError(_GONE)
        return replace(kept[0], recipients=tuple(copies))

    async def _to_its_recipients(
        self, message: SpoolMessage, content: Content, said: Review, hostname: str
    ) -> list[str]:
        by_rendition: dict[int, list[SpoolRecipient]] = {}
        for copy in message.recipients:
            by_rendition.setdefault(copy.rendition, []).append(copy)
        now = self._clock.stamp().utc
        for index, copies in by_rendition.items():
            rendition = _rendition(message.renditions[index], content, said, hostname)
            await self._custody.let_out(message, frozenset(copy.number for copy in copies), rendition, now)
            message = replace(message, renditions=(*message.renditions, rendition))
        return _addresses(message.recipients)

    async def _to_another(self, message: SpoolMessage, copy: SpoolRecipient, rendition: Rendition) -> list[str]:
        now = self._clock.stamp().utc
        # A number that no copy of this message has had: those that ended are known to the ledger only.
        self._last_number = max(self._last_number + 1, int(now))
        added = replace(
            copy,
            number=self._last_number,
            state=RecipientState.QUEUED,
            due=now,
            held_since=0.0,
            held_seconds=max(0.0, now - copy.held_since) if copy.held_since else 0.0,
        )
        await self._custody.add(message, added, rendition)
        return _addresses([added])


_Operation = Callable[[QuarantineDesk, QueueQuery, QuarantineArguments], Awaitable[Any]]
_OPERATIONS: dict[str, _Operation] = {
    "quarantine.list": QuarantineDesk._list,  # noqa: SLF001 - the class's own table of commands
    "quarantine.show": QuarantineDesk._show,  # noqa: SLF001 - as above
    "quarantine.release": QuarantineDesk._release,  # noqa: SLF001 - as above
    "quarantine.delete": QuarantineDesk._delete,  # noqa: SLF001 - as above
}


def _kept(message: SpoolMessage, said: Review, objection: str, remedy: str) -> Released:
    return {
        "id": message.trace_id,
        "recipients": [],
        "outcome": said.outcome,
        "objection": objection,
        "remedy": remedy,
    }


def why(message: SpoolMessage, copy: SpoolRecipient) -> str:
    """Return why a copy is kept: "virus", "unscanned" or "policy"."""
    if virus.says_infected(message.renditions[copy.rendition]):
        return "virus"
    return "unscanned" if copy.reason.startswith("antivirus ") else "policy"


def _seen(message: SpoolMessage, shown: QueuedMessage, wanted: str) -> QuarantinedMessage:
    seen = cast("QuarantinedMessage", shown)
    for copy, recipient in zip(message.recipients, seen["recipients"], strict=True):
        recipient["why"] = why(message, copy)
    seen["recipients"] = [recipient for recipient in seen["recipients"] if wanted in ("", recipient["why"])]
    return seen


def _kept_for_a_virus(message: SpoolMessage) -> str:
    return "it was kept for a virus" if any(why(message, copy) == "virus" for copy in message.recipients) else ""


def _other(address: str, message: SpoolMessage) -> ForwardPath | None:
    if not address:
        return None
    try:
        path, rest = parse_forward_path(f"<{address}>".encode(), smtputf8=message.envelope.smtputf8)
    except AddressError as error:
        raise RefusedError(f"{address} is no address this mail can go to: {error}") from error
    if rest or path.source_route:
        raise RefusedError(f"{address} is no address this mail can go to")
    return path


def _rendition(rendition: Rendition, content: Content, said: Review, hostname: str) -> Rendition:
    if not said.status:
        return rendition
    return virus.rescanned(rendition, content, said.status, said.version, hostname)


def _addresses(copies: Sequence[SpoolRecipient]) -> list[str]:
    return [copy.recipient.path.wire for copy in copies]


def _parts(content: Content | None) -> list[PartView]:
    if content is None:
        return []
    found: list[PartView] = []
    for part in content.mime.leaves:
        octets = part.decoded(content)
        facts = inspect(octets[:_LOOK_OCTETS], part.filename, part.media_type)
        found.append({"type": part.media_type, "name": part.filename, "octets": len(octets), "kind": facts.kind})
        if len(found) == MAX_PARTS:
            break
    return found


def merge_answers(command: str, arguments: dict[str, Any], answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the workers' answers to one quarantine command as one."""
    if command == "quarantine.release":
        return {"released": [released for answer in answers for released in answer["released"]]}
    return queue.merge_answers(command.replace("quarantine.", "queue."), arguments, answers)
