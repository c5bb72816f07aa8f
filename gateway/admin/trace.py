"""A message's whole story: from the journal, the spool and the ledger of all workers, read-only while they serve.

``trace`` finds by trace id (of a mail transaction or a session), by address of sender or recipient, by Message-ID, by
the client's address; also what was refused at RCPT, after the final dot or at the door. A mail that the journal has
lost (a crash within its batch, retention) is still told from custody and ledger.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gateway.admin.queue import view
from gateway.admin.shards import ShardReader
from gateway.clock import Clock
from gateway.journal.codec import as_dict
from gateway.journal.events import (
    DeliveryAttempted,
    Event,
    MessageJudged,
    NoticeQueued,
    RecipientRefused,
    SessionClosed,
    SessionRefused,
    TransactionAborted,
)
from gateway.journal.files import DAY_SECONDS
from gateway.journal.reader import JournalReader
from gateway.ledger import DelayRecord, Ledger
from gateway.mail.trace_id import trace_id_time
from gateway.spool.codec import decode_attempts
from gateway.spool.message import Attempt, SpoolMessage
from gateway.storage import StorageError

# Stories of one question: more than a screen or two is for reports.
MAX_STORIES = 50
# Events looked at to find them: a mail has three or more.
_MAX_EVENTS = 500
_ENDED_BADLY = frozenset({"deferred", "bounced", "expired"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is known of one mail transaction, or of one session that had none.

    ``events`` are the transaction's, by time; ``session`` the end of the session it came by; ``custody`` the copies
    still in the spool, ``records`` the finished ones; ``notices`` the notifications sent about it.
    """

    trace_id: str
    events: tuple[Event, ...] = ()
    session: SessionClosed | None = None
    custody: SpoolMessage | None = None
    records: tuple[DelayRecord, ...] = ()
    notices: tuple[NoticeQueued, ...] = ()

    @property
    def judged(self) -> MessageJudged | None:
        """The verdict, None for what never came to one."""
        return next((event for event in self.events if isinstance(event, MessageJudged)), None)

    @property
    def at(self) -> float:
        """When it began: by its id, else by its first event; UTC seconds."""
        return _made(self.trace_id) or (self.events[0].at if self.events else 0.0)

    def states(self) -> dict[str, str]:
        """Return where each recipient stands: its handling's end, its state in custody, or how it was refused."""
        found = {event.recipient: _refusal(event.reply) for event in self.events if isinstance(event, RecipientRefused)}
        for event in self.events:
            if isinstance(event, TransactionAborted):
                found |= dict.fromkeys(event.recipients, "not taken")
        if self.judged:
            found |= _verdicts(self.judged)
        found |= {e.recipient: _AFTER.get(e.status, e.status) for e in self.events if isinstance(e, DeliveryAttempted)}
        found |= {record.recipient: record.status for record in self.records}
        copies = self.custody.recipients if self.custody else ()
        return found | {copy.recipient.path.wire: copy.state.value for copy in copies}

    @property
    def state(self) -> str:
        """All recipients' states in one word or several."""
        states = sorted(set(self.states().values()))
        if states:
            return ", ".join(states)
        return "refused" if any(isinstance(event, SessionRefused) for event in self.events) else "no recipient"

    def attempts(self) -> list[Attempt]:
        """Return the attempts that custody and ledger have as evidence, by time; for when the journal has none."""
        kept = [a for copy in (self.custody.recipients if self.custody else ()) for a in copy.attempts]
        recorded = [a for record in self.records for a in decode_attempts(record.attempts)]
        return sorted([*kept, *recorded], key=lambda attempt: attempt.at)

    def as_json(self) -> dict[str, Any]:
        """Return the story as plain values."""
        return {
            "id": self.trace_id,
            "at": self.at,
            "state": self.state,
            "recipients": self.states(),
            "session": as_dict(self.session) if self.session else None,
            "events": [as_dict(event) for event in self.events],
            "notices": [as_dict(event) for event in self.notices],
            "custody": view(self.custody) if self.custody else None,
            "ledger": [asdict(record) for record in self.records],
        }


@dataclass(frozen=True, slots=True)
class Traced:
    """The stories found, oldest first; ``unreadable`` names the files that could not be read and why."""

    stories: list[Story]
    unreadable: dict[Path, str]


def trace(data: Path, what: str, since: float, clock: Clock) -> Traced:
    """Return the latest stories of ``what`` since UTC second ``since``; an id is found whenever it was."""
    teller = _Teller(data, clock)
    try:
        return Traced(teller.stories(what.strip(), since), teller.unreadable())
    finally:
        teller.close()


