"""``Gate``: the pipeline of one configuration snapshot, asked at CONNECT, at each RCPT and after the final dot.

It judges by value and acts nowhere: intake says the replies, the spool keeps the entries. A connection is refused
only when every policy would, because no recipient is known yet; what can be judged per recipient is judged at RCPT;
the rest gets one reply (invariant 4).

What it says is told by intake, which knows how it ended: a refusal carries its cause, filter and result first, for the
journal (invariant 9). Only a bug is an event of its own.

The postmaster hears what strangers have to say (RFC 5321 §4.5.1): what is found about the connection and the envelope
never refuses that mailbox; what is found in the content counts for it as for any other. So do the abuse addresses, and
since complaints carry the spam they are about, what says that it is spam does nothing there: it stands in the headers.
What is refused for the mail's own sake (a loop, a virus) is refused for them too.
"""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from gateway.clock import Clock, Stamp
from gateway.config.filter_settings import ANTIVIRUS
from gateway.config.models import GatewayConfig
from gateway.config.snapshot import Snapshot
from gateway.dns.resolver import Resolver
from gateway.journal.events import EventSink, InternalError
from gateway.mail.connection import Connection
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.received import first_untrusted, is_within
from gateway.mail.transaction import Transaction
from gateway.pipeline.admission import Admission, Destination
from gateway.pipeline.authentication import report_facts
from gateway.pipeline.entry import EntryWriter
from gateway.pipeline.examiner import Examiner, Found, Timings
from gateway.pipeline.inquiry import Heard, Inquiry, Party, opinion_of
from gateway.pipeline.naming import Naming
from gateway.pipeline.plan import Plan, Plans, Questions
from gateway.pipeline.reply import one_reply
from gateway.pipeline.ruling import RuleDesk
from gateway.pipeline.signing import Signer
from gateway.pipeline.threshold import REFUSALS, Agreement, at_once
from gateway.pipeline.verifier import RecipientVerifier
from gateway.pipeline.virus import Host
from gateway.pipeline.weighing import Opinion, weigh
from gateway.policy.catalogue import Catalogue
from gateway.policy.filter import Context, LoopLimits
from gateway.policy.finding import Finding
from gateway.policy.verdict import Disposition, Verdict
from gateway.rules import story
from gateway.rules.facts import MailFacts, results_of
from gateway.rules.group import RuleGroup
from gateway.rules.judging import Outcome
from gateway.rules.story import RuleStory
from gateway.smtp import replies
from gateway.smtp.address import ForwardPath, Mailbox
from gateway.smtp.reply import Reply
from gateway.spool.message import SpoolMessage, SpoolRecipient


