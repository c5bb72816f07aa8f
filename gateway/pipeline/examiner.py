"""Asks the filters, within the time budget (invariants 2, 7, 8).

A filter that does not wait is awaited in place: no task, no timer. Those that wait run together, so that each has the
whole budget as its share; one that is late is its own ``temperror``, and is left behind even if it will not be
cancelled. An exception is a ``temperror`` too, and one ``InternalError`` event: it is a bug, and no verdict.
"""

import asyncio
import traceback
from collections.abc import Sequence

from gateway.journal.events import EventSink, InternalError
from gateway.mail.transaction import Transaction
from gateway.pipeline.plan import AnyFilter
from gateway.policy.filter import Context
from gateway.policy.finding import TEMPERROR, Finding, Findings

# What was found, by filter; a filter with nothing to say is absent.
Found = dict[AnyFilter, tuple[Finding, ...]]
Timings = list[tuple[str, float]]


class Examiner:
    """Runs filters over one transaction at a time; holds nothing of any."""

    def __init__(self, context: Context, events: EventSink, budget_seconds: float) -> None:
        self._context = context
        self._events = events
        self._budget_seconds = budget_seconds

    async def ask(self, filters: Sequence[AnyFilter], tx: Transaction, found: Found, timings: Timings) -> None:
        """Put what filters that do not wait find into ``found``, and what each took into ``timings``."""
        monotonic = self._context.clock.monotonic
        begun = monotonic()
        for question in filters:
            try:
                finding = await question.examine(tx, self._context)
            except Exception as error:  # noqa: BLE001 - invariant 2: one filter's bug must not decide about the mail
                finding = self._failed(question, tx, error)
            if finding:
                found[question] = finding if isinstance(finding, tuple) else (finding,)
            ended = monotonic()
            timings.append((question.name, ended - begun))
            begun = ended

    def awake(self, filters: Sequence[AnyFilter]) -> list[AnyFilter]:
        """Return those that have something to ask about mail at present."""
        context = self._context
        return [question for question in filters if not question.rests(context)]

    async def ask_waiting(self, filters: Sequence[AnyFilter], tx: Transaction, found: Found, timings: Timings) -> None:
        """As ``ask``, for filters that wait: all at once, none longer than the budget."""
        filters = [question for question in self.awake(filters) if question.concerns(tx)]
        if not filters:
            return
        loop = asyncio.get_running_loop()
        tasks = {question: loop.create_task(self._timed(question, tx)) for question in filters}
        try:
            await asyncio.wait(tasks.values(), timeout=self._budget_seconds)
        finally:
            # Also when the client has gone and this transaction with it. What ignores the cancellation is not waited
            # for.
            late = [question for question, task in tasks.items() if not task.done()]
            for task in tasks.values():
                task.cancel()
        for question, task in tasks.items():
            if question in late:
                found[question] = (question.found(TEMPERROR, "no answer within the time budget"),)
                timings.append((question.name, self._budget_seconds))
                continue
            finding, seconds = task.result()
            timings.append((question.name, seconds))
            if finding:
                found[question] = finding if isinstance(finding, tuple) else (finding,)

    async def _timed(self, question: AnyFilter, tx: Transaction) -> tuple[Findings, float]:
        monotonic = self._context.clock.monotonic
        begun = monotonic()
        try:
            finding = await question.examine(tx, self._context)
        except Exception as error:  # noqa: BLE001 - invariant 2, as above
            finding = self._failed(question, tx, error)
        return finding, monotonic() - begun

    def _failed(self, question: AnyFilter, tx: Transaction, error: Exception) -> Finding:
        self._events.emit(
            InternalError(
                at=self._context.clock.stamp().utc,
                trace_id=tx.trace_id,
                where=f"filter {question.name}",
                error=f"{type(error).__name__}: {error}",
                traceback="".join(traceback.format_exception(error)),
            ),
        )
        return question.found(TEMPERROR, "internal error")
