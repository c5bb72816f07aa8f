"""Which filters and rules are asked when, so that each is asked once a message for what it can know.

Filters that do not wait are asked at every stage from their own on, with what is known by then; they cost
microseconds. Those that wait are asked at their own stage and remembered; after the final dot they are asked last,
and not at all when every policy rejects already. Rules come between; those that name the results of filters that are
still awaited are judged again behind these. A set of rules is judged once a message, whichever policies share it,
unless it names the recipient.

What waits at CONNECT (lists in the DNS, the client's name) begins beside the dialogue, and is awaited at the first
RCPT: it costs no time of its own, the evidence is complete, and the recipient's policy decides. The client's verified
name (RFC 8601 §3) is asked for where a policy enables iprev or a local list may have it (``naming``).
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, replace
from functools import reduce
from operator import or_
from typing import Self

from gateway.mail.envelope import Recipient
from gateway.mail.transaction import Transaction
from gateway.pipeline.examiner import Examiner, Found, Timings
from gateway.pipeline.memory import Answers, Key, Memory
from gateway.pipeline.naming import Naming
from gateway.pipeline.plan import NO_QUESTIONS, AnyFilter, Plan, Questions
from gateway.pipeline.ruling import RuleDesk
from gateway.pipeline.weighing import Opinion, weigh, weigh_complaint
from gateway.policy.action import Action, Stage
from gateway.rules.facts import MailFacts
from gateway.rules.judging import Outcome, RuleSet
from gateway.rules.moment import Moment
from gateway.value import value

# Clients of whom something is being found out beside their dialogue; of those beyond it at RCPT. Twice
# `limits.connections`, for those who leave before the answer comes.
MOST_BEGUN = 4096


@value(eq=False)
class Party:
    """Recipients of whom a message is judged alike: those of one policy, its postmaster and abuse addresses apart.

    ``postmaster``: they hear everybody; ``complaints``: what they get carries spam, so that spam refuses nothing.
    ``rules`` are those that are asked once for all of them.
    """

    plan: Plan
    postmaster: bool
    rules: RuleSet | None
    complaints: bool = False

    @classmethod
    def of(cls, plan: Plan, *, postmaster: bool) -> Self:
        """Return the plan's party."""
        shared = plan.rules is not None and not plan.rules.per_recipient
        return cls(plan, postmaster, plan.rules.of(postmaster=postmaster) if plan.rules and shared else None)

    @classmethod
    def all_of(cls, plan: Plan) -> tuple[Self, Self, Self]:
        """Return a plan's parties, in the order of ``Destination.party``: anybody, postmaster, abuse addresses."""
        postmaster = cls.of(plan, postmaster=True)
        return cls.of(plan, postmaster=False), postmaster, replace(postmaster, complaints=True)


@value()
class Heard:
    """What is found about a message, whoever the recipient; ``facts`` is None while no policy has rules.

    ``ruled`` is what the sets of rules said, ``late`` those that awaited a filter's result.
    """

    found: Found
    facts: MailFacts | None = None
    ruled: Mapping[RuleSet, Outcome] = field(default_factory=dict)
    late: tuple[RuleSet, ...] = ()

    def by(self, party: Party) -> tuple[Found, Outcome | None]:
        """Return what counts for a party: for the postmaster nothing but what is found in the content."""
        ruled = None if party.rules is None else self.ruled.get(party.rules)
        if not party.postmaster:
            return self.found, ruled
        return {question: said for question, said in self.found.items() if question.stage is Stage.DATA}, ruled