class Gate:
    """Everything that decides; immutable but for what it remembers of filters that wait."""

    def __init__(  # noqa: PLR0913 - each part of the world by its name
        self,
        snapshot: Snapshot,
        *,
        filters: Catalogue,
        resolver: Resolver,
        clock: Clock,
        verifier: RecipientVerifier,
        events: EventSink,
        services: Mapping[type[Any], Any] | None = None,
    ) -> None:
        config = snapshot.config
        self.snapshot = snapshot
        self._clock = clock
        self._events = events
        self._forwarders = config.incidents.forwarders
        self._admission = Admission(config, snapshot.policies, verifier)
        self._plans = Plans(snapshot.policies, _asked(filters, config))
        self._entries = EntryWriter(_host(config), resolver, self._admission, self._plans)
        self._resolver = resolver
        self._signer = Signer(snapshot.policies, resolver, config.hostname)
        limits = LoopLimits(
            received_fields=config.limits.received_fields,
            own_received_fields=config.limits.own_received_fields,
        )
        context = Context(
            clock=clock, resolver=resolver, hostname=config.hostname, loop_limits=limits, services=services or {}
        )
        self._context = context
        self._desk = RuleDesk(clock, events)
        examiner = Examiner(context, events, config.smtp.data_reply_budget)
        self._connect = reduce(or_, (plan.connect for plan in self._plans), Questions())
        naming = Naming(self._connect, context)
        self._inquiry = Inquiry(examiner, self._desk, naming, rules=any(plan.rules for plan in self._plans))
        # Whom a rule lets in by what RCPT knows must get there.
        self._lets_in = any(plan.rules is not None and plan.rules.lets_in for plan in self._plans)
        self._agreement = Agreement(self._plans)
        self._unremarkable = {plan: weigh(plan, {}) for plan in self._plans.every}
        self._parties = {plan: Party.all_of(plan) for plan in self._plans.every}

    @property
    def rule_groups(self) -> tuple[RuleGroup, ...]:
        """Every layer of custom rules, compiled."""
        return self._plans.rule_groups

    def destination(self, mailbox: Mailbox) -> Destination:
        """Return where mail for ``mailbox`` goes, and under which policy."""
        return self._admission.destination(mailbox)

    async def admit(self, connection: Connection) -> Reply | None:
        """Return the refusal of a connection on which every policy agrees, None to go on.

        Only what is known at once refuses here; what must be waited for counts at RCPT.
        """
        tx = Transaction(trace_id=connection.session_id, connection=connection)
        refusal = await self._turned_away(tx)
        if refusal is None:
            self._inquiry.begin(tx, self._connect)
        return refusal

    def turned_away(self, connection: Connection) -> Reply | None:
        """As ``admit``, for a door under attack: what can be told at once and costs next to nothing."""
        if self._lets_in:
            return None
        tx = Transaction(trace_id=connection.session_id, connection=connection)
        found = at_once(self._connect.direct, tx, self._context)
        return self._agreement.refusal(found)

    def client_name(self, connection: Connection) -> str:
        """Return the client's verified name, "" where nobody asked for it or it has none."""
        return self._inquiry.client_name(Transaction(trace_id=connection.session_id, connection=connection))

    async def _turned_away(self, tx: Transaction) -> Reply | None:
        found = await self._inquiry.connection(tx, self._connect)
        return None if self._lets_in else self._agreement.refusal(found)

    async def judge_recipient(
        self,
        connection: Connection,
        envelope: Envelope,
        recipient: Recipient,
        accepted: Sequence[Recipient],
        trace_id: str,
    ) -> Reply:
        """Return the reply to RCPT: relaying allowed, mailbox there, envelope and client good enough for its policy."""
        if refusal := self._admission.refusal(connection, envelope, recipient, accepted):
            return refusal
        to = self._admission.destination(recipient.path.mailbox)
        if refusal := await self._unknown(to, trace_id):
            return refusal
        if to.party:
            return replies.RECIPIENT_OK
        tx = Transaction(trace_id=trace_id, connection=connection, envelope=envelope, recipients=(recipient,))
        return await self._by_envelope(tx, self._plans.of(to.policy)) or replies.RECIPIENT_OK

    async def _unknown(self, to: Destination, trace_id: str) -> Reply | None:
        try:
            return await self._admission.unknown(to)
        except Exception as error:  # noqa: BLE001 - a bug of the verifier must not cost the session
            self._events.emit(
                InternalError(
                    at=self._clock.stamp().utc,
                    trace_id=trace_id,
                    where="recipient verifier",
                    error=f"{type(error).__name__}: {error}",
                    traceback="".join(traceback.format_exception(error)),
                ),
            )
            return replies.RECIPIENT_UNVERIFIED.because("internal error")

    async def _by_envelope(self, tx: Transaction, plan: Plan) -> Reply | None:
        tx = await self._inquiry.named(tx, plan.connect)
        found = await self._inquiry.envelope(tx, plan)
        rules = plan.rules
        ruled = self._desk.at_rcpt(rules, tx, found) if rules is not None and rules.at_rcpt else None
        opinion = weigh(plan, found, ruled) if found or ruled else self._unremarkable[plan]
        return opinion.reply if opinion.action in REFUSALS else None

    async def judge_content(self, tx: Transaction) -> Verdict:
        """Return every recipient's disposition and the one reply to the final dot."""
        tx = await self._inquiry.named(tx)
        destinations = [self._admission.destination(recipient.path.mailbox) for recipient in tx.recipients]
        parties = [self._parties[self._plans.of(to.policy)][to.party] for to in destinations]
        timings: Timings = []
        heard = await self._inquiry.content(tx, tuple(dict.fromkeys(parties)), timings)
        dispositions = await self._dispositions(tx, parties, heard, timings)
        carried_out, reply = one_reply(dispositions)
        return Verdict(
            dispositions=carried_out,
            reply=reply,
            findings=tuple(dict.fromkeys(j.finding for d in carried_out for j in d.judgements)),
            filter_seconds=tuple(timings),
            dmarc=report_facts(tx, self._resolver),
            origin=self._origin(tx) if self._forwarders else "",
        )

    def _origin(self, tx: Transaction) -> str:
        if not is_within(tx.connection.client_address, self._forwarders):
            return ""
        return first_untrusted(tx.content.header, self._forwarders)

    async def _dispositions(
        self, tx: Transaction, parties: Sequence[Party], heard: Heard, timings: Timings
    ) -> list[Disposition]:
        # Recipients of one party have one opinion, unless something is asked about each of them.
        opinions: dict[Party, Opinion] = {}
        dispositions = []
        for recipient, party in zip(tx.recipients, parties, strict=True):
            opinion = opinions.get(party)
            if opinion is None and party.plan.one_by_one:
                opinion = self._opinion(party, *await self._inquiry.recipient(tx, recipient, party, heard, timings))
            elif opinion is None:
                opinion = opinions[party] = self._opinion(party, *heard.by(party))
            dispositions.append(opinion.about(recipient))
        return dispositions

    def _opinion(self, party: Party, found: Found, ruled: Outcome | None) -> Opinion:
        return opinion_of(party, found, ruled) if found or ruled else self._unremarkable[party.plan]

    def stories(self, tx: Transaction, recipient: Recipient, findings: Iterable[Finding]) -> tuple[RuleStory, ...]:
        """Return why each rule of a recipient's policy did or did not fire; ``findings`` are the filters'."""
        rules = self._plans.rules_of(self._admission.destination(recipient.path.mailbox).policy)
        if not rules.groups:
            return ()
        return story.explain(rules, MailFacts(tx, results_of(findings), self._clock).about(recipient))

    def copy_to(self, copy: SpoolRecipient, path: ForwardPath) -> SpoolRecipient:
        """Return a copy of a message in custody as it goes to another address."""
        return self._entries.copy_to(copy, path)

    async def signed(self, tx: Transaction, message: SpoolMessage) -> SpoolMessage:
        """Return an entry with the signatures and seals that its policies want on what leaves."""
        return message if self._signer.is_idle else await self._signer.signed(tx, message)

    async def signed_own(self, message: SpoolMessage) -> SpoolMessage:
        """Return a mail that the gateway itself wrote, signed by its author's domain where that has keys."""
        return message if self._signer.is_idle else await self._signer.signed_own(message)

    def entry(self, tx: Transaction, verdict: Verdict, filtered: Stamp) -> SpoolMessage:
        """Return what the spool is to keep of a transaction that is taken."""
        message = self._entries.write(tx, verdict, filtered)
        tx.content.forget_decodings()
        return message


def _asked(filters: Catalogue, config: GatewayConfig) -> Catalogue:
    """Return the filters that this node can ask: without a scanner there is no antivirus, for no policy."""
    if config.clamd.address:
        return filters
    return {name: kind for name, kind in filters.items() if name != ANTIVIRUS}


def _host(config: GatewayConfig) -> Host:
    contact = config.contact.postmaster or f"postmaster@{config.hostname}"
    return Host(name=config.hostname, contact=contact, scans=bool(config.clamd.address))
