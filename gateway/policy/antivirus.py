"""``[antivirus]`` of one policy as plain values (contract.md §5); ``gateway.config`` builds them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from gateway.policy.action import Action


class VirusMode(StrEnum):
    """What is done about a virus.

    ``off``: nothing is scanned. ``scan-only`` (只查): delivered with a mark. ``clean`` (查杀): the infected parts are
    cut out; what cannot be cleaned is quarantined. ``reject``: refused.
    """

    OFF = "off"
    SCAN_ONLY = "scan-only"
    CLEAN = "clean"
    REJECT = "reject"


@dataclass(frozen=True, slots=True, kw_only=True)
class AntivirusPolicy:
    """What one recipient wants.

    ``keep_original`` (是否保留原附件) puts the untouched message of a cleaned mail into quarantine. ``on_error`` is for
    mail that could not be scanned, None to let it pass with a mark; deferred for longer than ``defer_limit_seconds``
    it is quarantined. ``too_large`` is for what is larger than the scanners take. ``language`` is that of notices,
    ``subject_tag`` stands before the subject of mail that is delivered although infected.
    """

    mode: VirusMode = VirusMode.CLEAN
    keep_original: bool = True
    on_error: Action | None = Action.DEFER
    defer_limit_seconds: float = 7200.0
    too_large: Action = Action.QUARANTINE
    language: Literal["en", "zh"] = "en"
    subject_tag: str = ""

    @property
    def reactions(self) -> dict[str, Action | None]:
        """What this makes of the antivirus filter's results; the others' reactions are the filter's own."""
        infected = {VirusMode.CLEAN: Action.QUARANTINE, VirusMode.REJECT: Action.REJECT}
        return {
            "infected": infected.get(self.mode),
            "cleaned": None,
            "temperror": self.on_error,
            "overdue": Action.QUARANTINE,
            "too-large": self.too_large,
        }
