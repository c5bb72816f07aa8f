"""Whom every policy turns away at the connection (RFC 5321 §3.1), by what filters say that need not wait.

No recipient is known yet, so only what all policies agree on counts. ``at_once`` is for a door under attack: the same
answer without a task, a turn of the loop or a wait, in a fifth of the time. A filter that would wait after all, or
fails, has said nothing there; the ordinary way asks it again and tells.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from gateway.mail.transaction import Transaction
from gateway.pipeline.examiner import Found
from gateway.pipeline.plan import AnyFilter, Plan
from gateway.pipeline.weighing import judge, weigh
from gateway.policy.action import Action
from gateway.policy.filter import Context
from gateway.policy.finding import Finding
from gateway.policy.verdict import fold
from gateway.smtp import replies
from gateway.smtp.reply import Reply

REFUSALS = frozenset([Action.REJECT, Action.DEFER])
# Sayings of filters that were weighed before; a list says the same of each of its clients.
_MOST_KNOWN = 256

# What of a finding policies make something of: all but its detail.
_Saying = tuple[AnyFilter, str, str, float]


class Agreement:
    """What all policies of one snapshot agree on, weighed once for each thing that is found."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._plans = tuple(plans)
        self._known: dict[tuple[_Saying, ...], Reply | None] = {}

    def refusal(self, found: Found) -> Reply | None:
        """Return the refusal on which every policy agrees, None to go on."""
        if not found:
            return None
        said = tuple([(asked, f.result, f.reason, f.weight) for asked, findings in found.items() for f in findings])
        if said in self._known:
            return self._known[said]
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        refusal = self._known[said] = _agreed(self._plans, found)
        return refusal


def _agreed(plans: Iterable[Plan], found: Found) -> Reply | None:
    others = iter(plans)
    first = next(others, None)
    if first is None:
        return None
    opinion = weigh(first, found)
    if opinion.action not in REFUSALS or any(_action(plan, found) is not opinion.action for plan in others):
        return None
    refused = replies.CONNECTION_REFUSED if opinion.action is Action.REJECT else replies.CONNECTION_DEFERRED
    return replace(refused, text=f"{refused.text} ({opinion.reason})", cause=opinion.reason)


def at_once(filters: Sequence[AnyFilter], tx: Transaction, context: Context) -> Found:
    """Return what filters find that answer without waiting."""
    found: Found = {}
    for question in filters:
        asking = question.examine(tx, context)
        try:
            asking.send(None)
        except StopIteration as answer:
            said: Finding | tuple[Finding, ...] | None = answer.value
            if said:
                found[question] = said if isinstance(said, tuple) else (said,)
        except Exception:  # noqa: BLE001, S112 - told where the filter is asked in the ordinary way
            continue
        else:
            asking.close()
    return found


def _action(plan: Plan, found: Found) -> Action:
    judged = [
        judge(step, finding)
        for question, findings in found.items()
        if (step := plan.steps.get(question))
        for finding in findings
    ]
    return fold(judged, plan.policy.thresholds)[0]
