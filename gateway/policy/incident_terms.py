"""When mail that a policy judged makes a confirmed incident, as plain values; ``gateway.config`` builds them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentTerms:
    """``[incidents]`` of a policy.

    ``confirm`` spam verdicts, or ``confirm_virus`` messages with viruses, from one source within ``window_seconds``
    confirm its incident; ``block`` tells that a confirmed source is blocked without anybody being asked.
    """

    confirm: int = 10
    confirm_virus: int = 3
    window_seconds: float = 86_400.0
    block: bool = False


USUAL_TERMS = IncidentTerms()
