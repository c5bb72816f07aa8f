"""Which signatures a scanner has, and how old they are (contract.md §5: updated at least weekly, with proof).

clamd says ``ClamAV ENGINE/NUMBER/DATE`` with official signatures and ``ClamAV ENGINE`` with an administrator's own
ones only. DATE is when the newest daily database was built, in the scanner's local time: it is read as UTC, half a day
off at most.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

_VERSION = re.compile(r"ClamAV ([^/\s]+)(?:/(\d+)(?:/(.+))?)?")
_DATE = "%a %b %d %H:%M:%S %Y"
DAY_SECONDS = 86_400.0


class Freshness(StrEnum):
    """How old signatures are."""

    FRESH = "fresh"
    OLD = "old"
    BREACH = "breach"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeLimits:
    """Beyond ``old_seconds`` it is time to look; beyond ``breach_seconds`` the contract's week is missed."""

    old_seconds: float = 3 * DAY_SECONDS
    breach_seconds: float = 7 * DAY_SECONDS

    def judge(self, age_seconds: float | None) -> Freshness:
        """Return how fresh signatures of this age are."""
        if age_seconds is None:
            return Freshness.UNKNOWN
        if age_seconds > self.breach_seconds:
            return Freshness.BREACH
        return Freshness.OLD if age_seconds > self.old_seconds else Freshness.FRESH


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureVersion:
    """``text`` as the scanner said it; ``number`` of the daily database or 0, ``built_at`` UTC seconds or None."""

    text: str
    engine: str = ""
    number: int = 0
    built_at: float | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a VERSION answer says; what it does not say is empty."""
        match = _VERSION.fullmatch(text.strip())
        if match is None:
            return cls(text=text)
        return cls(text=text, engine=match[1], number=int(match[2] or 0), built_at=_built(match[3] or ""))

    def age_seconds(self, now_utc: float) -> float | None:
        """Return how long ago the signatures were built, None when that is not known."""
        return None if self.built_at is None else max(0.0, now_utc - self.built_at)


def _built(text: str) -> float | None:
    try:
        # strptime takes any run of white space for one: ctime pads the day with a blank.
        return datetime.strptime(text.strip(), _DATE).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