class Inquiry:
    """Asks what is not known yet; ``rules``: some policy has rules."""

    def __init__(self, examiner: Examiner, desk: RuleDesk, naming: Naming, *, rules: bool) -> None:
        self._naming = naming
        self._examiner = examiner
        self._rules = rules
        self._desk = desk
        self._memory = Memory()
        self._begun: dict[Key, asyncio.Task[Answers]] = {}

    async def connection(self, tx: Transaction, questions: Questions) -> Found:
        """Return what filters that do not wait find at CONNECT."""
        found: Found = {}
        await self._examiner.ask(questions.direct, tx, found, [])
        return found

    def begin(self, tx: Transaction, questions: Questions) -> None:
        """Begin to ask what waits at CONNECT; the answers are there, or awaited, at RCPT."""
        key = _client(tx)
        waiting = tuple(dict.fromkeys((*questions.waiting, *self._naming.questions(tx, NO_QUESTIONS))))
        if not waiting or key in self._begun or len(self._begun) >= MOST_BEGUN:
            return
        asking = asyncio.get_running_loop().create_task(self._learn(key, waiting, tx))
        self._begun[key] = asking
        asking.add_done_callback(lambda _: self._begun.pop(key, None))

    def client_name(self, tx: Transaction) -> str:
        """Return the client's verified name (RFC 8601 §3), "" while nobody has asked for it or it has none."""
        return self._naming.told(self._memory.recall(_client(tx)))

    async def named(self, tx: Transaction, questions: Questions = NO_QUESTIONS) -> Transaction:
        """Return the transaction with the client's verified name, where ``questions`` ask for it or a list may have it.

        Elsewhere it is not waited for; what is known already is told.
        """
        if tx.connection.client_name:
            return tx
        if asking := self._naming.questions(tx, questions):
            found: Found = {}
            await self._remembered(_client, asking, tx, found)
            self._naming.note_failure(tx, found)
        name = self.client_name(tx)
        return replace(tx, connection=replace(tx.connection, client_name=name)) if name else tx

    async def envelope(self, tx: Transaction, plan: Plan) -> Found:
        """Return what is found at RCPT; ``tx`` has the one recipient, and the client's name (``named``)."""
        found: Found = {}
        await self._examiner.ask(plan.envelope.direct, tx, found, [])
        await self._remembered(_client, plan.connect.waiting, tx, found)
        await self._remembered(_envelope, plan.envelope.waiting, tx, found)
        await self._remembered(_recipient, plan.envelope.each, tx, found)
        return found

    async def content(self, tx: Transaction, parties: Sequence[Party], timings: Timings) -> Heard:
        """Return what is found after the final dot, whoever the recipient, and what the parties' rules say of it."""
        found: Found = {}
        connect, envelope, data = _questions(parties)
        await self._examiner.ask(data.direct, tx, found, timings)
        await self._remembered(_client, connect.waiting, tx, found)
        await self._remembered(_envelope, envelope.waiting, tx, found)
        heard = Heard(found)
        if self._rules and any(party.plan.rules for party in parties):
            heard = await self._ruled(tx, parties, found, {f.name for f in data.waiting}, timings)
        if data.waiting and not _settled(parties, heard):
            await self._examiner.ask_waiting(data.waiting, tx, found, timings)
            heard = await self._ruled_again(tx, heard, timings)
        return heard

    async def _ruled(
        self, tx: Transaction, parties: Sequence[Party], found: Found, awaited: Collection[str], timings: Timings
    ) -> Heard:
        """Judge the rules; those that name results of filters that are ``awaited`` as far as can be known by now."""
        facts = self._desk.facts(tx, found)
        results = {party.rules: party.plan.rules.results for party in parties if party.rules and party.plan.rules}
        late = tuple(rules for rules, named in results.items() if not named.isdisjoint(awaited))
        known = tuple(rules for rules in results if rules not in late)
        ruled = {
            **await self._desk.judged(known, facts, Moment.RESULTS, tx, timings),
            **await self._desk.judged(late, facts, Moment.CONTENT, tx, timings),
        }
        return Heard(found, facts, ruled, late)

    async def _ruled_again(self, tx: Transaction, heard: Heard, timings: Timings) -> Heard:
        if heard.facts is None:
            return heard
        facts = self._desk.knowing(heard.facts, heard.found)
        if not heard.late:
            return replace(heard, facts=facts)
        ruled = await self._desk.judged(heard.late, facts, Moment.RESULTS, tx, timings)
        return replace(heard, facts=facts, ruled={**heard.ruled, **ruled})

    async def recipient(
        self, tx: Transaction, recipient: Recipient, party: Party, heard: Heard, timings: Timings
    ) -> tuple[Found, Outcome | None]:
        """Return what counts for one recipient by itself."""
        found, ruled = heard.by(party)
        plan = party.plan
        if not party.postmaster and (each := self._examiner.awake(plan.envelope.each)):
            found = dict(found)
            await self._remembered(_recipient, each, replace(tx, recipients=(recipient,)), found)
        if plan.rules is not None and plan.rules.per_recipient and heard.facts is not None:
            facts = self._desk.knowing(heard.facts.about(recipient), {**heard.found, **found})
            rules = plan.rules.of(postmaster=party.postmaster)
            ruled = (await self._desk.judged((rules,), facts, Moment.RESULTS, tx, timings))[rules]
        return found, ruled

    async def _remembered(
        self,
        key_of: Callable[[Transaction], Key],
        filters: Sequence[AnyFilter],
        tx: Transaction,
        found: Found,
    ) -> None:
        if not filters or not (filters := self._examiner.awake(filters)):
            return
        key = key_of(tx)
        if begun := self._begun.get(key):
            # Others may wait for it too: who leaves must not end it.
            await asyncio.shield(begun)
        known = await self._learn(key, filters, tx)
        for question in filters:
            if said := known[question]:
                found[question] = said

    async def _learn(self, key: Key, filters: Sequence[AnyFilter], tx: Transaction) -> Answers:
        """Return what is remembered, having asked what is missing."""
        known = self._memory.recall(key)
        missing = [question for question in filters if question not in known]
        if not missing:
            return known
        fresh: Found = {}
        await self._examiner.ask_waiting(missing, tx, fresh, [])
        self._memory.keep(key, {question: fresh.get(question, ()) for question in missing})
        return self._memory.recall(key)


def _client(tx: Transaction) -> Key:
    # XCLIENT gives a session another client (intake keeps the session's id), of whom nothing has been asked yet.
    return tx.connection.session_id, f"client {tx.connection.client}"


def _envelope(tx: Transaction) -> Key:
    return tx.trace_id, ""


def _recipient(tx: Transaction) -> Key:
    return tx.trace_id, tx.recipients[0].key


def _questions(parties: Sequence[Party]) -> tuple[Questions, Questions, Questions]:
    if len(parties) == 1:
        plan = parties[0].plan
        return plan.connect, plan.envelope, plan.data
    plans = [party.plan for party in parties]
    connect, envelope, data = (
        reduce(or_, questions) for questions in zip(*((p.connect, p.envelope, p.data) for p in plans), strict=True)
    )
    return connect, envelope, data


def _settled(parties: Sequence[Party], heard: Heard) -> bool:
    """Tell whether every party rejects for good, so that no scanner need look at the mail."""
    return bool(heard.found or heard.ruled) and all(
        not party.plan.can_outweigh_reject and opinion_of(party, *heard.by(party)).action is Action.REJECT
        for party in parties
    )


def opinion_of(party: Party, found: Found, ruled: Outcome | None) -> Opinion:
    """Return what a party's policy makes of what was found."""
    return (weigh_complaint if party.complaints else weigh)(party.plan, found, ruled)
