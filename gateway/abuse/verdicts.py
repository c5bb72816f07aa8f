"""What is a spam verdict (contract.md §4), as a worker and as the journal have it.

Mail is spam when some recipient's policy tagged, held or refused it on a ground of the contract, or by its score; mail
with a virus is, whatever was done about it. What was put off (greylisting, a scanner that is silent), refused for its
size or its form, or held because it could not be scanned, is not.
"""

from gateway.config.filter_settings import ANTIVIRUS
from gateway.journal.events import MessageJudged
from gateway.policy.action import Action
from gateway.policy.verdict import Disposition, Verdict

_AGAINST = frozenset({Action.TAG, Action.QUARANTINE, Action.REJECT, Action.DISCARD})
_AGAINST_WORDS = {action.word: action for action in _AGAINST}
_ACCEPT = Action.ACCEPT
_VIRUS = frozenset({"infected", "cleaned"})
HARMFUL = "harmful"


def is_spam(verdict: Verdict) -> bool:
    """Whether a verdict is one; nearly always answered by the first look."""
    # Of every mail: loops, since a generator for each costs several times as much.
    for each in verdict.dispositions:
        if each.action is not _ACCEPT and _is_against(each):
            return True
    for finding in verdict.findings:  # noqa: SIM110 - as above
        if finding.filter == ANTIVIRUS and finding.result in _VIRUS:
            return True
    return False


def _is_against(disposition: Disposition) -> bool:
    if disposition.action not in _AGAINST:
        return False
    if disposition.decisive is None:
        return True
    for judgement in disposition.judgements:  # noqa: SIM110 - as above
        if judgement.ground is not None and judgement.counts_against:
            return True
    return False


def worst_action(verdict: Verdict) -> Action:
    """Return the most severe thing that was done for any recipient."""
    return max((each.action for each in verdict.dispositions), default=Action.ACCEPT)


def spam_recipients(event: MessageJudged, virus: str) -> tuple[str, ...]:
    """Return the recipients for whom a journalled mail was spam; all of them when it had a virus, () for other mail."""
    if virus:
        return tuple([address for address, *_ in event.dispositions])
    # Sets: a mail may have a thousand recipients, each with its grounds.
    grounded = {address for address, _ in event.grounds}
    found = []
    for address, action, _, decisive, _ in event.dispositions:
        if action in _AGAINST_WORDS and (not decisive or address in grounded):
            found.append(address)
    return tuple(found)


def virus_of(event: MessageJudged) -> str:
    """Return what a scanner called the virus, "" for none."""
    for name, result, reason in event.findings:
        if name == ANTIVIRUS and result in _VIRUS:
            return reason or "unnamed"
    return ""


def grounds_of(event: MessageJudged, recipients: tuple[str, ...], virus: str) -> tuple[str, ...]:
    """Return the contract's grounds for these recipients."""
    wanted = set(recipients)
    given = dict.fromkeys([ground for address, ground in event.grounds if address in wanted])
    if virus:
        given.setdefault(HARMFUL)
    return tuple(given)


def action_of(event: MessageJudged) -> str:
    """Return the most severe thing that was done for any recipient, in words."""
    words = {action for _, action, *_ in event.dispositions if action in _AGAINST_WORDS}
    if len(words) <= 1:
        return words.pop() if words else _ACCEPT.word
    return max([_AGAINST_WORDS[word] for word in words]).word
