"""What one policy makes of what was found: finding → judgement → fold → disposition (invariants 2, 3, 9)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gateway.mail.envelope import Recipient
from gateway.pipeline.examiner import Found
from gateway.pipeline.plan import Plan, Step
from gateway.pipeline.ruling import judgements
from gateway.policy.action import Action, Ground
from gateway.policy.finding import PERMERROR, RULE, TEMPERROR, Finding
from gateway.policy.verdict import Disposition, Judgement, Thresholds, fold
from gateway.rules.judging import Outcome
from gateway.smtp.replies import POLICY_DEFER, POLICY_REJECT
from gateway.smtp.reply import Reply
from gateway.value import value

_NOTHING = Thresholds(tag=None, quarantine=None, reject=None)
# The grounds of what is done about a complaint all the same.
_COUNTING = (None, Ground.HARMFUL)
# Harmful is where the links lead that these find, and it is them that a complaint quotes.
_OF_LINKS = frozenset({"blocklist-content", "uribl"})


@value()
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


def weigh(plan: Plan, found: Found, ruled: Outcome | None = None) -> Opinion:
    """Return what the plan's policy makes of the findings, and of what its rules said.

    Findings of filters that it does not ask are not its business.
    """
    judged = _judged(plan, found, ruled)
    action, score, decisive = fold(judged, plan.policy.thresholds)
    return _opinion(plan, judged, score, (action, decisive))


def weigh_complaint(plan: Plan, found: Found, ruled: Outcome | None = None) -> Opinion:
    """Return the same where the mail is a complaint, which carries the spam that it is about.

    What says that it is spam, by a score, by name or by its links, stands in the headers and does nothing; what is
    wrong with the mail itself (a loop, its size) and what is harmful counts.
    """
    judged = _judged(plan, found, ruled)
    _, score, _ = fold(judged, _NOTHING)
    counting = [replace(j, score=0.0) for j in judged if j.ground in _COUNTING and j.finding.filter not in _OF_LINKS]
    action, _, decisive = fold(counting, _NOTHING)
    return _opinion(plan, judged, score, (action, decisive))


def _judged(plan: Plan, found: Found, ruled: Outcome | None) -> tuple[Judgement, ...]:
    asked = [
        (step, finding)
        for question, findings in found.items()
        if (step := plan.steps.get(question))
        for finding in findings
    ]
    if any(finding.supersedes for _, finding in asked):
        asked = list(_not_spoken_for(asked))
    judged = tuple([judge(step, finding) for step, finding in asked])
    return judged if ruled is None else (*judged, *judgements(ruled, len(plan.steps)))


def _not_spoken_for(asked: Sequence[tuple[Step, Finding]]) -> Iterator[tuple[Step, Finding]]:
    """Yield what counts beside a virus: what is done about its attachment the antivirus's mode says.

    The attachment's name and kind add no score to that. What the policy does about them by name is left out where the
    virus is cut out or acted upon, and stands where it is delivered: a virus must not let in what is refused without.
    """
    places = tuple(place for _, finding in asked if finding.supersedes for place in finding.places)
    delivered = any(f.supersedes and not f.edits and step.on.get(f.result) is None for step, f in asked)
    for step, said in asked:
        acted_upon = delivered and isinstance(step.on.get(said.result), Action)
        if said.supersedes or acted_upon or not said.is_within(places):
            yield step, said


def _opinion(
    plan: Plan, judged: tuple[Judgement, ...], score: float, decided: tuple[Action, Judgement | None]
) -> Opinion:
    action, decisive = decided
    return Opinion(
        action=action,
        score=score,
        judgements=judged,
        decisive=decisive,
        reply=_reply(plan, action, score, judged, decisive),
        reason=_reason(action, score, judged, decisive),
    )


def judge(step: Step, finding: Finding) -> Judgement:
    """Return what a policy makes of one finding: what `on` says of its result; nothing where it says nothing."""
    reaction = step.on.get(finding.result)
    ground = step.filter.grounds.get(finding.result)
    # Action is an int too: it must be asked for first.
    if isinstance(reaction, Action):
        return Judgement(finding, step.order, action=reaction, forced=reaction is Action.ACCEPT, ground=ground)
    return Judgement(finding, step.order, score=(reaction or 0.0) * finding.weight, ground=ground)


def _reply(
    plan: Plan, action: Action, score: float, judged: Sequence[Judgement], decisive: Judgement | None
) -> Reply | None:
    if action not in (Action.REJECT, Action.DEFER):
        return None
    reply = _words(plan, action, score, decisive)
    grounds = {j.ground.value for j in judged if j.ground is not None and j.counts_against}
    return replace(reply, grounds=tuple(sorted(grounds))) if grounds else reply


def _words(plan: Plan, action: Action, score: float, decisive: Judgement | None) -> Reply:
    if decisive is None:
        text = f"score {score:g} of {plan.policy.thresholds.reject:g}"
        return POLICY_REJECT.saying(f"{POLICY_REJECT.text} ({text})").because(text)
    finding = decisive.finding
    cause = f"{finding.filter} {finding.result}: {finding.reason}" if finding.reason else _told(finding)
    if decisive.reply is not None:
        return replace(decisive.reply, cause=_told(finding), filter=finding.filter)
    question = next((q for q in plan.steps if q.name == finding.filter), None)
    rejects, defers = (question.reject, question.defer) if question else (POLICY_REJECT, POLICY_DEFER)
    reply = rejects if action is Action.REJECT else defers
    if finding.filter == RULE:
        # What was looked for is the administrator's business, and so is a name that the wire cannot carry.
        named = f" (rule {finding.result})" if finding.result.isascii() else ""
        return replace(reply, text=reply.text + named, cause=_told(finding), filter=RULE)
    return replace(reply, text=f"{reply.text} ({_told(finding)})", cause=cause, filter=finding.filter)


def _reason(action: Action, score: float, judged: Sequence[Judgement], decisive: Judgement | None) -> str:
    if decisive is not None:
        return _told(decisive.finding)
    scored = ", ".join(tests(judged))
    if action is not Action.ACCEPT:
        return f"score {score:g}: {scored}"
    return f"score {score:g}: {scored}" if scored else ""


def _told(finding: Finding) -> str:
    return f"{finding.filter} {finding.reason or finding.result}"


def tests(judged: Sequence[Judgement]) -> Iterator[str]:
    """Yield each finding that scored, as ``filter.result=score``."""
    for judgement in judged:
        if judgement.score:
            yield f"{judgement.finding.filter}.{judgement.finding.result}={judgement.score:g}"


def undetermined(judged: Sequence[Judgement]) -> Iterator[str]:
    """Yield what could not be found out: invariant 8 has it seen in the headers, whatever the policy made of it."""
    for judgement in judged:
        finding = judgement.finding
        # For a filter permerror is an answer (a broken record); for the rules it says that they saw only a part.
        if finding.result == TEMPERROR or (finding.filter == RULE and finding.result == PERMERROR):
            yield _told(finding)
