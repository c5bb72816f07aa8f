"""Answers to complainants, from templates: acknowledgement, response, outcome."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.abuse.complaints.octets import shown
from gateway.abuse.identity import signature
from gateway.abuse.writing import Letter, Writer, template

# An answer that a person writes: some pages.
MAX_TEXT_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What an answer tells of a ticket; times are UTC seconds."""

    ticket: int
    received: float
    subject: str
    about: str
    message_id: str
    response_due: float
    outcome_due: float
    zone: str


def answer(kind: str, case: Case, to: str, writer: Writer, said: tuple[str, str, float]) -> Letter:
    """Return an answer: ``kind`` is acknowledgement, response or outcome; ``said`` its language, text and time."""
    language, text, now = said
    subject, body = template(
        kind,
        language,
        {
            "ticket": case.ticket,
            "received": _time(case.received, case.zone),
            "subject": shown(case.subject) or "-",
            "about": shown(case.about) or "-",
            "response_due": _time(case.response_due, case.zone),
            "outcome_due": _time(case.outcome_due, case.zone),
            "text": text[:MAX_TEXT_CHARACTERS],
            "signature": signature(writer),
        },
    )
    return Letter(
        to=to,
        subject=subject,
        text=body,
        at=now,
        purpose="complaint-answer",
        automatic="auto-replied",
        answers=(case.message_id,) if case.message_id else (),
    )


def _time(utc: float, zone: str) -> str:
    return f"{datetime.fromtimestamp(utc, ZoneInfo(zone)):%Y-%m-%d %H:%M} ({zone})"
