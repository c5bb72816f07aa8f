"""Invariant 3: fold is pure, commutative and idempotent; else mail is taken that policy refuses."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.action import Action
from gateway.policy.finding import Finding
from gateway.policy.verdict import Judgement, Thresholds, fold
from gateway.smtp.replies import POLICY_REJECT, RATE_LIMITED

judgements = st.builds(
    Judgement,
    finding=st.builds(
        Finding,
        filter=st.sampled_from(["helo", "size", "spf"]),
        result=st.sampled_from(["fail", "none"]),
        reason=st.sampled_from(["", "because"]),
        detail=st.sampled_from([(), (("also", "that"),)]),
    ),
    order=st.integers(0, 3),
    score=st.floats(-20, 20, allow_nan=False),
    action=st.none() | st.sampled_from(Action),
    forced=st.just(value=False),
    reply=st.sampled_from([None, POLICY_REJECT, RATE_LIMITED]),
)
several = st.lists(judgements, max_size=6)
thresholds = st.builds(
    Thresholds,
    tag=st.none() | st.floats(0, 30),
    quarantine=st.none() | st.floats(0, 30),
    reject=st.none() | st.floats(0, 30),
)
OFF = Thresholds(tag=None, quarantine=None, reject=None)


def judgement(name: str, order: int = 0, score: float = 0.0, action: Action | None = None) -> Judgement:
    return Judgement(Finding(name, "fail"), order, score, action, forced=action is Action.ACCEPT)


@given(several, thresholds, st.randoms())
def test_invariant_3_fold_is_commutative(given_judgements, limits, random):
    shuffled = list(given_judgements)
    random.shuffle(shuffled)
    assert fold(shuffled, limits) == fold(given_judgements, limits)


@given(several, thresholds)
def test_invariant_3_fold_is_idempotent(given_judgements, limits):
    assert fold(given_judgements * 2, limits) == fold(given_judgements, limits)


@given(several)
def test_invariant_3_the_most_severe_action_wins(given_judgements):
    action, _, decisive = fold(given_judgements, OFF)
    actions = [j.action for j in given_judgements if j.action is not None]
    assert action == max(actions, default=Action.ACCEPT)
    if decisive is not None:
        assert decisive.action == action
        assert decisive.order == min(j.order for j in given_judgements if j.action == action)


@given(several)
def test_invariant_3_scores_add(given_judgements):
    _, score, _ = fold(given_judgements, OFF)
    assert abs(score - sum(j.score for j in set(given_judgements))) < 1e-5


@given(several, thresholds)
def test_invariant_3_a_forced_accept_beats_everything(given_judgements, limits):
    allowed = judgement("allow", order=9, action=Action.ACCEPT)
    action, _, decisive = fold([*given_judgements, allowed], limits)
    assert (action, decisive) == (Action.ACCEPT, allowed)


def test_the_order_of_severity_is_the_one_administrators_were_promised():
    """configuration.md lists accept, tag, quarantine, defer, reject, discard; a stored number must keep its meaning."""
    assert [a.word for a in sorted(Action)] == ["accept", "tag", "quarantine", "defer", "reject", "discard"]


def test_a_score_reaches_a_threshold_when_it_equals_it():
    limits = Thresholds(tag=5.0, quarantine=9.0, reject=14.0)
    assert fold([judgement("a", score=4.9)], limits)[0] is Action.ACCEPT
    assert fold([judgement("a", score=5.0)], limits)[0] is Action.TAG
    assert fold([judgement("a", score=4.0), judgement("b", score=5.0)], limits)[0] is Action.QUARANTINE
    # Ten tenths are one, whatever binary floating point makes of them.
    tenths = [judgement(f"f{i}", score=0.1) for i in range(10)]
    assert fold(tenths, Thresholds(tag=1.0))[0] is Action.TAG


def test_an_explicit_action_is_the_reason_where_the_score_says_the_same():
    explicit = judgement("size", order=3, action=Action.REJECT)
    action, score, decisive = fold([judgement("helo", score=20.0), explicit], Thresholds())
    assert (action, score, decisive) == (Action.REJECT, 20.0, explicit)


def test_a_milder_action_does_not_hide_that_the_score_decided():
    mild = judgement("helo", action=Action.TAG)
    assert fold([mild, judgement("spf", score=20.0)], Thresholds()) == (Action.REJECT, 20.0, None)
