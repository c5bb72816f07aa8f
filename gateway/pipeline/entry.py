"""Transaction and verdict → what the spool keeps: a state per recipient, and the content's edits (invariants 5, 6).

Recipients whose fields are the same share a rendition, so one transfer serves them. Every rendition removes what was
forged and puts ours in front; content that begins with white space gets an empty line between
(``trace_fields.separator``). ``X-Spam-*`` stand where something scored or the mail is marked, ``X-Tidegate-Reason``
where it is no plain accept or something could not be determined, ``X-Virus-Status`` says what is known of viruses
(``pipeline.virus``).

Mail to an abuse address is read as a complaint too: beside its copy, which goes where it always did, the entry has one
for the abuse desk's Maildir (``gateway.config.abuse_desk``), durable and delivered like any other. Nobody is notified
of it and it is counted for no customer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gateway.clock import Stamp
from gateway.config.abuse_desk import DESK_DOMAIN
from gateway.config.filter_settings import ANTIVIRUS
from gateway.dns.resolver import Resolver
from gateway.mail import trace_fields
from gateway.mail.connection import Role
from gateway.mail.envelope import Recipient
from gateway.mail.rendition import Edit, Rendition
from gateway.mail.transaction import Transaction
from gateway.pipeline import virus
from gateway.pipeline.admission import Admission, Destination
from gateway.pipeline.authentication import authentication_fields, with_client_name
from gateway.pipeline.plan import Plan, Plans
from gateway.pipeline.virus import Host
from gateway.pipeline.weighing import tests, undetermined
from gateway.policy.action import Action
from gateway.policy.finding import Finding
from gateway.policy.verdict import Disposition, Verdict
from gateway.smtp.address import ForwardPath, Mailbox
from gateway.spool.message import MessageStamps, Origin, RecipientState, SpoolMessage, SpoolRecipient

_STATES = {
    Action.ACCEPT: RecipientState.QUEUED,
    Action.TAG: RecipientState.QUEUED,
    Action.QUARANTINE: RecipientState.QUARANTINED,
    Action.DISCARD: RecipientState.DISCARDED,
}
# The detail by which a filter says how long it had put a recipient off.
GREYLISTED_SECONDS = "greylisted_seconds"
# RFC 5322 §2.1.1: no line, and so no Message-ID in one, is longer.
_MAX_MESSAGE_ID = 998


class EntryWriter:
    """Writes entries for one snapshot."""

    def __init__(self, host: Host, resolver: Resolver, admission: Admission, plans: Plans) -> None:
        self._host = host
        self._resolver = resolver
        self._admission = admission
        self._plans = plans

    def write(self, tx: Transaction, verdict: Verdict, filtered: Stamp) -> SpoolMessage:
        """Return the message as the spool is to keep it; ValueError for a verdict that refuses: that is not kept."""
        if verdict.reply is not None:
            raise ValueError("a refused transaction has no entry")
        renditions = self._renditions(tx, verdict)
        recipients: list[SpoolRecipient] = []
        beside: list[SpoolRecipient] = []
        read = False
        for number, disposition in enumerate(verdict.dispositions):
            to = self._admission.destination(disposition.recipient.path.mailbox)
            plan = self._plans.of(to.policy)
            copy = SpoolRecipient(
                number=number,
                recipient=_addressed(disposition.recipient, to),
                route=_route(plan, to),
                customer=self._customer(tx, to),
                state=_STATES[disposition.action],
                rendition=renditions.index(disposition, plan),
                action=disposition.action.word,
                score=disposition.score,
                reason=disposition.reason,
                due=filtered.utc,
                held_since=filtered.utc if disposition.action is Action.QUARANTINE else 0.0,
                greylisted_seconds=_greylisted_seconds(disposition),
            )
            recipients.append(copy)
            beside += self._beside(copy, disposition, plan, renditions)
            if to.complaints and not read and copy.state is not RecipientState.DISCARDED:
                read = True
                beside += self._read(copy)
        copies = (*recipients, *(replace(c, number=n) for n, c in enumerate(beside, len(recipients))))
        return _message(tx, verdict, filtered, copies, renditions)

    def copy_to(self, copy: SpoolRecipient, path: ForwardPath) -> SpoolRecipient:
        """Return a copy as it goes to another address: routed and counted as mail for that one."""
        to = self._admission.destination(path.mailbox)
        recipient = _addressed(Recipient(path=path), to)
        return replace(
            copy, recipient=recipient, route=_route(self._plans.of(to.policy), to), customer=to.policy.customer
        )

    def _beside(
        self, copy: SpoolRecipient, disposition: Disposition, plan: Plan, renditions: "_Renditions"
    ) -> Iterator[SpoolRecipient]:
        """Yield what a recipient gets or has kept beside its copy because of a virus."""
        if virus.keeps_original(disposition, plan):
            yield replace(
                copy,
                state=RecipientState.QUARANTINED,
                rendition=renditions.original(disposition),
                action=Action.QUARANTINE.word,
                reason=f"{virus.ORIGINAL_KEPT}: {disposition.reason}".removesuffix(": "),
                held_since=copy.due,
            )
        elif virus.wants_notice(disposition, plan):
            octets = virus.notice(renditions.tx, disposition, plan, self._host, copy.due)
            index = renditions.instead(octets)
            yield replace(copy, state=RecipientState.QUEUED, rendition=index, action=Action.ACCEPT.word, held_since=0.0)

    def _read(self, copy: SpoolRecipient) -> Iterator[SpoolRecipient]:
        """Yield the copy of a complaint that the abuse desk reads, under the name of the address it was sent to."""
        desk = self._admission.desk
        if desk is not None:
            address = copy.recipient.path.mailbox.key.replace("@", "=")
            mailbox = Mailbox(address, DESK_DOMAIN, f"{address}@{DESK_DOMAIN}")
            yield replace(
                copy,
                recipient=Recipient(path=ForwardPath(mailbox), notify=frozenset({"NEVER"})),
                route=_route(self._plans.of(desk), Destination(mailbox, desk, own=True)),
                customer="",
                state=RecipientState.QUEUED,
                action=Action.ACCEPT.word,
                held_since=0.0,
                greylisted_seconds=0.0,
            )

    def _renditions(self, tx: Transaction, verdict: Verdict) -> "_Renditions":
        found = authentication_fields(tx, self._resolver, self._host.name)
        named = with_client_name(tx, self._resolver)
        return _Renditions(named, verdict.dispositions, self._host, found)

    def _customer(self, tx: Transaction, to: Destination) -> str:
        # Mail to a foreign domain is counted for whoever sends it.
        sender = tx.envelope.reverse_path.mailbox
        if to.own or sender is None:
            return to.policy.customer
        return self._admission.destination(sender).policy.customer


def _message(
    tx: Transaction,
    verdict: Verdict,
    filtered: Stamp,
    recipients: tuple[SpoolRecipient, ...],
    renditions: "_Renditions",
) -> SpoolMessage:
    connection = tx.connection
    received = tx.received or filtered
    message_id = tx.content.header.first("message-id")
    return SpoolMessage(
        trace_id=tx.trace_id,
        origin=Origin.SMTP,
        envelope=tx.envelope,
        recipients=recipients,
        stamps=MessageStamps(
            connected=connection.connected,
            enveloped=tx.enveloped or connection.connected,
            received=received,
            filtered=filtered,
            filter_seconds=verdict.filter_seconds,
            # Asked once for each set of settings, at the same time.
            antivirus_seconds=max((took for name, took in verdict.filter_seconds if name == ANTIVIRUS), default=0.0),
        ),
        content=tx.content,
        octets=tx.content.size,
        renditions=renditions.all,
        client=connection.client,
        helo=connection.helo,
        role=connection.role.value,
        message_id=message_id.text[:_MAX_MESSAGE_ID] if message_id else "",
        # Never a delivery status notification about content that a policy would not let pass (invariant 4).
        hostile=any(
            d.action in (Action.QUARANTINE, Action.DISCARD) or virus.is_infected(d) for d in verdict.dispositions
        ),
    )


def _greylisted_seconds(disposition: Disposition) -> float:
    for judgement in disposition.judgements:
        for name, value in judgement.finding.detail:
            if name == GREYLISTED_SECONDS:
                return float(value)
    return 0.0


def _addressed(recipient: Recipient, to: Destination) -> Recipient:
    if to.mailbox is recipient.path.mailbox:
        return recipient
    # The bare postmaster has become somebody's mailbox.
    return Recipient(path=ForwardPath(to.mailbox), notify=recipient.notify, orcpt=recipient.orcpt)


def _route(plan: Plan, to: Destination) -> str:
    if plan.route:
        return plan.route
    domain = to.mailbox.domain
    urls = (
        f"mx:{domain}{hop.url.removeprefix('mx:')}" if hop.scheme == "mx" and not hop.host else hop.url
        for hop in to.policy.next_hop
    )
    return " ".join(urls) or f"mx:{domain}"


class _Renditions:
    """The distinct renditions of one message, in the order in which recipients need them."""

    def __init__(self, tx: Transaction, dispositions: Sequence[Disposition], host: Host, found: bytes) -> None:
        self.tx = tx
        self._host = host
        self._header = tx.content.header
        self._removals = trace_fields.forged_fields(self._header, host.name)
        only = dispositions[0].recipient.path.mailbox if len(dispositions) == 1 else None
        self._trace = (
            found + trace_fields.received_field(tx, only) + f"X-Tidegate-Id: {tx.trace_id}\r\n".encode("ascii")
        )
        self._known: dict[tuple[bytes, str, tuple[Edit, ...]], int] = {}
        self._list: list[Rendition] = []

    @property
    def all(self) -> tuple[Rendition, ...]:
        """Every rendition, by index."""
        return tuple(self._list)

    def index(self, disposition: Disposition, plan: Plan) -> int:
        """Return the index of the rendition for one recipient."""
        marked = disposition.action is not Action.ACCEPT
        fields = self._virus_fields(virus.leaving(disposition))
        fields += _verdict_fields(disposition, plan) if disposition.judgements or marked else b""
        tag = plan.policy.subject_tag if marked else virus.subject_tag(disposition, plan)
        return self._index(fields, tag, virus.edits(disposition))

    def original(self, disposition: Disposition) -> int:
        """Return the index of the rendition of a mail before it was cleaned."""
        finding = virus.finding_of(disposition)
        return self._index(self._virus_fields(finding and virus.original(finding)), "", ())

    def instead(self, octets: bytes) -> int:
        """Return the index of a rendition that has ``octets``, a message of ours, in the place of the content."""
        self._list.append(Rendition.of([Edit(0, 0, self._trace), Edit(0, self.tx.content.size, octets)]))
        return len(self._list) - 1

    def _virus_fields(self, finding: Finding | None) -> bytes:
        # Of mail from inside, which nobody expects to be scanned, only what is known is told.
        told = finding is not None or self.tx.connection.role is Role.MX
        return virus.status_fields(finding, self._host) if told else b""

    def _index(self, fields: bytes, tag: str, cut: tuple[Edit, ...]) -> int:
        key = (fields, tag, cut)
        if key not in self._known:
            self._known[key] = len(self._list)
            self._list.append(self._rendition(fields, tag, cut))
        return self._known[key]

    def _rendition(self, fields: bytes, tag: str, cut: tuple[Edit, ...]) -> Rendition:
        edits = [*self._removals, *cut]
        if tag:
            edits += trace_fields.subject_edits(self._header, tag)
            if not self._header.count("subject"):
                fields += trace_fields.new_subject(tag)
        edits.append(Edit(0, 0, self._trace + fields + trace_fields.separator(self.tx.content)))
        return Rendition.of(edits)


def _verdict_fields(disposition: Disposition, plan: Plan) -> bytes:
    marked = disposition.action is not Action.ACCEPT
    fields = b""
    if marked or disposition.score:
        required = plan.policy.thresholds.tag
        fields = trace_fields.spam_fields(disposition.score, required, tests(disposition.judgements), flagged=marked)
    unknown = "; ".join(undetermined(disposition.judgements))
    if not marked and not unknown:
        return fields
    reason = f"{disposition.action.word}; {disposition.reason}" if marked else "accept"
    if marked and disposition.grounds:
        reason += f"; grounds: {', '.join(disposition.grounds)}"
    if unknown:
        reason += f"; undetermined: {unknown}"
    return fields + trace_fields.text_field("X-Tidegate-Reason", reason)