class _Teller:
    """Looks into journal, spool and ledger for one question."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self._journal = JournalReader(data / "journal")
        self._shards = ShardReader(data, clock)
        self._ledger = Ledger(data)
        self._unread: dict[Path, str] = {}
        self._spool = data / "spool"

    def stories(self, what: str, since: float) -> list[Story]:
        """Return what is known of a trace id, an address, a Message-ID or a client, the last MAX_STORIES by time.

        ``since`` is a UTC second, and bounds only what is not asked by id.
        """
        ids, loose = self._of_id(what) if _is_id(what) else self._of_mention(what, since)
        told = [self._tell(trace_id) for trace_id in ids[-MAX_STORIES:]]
        told += [Story(trace_id="", events=(event,)) for event in loose[-MAX_STORIES:]]
        return sorted((story for story in told if _says_something(story)), key=lambda story: story.at)[-MAX_STORIES:]

    def unreadable(self) -> dict[Path, str]:
        """Return the files that could not be asked, and why; what they know is missing from the stories."""
        return self._journal.unreadable | self._shards.unreadable | self._unread

    def close(self) -> None:
        """Let go of the journals' files."""
        self._journal.close()

    def _of_id(self, trace_id: str) -> tuple[list[str], list[Event]]:
        """Return the id itself, and for a session's those of its transactions."""
        events = self._journal.mentioning(trace_id, _made(trace_id) - DAY_SECONDS, _MAX_EVENTS)
        # The first transaction of a session has the session's id.
        return list(dict.fromkeys([trace_id, *(e.trace_id for e in events if isinstance(e, MessageJudged))])), []

    def _of_mention(self, what: str, since: float) -> tuple[list[str], list[Event]]:
        """Return the trace ids of what is mentioned, and the events that have none."""
        # A session is told with its messages; alone it is worth telling when it came to none.
        events = [
            event
            for event in self._journal.mentioning(what, since, _MAX_EVENTS)
            if not (isinstance(event, SessionClosed) and event.messages)
        ]
        ids = {event.trace_id for event in events if event.trace_id}
        in_custody = [i for i in self._shards.mentioning(what, MAX_STORIES) if _made(i) >= since]
        return sorted(ids.union(in_custody)), [event for event in events if not event.trace_id]

    def _tell(self, trace_id: str) -> Story:
        events = self._journal.of_trace(trace_id)
        judged = next((event for event in events if isinstance(event, MessageJudged)), None)
        troubled = any(isinstance(e, DeliveryAttempted) and e.status in _ENDED_BADLY for e in events)
        return Story(
            trace_id=trace_id,
            events=tuple(events),
            session=self._session(judged.session_id) if judged else None,
            custody=self._shards.message(trace_id),
            records=tuple(self._records(trace_id)),
            notices=tuple(self._notices(trace_id)) if troubled else (),
        )

    def _session(self, session_id: str) -> SessionClosed | None:
        events = self._journal.of_trace(session_id) if session_id else []
        return next((event for event in events if isinstance(event, SessionClosed)), None)

    def _records(self, trace_id: str) -> list[DelayRecord]:
        if not _is_id(trace_id):
            return []
        try:
            return self._ledger.of_message(trace_id)
        except StorageError as error:
            self._unread[self._spool] = str(error)
            return []

    def _notices(self, trace_id: str) -> list[NoticeQueued]:
        events = self._journal.mentioning(trace_id, _made(trace_id) - DAY_SECONDS, _MAX_EVENTS)
        return [event for event in events if isinstance(event, NoticeQueued)]


def _says_something(story: Story) -> bool:
    return bool(story.events or story.custody or story.records)


def _made(trace_id: str) -> float:
    """Return when an id of ours was made, 0 for what is none."""
    try:
        return trace_id_time(trace_id)
    except ValueError:
        return 0.0


def _is_id(text: str) -> bool:
    return bool(_made(text))


def _verdicts(judged: MessageJudged) -> dict[str, str]:
    """Return each recipient's state by the verdict alone: what was told the client, or what was done with the mail."""
    if judged.reply[:1] in {"4", "5"}:
        return {disposition[0]: _refusal(judged.reply) for disposition in judged.dispositions}
    words = {"quarantine": "quarantined", "discard": "discarded"}
    return {disposition[0]: words.get(disposition[1], "queued") for disposition in judged.dispositions}


def _refusal(reply: str) -> str:
    return "deferred by us" if reply[:1] == "4" else "rejected"


_AFTER = {"sent": "delivered", "bounced": "failed", "deferred": "queued"}
