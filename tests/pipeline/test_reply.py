"""Invariant 4: one reply answers DATA for all recipients; a wrong one loses acknowledged mail."""

import itertools

import pytest

from gateway.mail.envelope import Recipient
from gateway.pipeline.reply import one_reply
from gateway.policy.action import Action
from gateway.policy.verdict import Disposition
from gateway.smtp.address import ForwardPath, Mailbox
from gateway.smtp.replies import POLICY_DEFER, POLICY_REJECT

A, T, Q, F, R, D = Action
REPLIES = {R: POLICY_REJECT, F: POLICY_DEFER}


def dispositions(*actions: Action) -> list[Disposition]:
    return [
        Disposition(
            recipient=Recipient(path=ForwardPath(Mailbox(f"r{i}", "ours.test", f"r{i}@ours.test"))),
            action=action,
            score=0.0,
            reply=REPLIES.get(action),
            reason="helo bad",
        )
        for i, action in enumerate(actions)
    ]


@pytest.mark.parametrize(
    ("wanted", "carried_out", "reply"),
    [
        ((A,), (A,), None),
        ((T,), (T,), None),
        ((Q,), (Q,), None),
        ((D,), (D,), None),
        ((R,), (R,), POLICY_REJECT),
        ((F,), (F,), POLICY_DEFER),
        ((R, R), (R, R), POLICY_REJECT),
        ((F, F), (F, F), POLICY_DEFER),
        ((A, R), (A, Q), None),
        ((A, F), (A, Q), None),
        ((Q, R), (Q, Q), None),
        ((D, R), (D, Q), None),
        ((D, F), (D, Q), None),
        ((F, R), (Q, Q), None),
        ((T, D, Q, R, F, A), (T, D, Q, Q, Q, A), None),
    ],
)
def test_invariant_4_one_reply_for_all_recipients(wanted, carried_out, reply):
    done, said = one_reply(dispositions(*wanted))
    assert tuple(d.action for d in done) == carried_out
    assert said is reply


@pytest.mark.parametrize("wanted", list(itertools.product(Action, repeat=3)))
def test_invariant_4_refused_on_the_wire_means_refused_for_everybody_and_taken_means_kept(wanted):
    done, said = one_reply(dispositions(*wanted))
    assert [d.recipient for d in done] == [d.recipient for d in dispositions(*wanted)]
    if said is not None:
        assert len(set(wanted)) == 1
        assert not said.is_success
        return
    # What the client now believes delivered is delivered, held, or discarded because somebody said discard.
    for was, now in zip(wanted, done, strict=True):
        assert now.action not in (Action.REJECT, Action.DEFER)
        assert now.reply is None
        assert (now.action is Action.DISCARD) == (was is Action.DISCARD)


def test_what_is_held_instead_says_so():
    done, _ = one_reply(dispositions(A, R))
    assert done[1].instead_of is Action.REJECT
    assert done[1].reason == "helo bad (held instead of reject: other recipients take it)"
