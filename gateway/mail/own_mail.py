"""A mail that the gateway writes itself: a report, an answer to a complaint. Never about one message under way.

Whoever wrote it, a command or a process beside the workers, hands it over by the control socket (``own-mail``), as
``arguments`` has it; a worker signs it by the author's domain, takes it into custody and delivers it like any other.
Delivery status notifications are made elsewhere (``delivery.dsn``), with the outcome they tell of.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The control socket's name for it.
COMMAND = "own-mail"

# RFC 3461 §4.1: nobody is told of a failure; the journal and the queue have it.
NOBODY = frozenset({"NEVER"})
_NOTIFY = frozenset({"NEVER", "FAILURE", "DELAY", "SUCCESS"})
# It labels a metric.
_PURPOSE = re.compile(r"[a-z][a-z-]{0,30}")
# More are a mailing list, and that is not what this is for.
MAX_RECIPIENTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMail:
    """``sender`` is the reverse-path ("" the null one), ``octets`` the whole message; ``purpose`` one word for it.

    ``notify`` as in RFC 3461: who waits for bounces at ``sender`` asks for FAILURE.
    """

    sender: str
    recipients: tuple[str, ...]
    octets: bytes
    purpose: str
    notify: frozenset[str] = NOBODY

    def arguments(self) -> dict[str, Any]:
        """Return it as arguments of the control socket's ``own-mail``."""
        return {
            "sender": self.sender,
            "recipients": list(self.recipients),
            "content": base64.b64encode(self.octets).decode("ascii"),
            "purpose": self.purpose,
            "notify": sorted(self.notify),
        }

    @classmethod
    def read(cls, arguments: Mapping[str, Any]) -> "OwnMail":
        """Return the mail in such arguments; ValueError says what is wrong."""
        sender, content, purpose = (_text(arguments, name) for name in ("sender", "content", "purpose"))
        recipients, notify = (_texts(arguments, name) for name in ("recipients", "notify"))
        if not 0 < len(recipients) <= MAX_RECIPIENTS:
            raise ValueError(f"1 to {MAX_RECIPIENTS} recipients are wanted")
        if not _PURPOSE.fullmatch(purpose):
            raise ValueError("purpose: a word of small letters and hyphens")
        if not notify or not set(notify) <= _NOTIFY:
            raise ValueError("notify: NEVER, or some of FAILURE, DELAY and SUCCESS")
        try:
            octets = base64.b64decode(content, validate=True)
        except binascii.Error as error:
            raise ValueError("content is not base 64") from error
        if not octets:
            raise ValueError("content is empty")
        return cls(sender=sender, recipients=recipients, octets=octets, purpose=purpose, notify=frozenset(notify))


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} is missing")  # noqa: TRY004 - one kind of error for what came over a socket
    return value


def _texts(arguments: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = arguments.get(name)
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name} is no list of texts")
    return tuple(value)
