"""Asks the custom rules, and says what their saying means (``gateway.rules`` judges, ``rule_plan`` says which).

Rules add to filters: what fired is a finding in the name of ``rule``, its result the rule's name, and its score,
action, reply and ground are the policy's judgement of it. ``accept`` with ``stop`` is a forced accept.
"""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from gateway.clock import Clock
from gateway.journal.events import EventSink, InternalError
from gateway.mail.transaction import Transaction
from gateway.pipeline.examiner import Found, Timings
from gateway.pipeline.rule_plan import PlanRules
from gateway.policy.finding import PERMERROR, RULE, TEMPERROR, Finding
from gateway.policy.verdict import Judgement
from gateway.rules.facts import MailFacts, results_of
from gateway.rules.judging import Evidence, Fired, Outcome, RuleSet, judge, judged
from gateway.rules.moment import Moment

# A reason is for a log line and a header field: enough to recognise the text by.
MAX_EVIDENCE_CHARACTERS = 80

Outcomes = Mapping[RuleSet, Outcome]


class RuleDesk:
    """Asks the rules; a bug in them is their ``temperror`` (invariant 2), and one ``InternalError`` event."""

    def __init__(self, clock: Clock, events: EventSink) -> None:
        self._clock = clock
        self._events = events

    def facts(self, tx: Transaction, found: Found) -> MailFacts:
        """Return the message as rules see it; ``found`` is what filters have said."""
        return MailFacts(tx, results_of(_said(found)), self._clock)

    def knowing(self, facts: MailFacts, found: Found) -> MailFacts:
        """Return the same message when filters have said more."""
        return facts.knowing(results_of(_said(found)))

    def at_rcpt(self, rules: PlanRules, tx: Transaction, found: Found) -> Outcome | None:
        """Return what counts at RCPT, None for nothing.

        What speaks for the recipient's mail always does, so that filters do not refuse here what a rule lightens.
        """
        try:
            said = judge(rules.asked, self.facts(tx, found), Moment.ENVELOPE)
        except Exception as error:  # noqa: BLE001 - invariant 2: a bug in the rules must not decide about the mail
            self._failed(tx, error)
            return None
        if said.stopped or not rules.overruled_later:
            return said
        return replace(said, fired=tuple(fired for fired in said.fired if fired.rule.score < 0))

    async def judged(
        self, sets: Sequence[RuleSet], facts: MailFacts, moment: Moment, tx: Transaction, timings: Timings
    ) -> Outcomes:
        """Return what each set says, and what that took into ``timings``."""
        if not sets:
            return {}
        begun = self._clock.monotonic()
        try:
            outcomes = await judged(sets, facts, moment)
        except Exception as error:  # noqa: BLE001 - invariant 2, as above
            self._failed(tx, error)
            outcomes = tuple(Outcome(temperror="internal error") for _ in sets)
        _add(timings, self._clock.monotonic() - begun)
        return dict(zip(sets, outcomes, strict=True))

    def _failed(self, tx: Transaction, error: Exception) -> None:
        self._events.emit(
            InternalError(
                at=self._clock.stamp().utc,
                trace_id=tx.trace_id,
                where="rules",
                error=f"{type(error).__name__}: {error}",
                traceback="".join(traceback.format_exception(error)),
            )
        )


def _add(timings: Timings, seconds: float) -> None:
    """Add to the rules' share, which is one however often they were asked."""
    for index, (name, before) in enumerate(timings):
        if name == RULE:
            timings[index] = (RULE, before + seconds)
            return
    timings.append((RULE, seconds))


def _said(found: Found) -> Iterator[Finding]:
    return (finding for findings in found.values() for finding in findings)


def judgements(outcome: Outcome, first_order: int) -> Iterator[Judgement]:
    """Yield what a policy makes of an outcome; ``first_order`` is the place behind its filters."""
    for order, fired in enumerate(outcome.fired, first_order):
        rule = fired.rule
        yield Judgement(
            _finding(fired),
            order,
            score=rule.score,
            action=rule.action,
            forced=rule.is_allow,
            reply=rule.reply,
            ground=rule.ground,
        )
    # Invariant 8: what could not be judged, or only in part, is seen.
    if outcome.temperror:
        yield Judgement(Finding(RULE, TEMPERROR, outcome.temperror), first_order)
    if outcome.limits:
        yield Judgement(Finding(RULE, PERMERROR, "; ".join(outcome.limits)), first_order)


def _finding(fired: Fired) -> Finding:
    evidence = fired.evidence
    return Finding(
        RULE,
        fired.rule.name,
        ": ".join((fired.rule.name, *map(_shown, evidence[:1]))),
        (("rule", fired.rule.place), *((found.subject, f"{found.text} ({found.place})") for found in evidence)),
    )


def _shown(evidence: Evidence) -> str:
    text = evidence.text
    short = text if len(text) <= MAX_EVIDENCE_CHARACTERS else text[:MAX_EVIDENCE_CHARACTERS] + "…"
    return f'{evidence.subject} "{short}"'
