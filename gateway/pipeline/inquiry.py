"""Which filters are asked when, so that each is asked once a message for what it can know (``plan.Questions``).

Filters that do not wait are asked at every stage from their own on, with what is known by then; they cost
microseconds. Those that wait are asked at their own stage and remembered; after the final dot they are asked last,
and not at all when every policy rejects already.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_

from gateway.mail.envelope import Recipient
from gateway.mail.transaction import Transaction
from gateway.pipeline.examiner import Examiner, Found, Timings
from gateway.pipeline.memory import Key, Memory
from gateway.pipeline.plan import AnyFilter, Plan, Questions
from gateway.pipeline.weighing import weigh
from gateway.policy.action import Action


class Inquiry:
    """Asks what is not known yet."""

    def __init__(self, examiner: Examiner) -> None:
        self._examiner = examiner
        self._memory = Memory()

    async def connection(self, tx: Transaction, questions: Questions) -> Found:
        """Return what is found at CONNECT."""
        found: Found = {}
        await self._examiner.ask(questions.direct, tx, found, [])
        await self._remembered(_client, questions.waiting, tx, found)
        return found

    async def envelope(self, tx: Transaction, plan: Plan) -> Found:
        """Return what is found at RCPT; ``tx`` has the one recipient."""
        found: Found = {}
        await self._examiner.ask(plan.envelope.direct, tx, found, [])
        await self._remembered(_client, plan.connect.waiting, tx, found)
        await self._remembered(_envelope, plan.envelope.waiting, tx, found)
        await self._remembered(_recipient, plan.envelope.each, tx, found)
        return found

    async def content(self, tx: Transaction, plans: Sequence[Plan], timings: Timings) -> Found:
        """Return what is found after the final dot, whoever the recipient."""
        found: Found = {}
        if len(plans) == 1:
            connect, envelope, data = plans[0].connect, plans[0].envelope, plans[0].data
        else:
            connect, envelope, data = (
                reduce(or_, questions)
                for questions in zip(*((p.connect, p.envelope, p.data) for p in plans), strict=True)
            )
        await self._examiner.ask(data.direct, tx, found, timings)
        await self._remembered(_client, connect.waiting, tx, found)
        await self._remembered(_envelope, envelope.waiting, tx, found)
        if data.waiting and not _settled(plans, found):
            await self._examiner.ask_waiting(data.waiting, tx, found, timings)
        return found

    async def recipient(self, tx: Transaction, recipient: Recipient, plan: Plan) -> Found:
        """Return what is found about one recipient by itself."""
        found: Found = {}
        one = replace(tx, recipients=(recipient,))
        await self._remembered(_recipient, plan.envelope.each, one, found)
        return found

    async def _remembered(
        self,
        key_of: Callable[[Transaction], Key],
        filters: Sequence[AnyFilter],
        tx: Transaction,
        found: Found,
    ) -> None:
        if not filters:
            return
        key = key_of(tx)
        known = self._memory.recall(key)
        missing = [question for question in filters if question not in known]
        if missing:
            fresh: Found = {}
            await self._examiner.ask_waiting(missing, tx, fresh, [])
            self._memory.keep(key, {question: fresh.get(question) for question in missing})
            known = self._memory.recall(key)
        for question in filters:
            finding = known[question]
            if finding is not None:
                found[question] = finding


def _client(tx: Transaction) -> Key:
    # XCLIENT gives a session another client (intake keeps the session's id), of whom nothing has been asked yet.
    return tx.connection.session_id, f"client {tx.connection.client_address}"


def _envelope(tx: Transaction) -> Key:
    return tx.trace_id, ""


def _recipient(tx: Transaction) -> Key:
    return tx.trace_id, tx.recipients[0].key


def _settled(plans: Sequence[Plan], found: Found) -> bool:
    """Tell whether every policy rejects for good, so that no scanner need look at the mail."""
    return bool(found) and all(
        not plan.can_outweigh_reject and weigh(plan, found).action is Action.REJECT for plan in plans
    )
