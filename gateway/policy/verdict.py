"""Judgements and their fold (invariant 3)."""

from collections.abc import Iterable
from math import fsum

from gateway.mail.envelope import Recipient
from gateway.policy.action import Action, Ground
from gateway.policy.finding import Finding
from gateway.smtp.reply import Reply
from gateway.value import value


@value()
class Judgement:
    """What one recipient's policy makes of one finding: a score, an action, or neither (``ignore``).

    ``order`` is the place of the filter or rule in the policy, which breaks ties; ``forced`` marks an explicit accept
    of an allow list that stops the rest. ``ground`` is the contract's for this result, where it has one.
    """

    finding: Finding
    order: int
    score: float = 0.0
    action: Action | None = None
    forced: bool = False
    reply: Reply | None = None
    ground: Ground | None = None

    @property
    def counts_against(self) -> bool:
        """Whether it speaks against the mail: a score above nothing, or an action other than accept."""
        return self.score > 0 or (self.action is not None and self.action is not Action.ACCEPT)


@value(kw_only=True)
class Disposition:
    """What happens to the mail for one recipient, and why.

    ``decisive`` is the judgement that won, None when the score alone decided or nothing was found; ``reply`` is set
    for reject and defer. ``instead_of`` is the refusal that could not be given because other recipients take the
    mail: the action is then QUARANTINE (invariant 4).
    """

    recipient: Recipient
    action: Action
    score: float
    judgements: tuple[Judgement, ...] = ()
    decisive: Judgement | None = None
    reply: Reply | None = None
    reason: str = ""
    instead_of: Action | None = None

    @property
    def grounds(self) -> tuple[Ground, ...]:
        """The contract's grounds of what speaks against the mail, each once, in the contract's order."""
        given = {j.ground for j in self.judgements if j.ground is not None and j.counts_against}
        return tuple(ground for ground in Ground if ground in given) if given else ()


@value(kw_only=True)
class Verdict:
    """All recipients' dispositions and the single reply to the final dot (invariant 4).

    ``reply`` is None when the message is to be taken (the 250 is given after it is durable), else the refusal for
    every recipient. ``filter_seconds`` is what each filter took after the final dot. ``dmarc`` is what a report to the
    author's domain needs (``gateway.senderauth.dmarc.facts``), empty where that domain wants none. ``origin`` is the
    address that gave the mail to a trusted forwarder (``gateway.mail.received``), "" for other clients.
    """

    dispositions: tuple[Disposition, ...]
    reply: Reply | None
    findings: tuple[Finding, ...] = ()
    filter_seconds: tuple[tuple[str, float], ...] = ()
    dmarc: tuple[str, ...] = ()
    origin: str = ""

    @property
    def grounds(self) -> tuple[Ground, ...]:
        """The contract's grounds that any recipient's disposition carries."""
        given = {ground for disposition in self.dispositions for ground in disposition.grounds}
        return tuple(ground for ground in Ground if ground in given)


@value(kw_only=True)
class Thresholds:
    """``[scores]``: the sums at which a score becomes an action; None switches one off."""

    tag: float | None = 5.0
    quarantine: float | None = 9.0
    reject: float | None = 14.0


def fold(judgements: Iterable[Judgement], thresholds: Thresholds) -> tuple[Action, float, Judgement | None]:
    """Return the action, the score and the decisive judgement of a set of judgements.

    Pure, commutative and idempotent: equal judgements count once, scores add, the most severe action wins, ties go to
    the earlier ``order``; a forced accept beats everything. An explicit action of the same severity as the score's is
    the better reason, so it is decisive.
    """
    # One judgement, the most frequent number after none, has no order, and hashing and ranking it costs 20 µs.
    given = tuple(judgements)
    unique = given if len(given) < 2 else sorted(set(given), key=_rank)  # noqa: PLR2004 - one, or several
    # fsum is exact, so the order of the sum cannot show.
    score = round(fsum(j.score for j in unique), 6)
    for judgement in unique:
        if judgement.forced:
            return Action.ACCEPT, score, judgement
    action = _by_score(score, thresholds)
    decisive: Judgement | None = None
    for judgement in unique:
        if judgement.action is None or judgement.action < action:
            continue
        if decisive is None or judgement.action > action:
            action, decisive = judgement.action, judgement
    return action, score, decisive


def _rank(judgement: Judgement) -> tuple[object, ...]:
    # Total: what differs in nothing of this differs in nothing at all, so the outcome cannot depend on the order given.
    finding = judgement.finding
    action = -1 if judgement.action is None else int(judgement.action)
    said = (finding.filter, finding.result, finding.reason, finding.detail, finding.weight)
    means = (judgement.score, action, judgement.forced, str(judgement.reply), judgement.ground or "")
    return (judgement.order, *said, *means)


def _by_score(score: float, thresholds: Thresholds) -> Action:
    for limit, action in (
        (thresholds.reject, Action.REJECT),
        (thresholds.quarantine, Action.QUARANTINE),
        (thresholds.tag, Action.TAG),
    ):
        if limit is not None and score >= limit:
            return action
    return Action.ACCEPT
