"""What one policy makes of what was found: finding → judgement → fold → disposition (invariants 2, 3, 9)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gateway.mail.envelope import Recipient
from gateway.pipeline.examiner import Found
from gateway.pipeline.plan import Plan, Step
from gateway.policy.action import Action
from gateway.policy.finding import TEMPERROR, Finding
from gateway.policy.verdict import Disposition, Judgement, fold
from gateway.smtp.replies import POLICY_DEFER, POLICY_REJECT
from gateway.smtp.reply import Reply


@dataclass(frozen=True, slots=True)
class Opinion:
    """A policy's view of the mail, the same for all its recipients."""

    action: Action
    score: float
    judgements: tuple[Judgement, ...] = ()
    decisive: Judgement | None = None
    reply: Reply | None = None
    reason: str = ""

    def about(self, recipient: Recipient) -> Disposition:
        """Return this opinion as one recipient's disposition."""
        return Disposition(
            recipient=recipient,
            action=self.action,
            score=self.score,
            judgements=self.judgements,
            decisive=self.decisive,
            reply=self.reply,
            reason=self.reason,
        )


def weigh(plan: Plan, found: Found) -> Opinion:
    """Return what the plan's policy makes of the findings; those of filters it does not ask are not its business."""
    judgements = tuple(
        judge(step, finding) for question, finding in found.items() if (step := plan.steps.get(question))
    )
    action, score, decisive = fold(judgements, plan.policy.thresholds)
    return Opinion(
        action=action,
        score=score,
        judgements=judgements,
        decisive=decisive,
        reply=_reply(plan, action, score, decisive),
        reason=_reason(action, score, judgements, decisive),
    )


def judge(step: Step, finding: Finding) -> Judgement:
    """Return what a policy makes of one finding: what `on` says of its result; nothing where it says nothing."""
    reaction = step.on.get(finding.result)
    # Action is an int too: it must be asked for first.
    if isinstance(reaction, Action):
        return Judgement(finding, step.order, action=reaction, forced=reaction is Action.ACCEPT)
    return Judgement(finding, step.order, score=reaction or 0.0)


def _reply(plan: Plan, action: Action, score: float, decisive: Judgement | None) -> Reply | None:
    if action not in (Action.REJECT, Action.DEFER):
        return None
    if decisive is None:
        text = f"score {score:g} of {plan.policy.thresholds.reject:g}"
        return POLICY_REJECT.saying(f"{POLICY_REJECT.text} ({text})").because(text)
    if decisive.reply is not None:
        return decisive.reply
    finding = decisive.finding
    question = next((q for q in plan.steps if q.name == finding.filter), None)
    rejects, defers = (question.reject, question.defer) if question else (POLICY_REJECT, POLICY_DEFER)
    reply = rejects if action is Action.REJECT else defers
    cause = f"{finding.filter} {finding.result}: {finding.reason}" if finding.reason else _told(finding)
    return replace(reply, text=f"{reply.text} ({_told(finding)})", cause=cause, filter=finding.filter)


def _reason(action: Action, score: float, judgements: Sequence[Judgement], decisive: Judgement | None) -> str:
    if decisive is not None:
        return _told(decisive.finding)
    scored = ", ".join(tests(judgements))
    if action is not Action.ACCEPT:
        return f"score {score:g}: {scored}"
    return f"score {score:g}: {scored}" if scored else ""


def _told(finding: Finding) -> str:
    return f"{finding.filter} {finding.reason or finding.result}"


def tests(judgements: Sequence[Judgement]) -> Iterator[str]:
    """Yield each finding that scored, as ``filter.result=score``."""
    for judgement in judgements:
        if judgement.score:
            yield f"{judgement.finding.filter}.{judgement.finding.result}={judgement.score:g}"


def undetermined(judgements: Sequence[Judgement]) -> Iterator[str]:
    """Yield what could not be found out: invariant 8 has it seen in the headers, whatever the policy made of it."""
    for judgement in judgements:
        if judgement.finding.result == TEMPERROR:
            yield _told(judgement.finding)
