"""Answers to complainants, from templates: acknowledgement, response, outcome."""

from dataclasses import dataclass

from gateway.abuse.complaints.octets import shown
from gateway.abuse.identity import signature
from gateway.abuse.terms import moment_in
from gateway.abuse.writing import Letter, Writer, template

# An answer that a person writes: some pages.
MAX_TEXT_CHARACTERS = 20_000
_NO_MAIL = {"en": "no particular mail", "zh": "未指明具体邮件"}


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
            "received": moment_in(language, case.received, case.zone),
            "subject": shown(case.subject) or "-",
            "about": shown(case.about) or _NO_MAIL[language],
            "response_due": moment_in(language, case.response_due, case.zone),
            "outcome_due": moment_in(language, case.outcome_due, case.zone),
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
