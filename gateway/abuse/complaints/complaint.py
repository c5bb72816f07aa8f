"""What a complaint says, as a value: the same for every form it comes in."""

from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """The form a complaint came in, the most telling first."""

    ARF = "arf"
    XARF = "xarf"
    ATTACHED = "attached"
    INLINE = "inline"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """What is complained of.

    ``sources`` are IP addresses, ``message_ids`` with their angle brackets, ``trace_ids`` ids of ours, each the most
    certain first. ``feedback_type`` is the report's own word (abuse, fraud, virus, not-spam, opt-out …), "" without
    one. ``subject`` is that of the mail complained of; ``reported`` domains and links named. ``defects`` are what was
    wrong with the form.
    """

    format: Format
    feedback_type: str = ""
    sources: tuple[str, ...] = ()
    message_ids: tuple[str, ...] = ()
    trace_ids: tuple[str, ...] = ()
    mail_from: str = ""
    recipients: tuple[str, ...] = ()
    reported: tuple[str, ...] = ()
    arrived: str = ""
    subject: str = ""
    user_agent: str = ""
    incidents: int = 1
    defects: tuple[str, ...] = ()

    @property
    def says_nothing(self) -> bool:
        """Whether nothing in it leads to a mail or a source."""
        return not (self.sources or self.message_ids or self.trace_ids)

    @property
    def is_praise(self) -> bool:
        """RFC 5965 §7.3 and the registry: *not-spam* takes a complaint back."""
        return self.feedback_type == "not-spam"
