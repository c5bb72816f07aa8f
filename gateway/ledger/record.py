"""One ledger row: everything the delay clauses need of one finished recipient."""

from gateway.value import value


@value(kw_only=True)
class DelayRecord:
    """Stamps are UTC seconds, durations monotonic seconds; written in the transaction that ends custody of the copy.

    ``send_delay_seconds`` runs from the final dot to the first octet of our content to the next hop that took it,
    ``receive_delay_seconds`` from the final dot to its 250 (contract.md §2); both None when the copy was never
    delivered. ``status`` is a terminal RecipientState. ``held_seconds`` is quarantine and hold; ``greylisted_seconds``
    how long greylisting had put the recipient off before the mail was taken, in none of the delays;
    ``antivirus_seconds`` the scanner's share; ``attempts`` the evidence as JSON text: a list of ``[at, next_hop, relay,
    phase, reply, status, seconds, own_fault, due]``, ``due`` (when the next was to be) only of what was deferred.
    """

    trace_id: str
    number: int
    customer: str
    recipient: str
    domain: str
    reverse_path: str
    role: str
    origin: str
    octets: int
    action: str
    connected_at: float
    enveloped_at: float
    received_at: float
    filtered_seconds: float
    durable_seconds: float
    antivirus_seconds: float
    held_seconds: float
    transfer_started_at: float | None
    accepted_at: float | None
    send_delay_seconds: float | None
    receive_delay_seconds: float | None
    finished_at: float
    status: str
    next_hop: str
    relay: str
    reply: str
    attempts: str
    attempt_count: int
    greylisted_seconds: float = 0.0
