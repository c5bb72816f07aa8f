"""One reply answers DATA for all recipients (invariant 4; RFC 5321 §4.2.5).

Reject or defer is said on the wire only when every recipient's disposition is that. Otherwise the mail is taken, each
disposition is carried out, and what would have been refused is quarantined: the client believes the mail delivered,
so it must be found somewhere. A mixture of reject and defer is no agreement either. Discard never refuses, and nobody
is told.
"""

from collections.abc import Sequence
from dataclasses import replace

from gateway.policy.action import Action
from gateway.policy.verdict import Disposition
from gateway.smtp.reply import Reply

_REFUSING = (Action.REJECT, Action.DEFER)


def one_reply(dispositions: Sequence[Disposition]) -> tuple[tuple[Disposition, ...], Reply | None]:
    """Return the dispositions as they can be carried out, and the refusal on which all agree; None: mail is taken.

    Where all refuse with different words, the first recipient's words are said.
    """
    actions = {d.action for d in dispositions}
    if len(actions) == 1 and actions <= set(_REFUSING):
        return tuple(dispositions), dispositions[0].reply
    if actions.isdisjoint(_REFUSING):
        return tuple(dispositions), None
    return tuple(_held(d) if d.action in _REFUSING else d for d in dispositions), None


def _held(disposition: Disposition) -> Disposition:
    return replace(
        disposition,
        action=Action.QUARANTINE,
        instead_of=disposition.action,
        reply=None,
        reason=f"{disposition.reason} (held instead of {disposition.action.word}: other recipients take it)",
    )
