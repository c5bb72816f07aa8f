"""A job waits in a lane; a report says what became of it."""

from gateway.clock import Stamp
from gateway.delivery.transfer import Outcome
from gateway.spool.message import SpoolMessage, SpoolRecipient
from gateway.value import value


@value(kw_only=True)
class Job:
    """Recipients of one message that share route and rendition.

    ``octets`` of content are held in memory on its account; ``failovers`` counts the hosts that turned this attempt
    away.
    """

    message: SpoolMessage
    recipients: tuple[SpoolRecipient, ...]
    octets: int = 0
    failovers: int = 0


@value(kw_only=True)
class Report:
    """The end of one attempt: one outcome per recipient of the job, in order; instants as in ``TransferResult``.

    ``success`` says who answers for NOTIFY=SUCCESS: ``delivered`` or ``relayed`` is ours to report, "" the next hop's
    (RFC 3461 §5.2). ``setup_seconds`` is the time spent connecting for this very job, 0 over a connection that stood.
    ``not_before`` is the UTC second until which the next hop is left alone, 0 when it is not.
    """

    job: Job
    outcomes: tuple[Outcome, ...]
    next_hop: str
    relay: str
    begun: Stamp
    started: Stamp | None = None
    setup_seconds: float = 0.0
    success: str = ""
    not_before: float = 0.0
