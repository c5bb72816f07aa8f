"""The whole pipeline told in values, without sending: what ``tidegate explain`` prints.

It asks the gate exactly as intake would, CONNECT, each RCPT, the final dot, and writes the entry that the spool would
get; nothing is stored. A next hop is not bothered: ``NotAsked`` stands in for the recipient verifier and notes whom
it would have asked about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.mail.envelope import Recipient
from gateway.mail.rendition import AS_RECEIVED, Rendition
from gateway.mail.transaction import Transaction
from gateway.pipeline.explain_rules import NEAR, ExplainedRule, told
from gateway.pipeline.gate import Gate
from gateway.pipeline.verifier import Verification
from gateway.policy.domain_policy import DomainPolicy
from gateway.policy.finding import RULE, Finding
from gateway.policy.verdict import Disposition, Judgement, Verdict
from gateway.smtp import replies
from gateway.smtp.address import Mailbox
from gateway.smtp.reply import Reply
from gateway.spool.message import SpoolMessage, SpoolRecipient


class NotAsked:
    """A recipient verifier that asks nobody: every mailbox exists; ``about`` lists those it was asked about."""

    def __init__(self) -> None:
        self.about: list[str] = []

    async def verify(self, mailbox: Mailbox, policy: DomainPolicy) -> Verification:  # noqa: ARG002 - the protocol's
        """Return "exists"."""
        self.about.append(mailbox.key)
        return Verification(outcome="exists", reply="not asked")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedFinding:
    """One finding and what the recipient's policy made of it: a score, an action, or neither."""

    filter: str
    result: str
    reason: str
    score: float
    action: str
    ground: str
    detail: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRecipient:
    """One recipient's way: ``rcpt_reply`` always; the rest only when that is a 2yz.

    ``action`` is what would be carried out, ``state`` the spool's for it ("" when the message is refused), ``route``
    where it would go, ``fields`` what would stand before the content. ``grounds`` are the contract's of what speaks
    against the mail. ``rules`` are the custom rules asked for, ``rules_not_told`` how many more the policy has; what
    they would say of the content is told of a recipient that RCPT refuses too.
    """

    recipient: str
    policy: str
    customer: str
    rcpt_reply: str
    findings: tuple[ExplainedFinding, ...] = ()
    score: float = 0.0
    action: str = ""
    reason: str = ""
    state: str = ""
    route: str = ""
    fields: str = ""
    grounds: tuple[str, ...] = ()
    rules: tuple[ExplainedRule, ...] = ()
    rules_not_told: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything the pipeline would say about one mail; ``reply`` is the last word the client would hear."""

    trace_id: str
    connect_reply: str
    recipients: tuple[ExplainedRecipient, ...]
    reply: str
    taken: bool
    removed_fields: tuple[str, ...]
    not_asked_about: tuple[str, ...]
    filter_seconds: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class _Outcome:
    disposition: Disposition
    kept: SpoolRecipient | None
    rendition: Rendition


async def explain(gate: Gate, tx: Transaction, verifier: NotAsked, *, rules: str = NEAR) -> Explanation:
    """Return what ``gate`` would do with ``tx``, whose recipients are those the client would name.

    ``rules`` chooses the custom rules told of (``explain_rules.told``).
    """
    explanation = await _explained(gate, tx, verifier)
    return replace(
        explanation,
        recipients=tuple(
            _with_rules(gate, tx, recipient, explained, rules)
            for recipient, explained in zip(dict.fromkeys(tx.recipients), explanation.recipients, strict=False)
        ),
    )


async def _explained(gate: Gate, tx: Transaction, verifier: NotAsked) -> Explanation:
    refused = await gate.admit(tx.connection)
    if refused is not None:
        return _explanation(tx, (), refused, connect_reply=str(refused))
    said = await _rcpt_replies(gate, tx)
    accepted = tuple(recipient for recipient, reply in said if reply.is_success)
    if not accepted:
        refusals = tuple(_at_rcpt(gate, recipient, reply) for recipient, reply in said)
        return _explanation(tx, refusals, said[-1][1] if said else replies.NO_VALID_RECIPIENTS, verifier=verifier)
    judged = replace(tx, recipients=accepted)
    verdict = await gate.judge_content(judged)
    filtered = judged.received or judged.connection.connected
    message = gate.entry(judged, verdict, filtered) if verdict.reply is None else None
    outcomes = _outcomes(accepted, verdict, message)
    explanation = _explanation(
        tx,
        tuple(_recipient(gate, recipient, reply, outcomes.get(recipient)) for recipient, reply in said),
        verdict.reply or replies.ACCEPTED,
        verifier=verifier,
    )
    removed = _removed(judged, message.renditions[0]) if message else ()
    return replace(explanation, removed_fields=removed, filter_seconds=verdict.filter_seconds)


def _outcomes(
    accepted: Sequence[Recipient], verdict: Verdict, message: SpoolMessage | None
) -> Mapping[Recipient, _Outcome]:
    if message is None:
        return {r: _Outcome(d, None, AS_RECEIVED) for r, d in zip(accepted, verdict.dispositions, strict=True)}
    return {
        recipient: _Outcome(disposition, kept, message.renditions[kept.rendition])
        for recipient, disposition, kept in zip(accepted, verdict.dispositions, message.recipients, strict=True)
    }


def _with_rules(
    gate: Gate, tx: Transaction, recipient: Recipient, explained: ExplainedRecipient, choice: str
) -> ExplainedRecipient:
    findings = (Finding(f.filter, f.result, f.reason, f.detail) for f in explained.findings if f.filter != RULE)
    rules = told(gate.stories(tx, recipient, findings), choice)
    return replace(explained, rules=rules.rules, rules_not_told=rules.not_told)


def _recipient(gate: Gate, recipient: Recipient, reply: Reply, outcome: _Outcome | None) -> ExplainedRecipient:
    explained = _at_rcpt(gate, recipient, reply)
    if outcome is None:
        return explained
    explained = _judged(explained, outcome.disposition)
    return _kept(explained, outcome.kept, outcome.rendition) if outcome.kept else explained


async def _rcpt_replies(gate: Gate, tx: Transaction) -> list[tuple[Recipient, Reply]]:
    said: list[tuple[Recipient, Reply]] = []
    for recipient in dict.fromkeys(tx.recipients):
        accepted = [known for known, reply in said if reply.is_success]
        reply = await gate.judge_recipient(tx.connection, tx.envelope, recipient, accepted, tx.trace_id)
        said.append((recipient, reply))
    return said


def _explanation(
    tx: Transaction,
    recipients: tuple[ExplainedRecipient, ...],
    reply: Reply,
    *,
    connect_reply: str = "",
    verifier: NotAsked | None = None,
) -> Explanation:
    return Explanation(
        trace_id=tx.trace_id,
        connect_reply=connect_reply,
        recipients=recipients,
        reply=reply.wire(tx.trace_id).decode("ascii").rstrip("\r\n"),
        taken=reply.is_success,
        removed_fields=(),
        not_asked_about=tuple(verifier.about) if verifier else (),
        filter_seconds=(),
    )


def _at_rcpt(gate: Gate, recipient: Recipient, reply: Reply) -> ExplainedRecipient:
    policy = gate.destination(recipient.path.mailbox).policy
    return ExplainedRecipient(
        recipient=recipient.path.wire,
        policy=policy.name,
        customer=policy.customer,
        rcpt_reply=str(reply),
        reason="" if reply.is_success else reply.cause,
    )


def _judged(explained: ExplainedRecipient, disposition: Disposition) -> ExplainedRecipient:
    return replace(
        explained,
        findings=tuple(_finding(judgement) for judgement in disposition.judgements),
        grounds=tuple(ground.value for ground in disposition.grounds),
        score=disposition.score,
        action=disposition.action.word,
        reason=disposition.reason,
    )


def _finding(judgement: Judgement) -> ExplainedFinding:
    finding = judgement.finding
    return ExplainedFinding(
        filter=finding.filter,
        result=finding.result,
        reason=finding.reason,
        score=judgement.score,
        action="" if judgement.action is None else judgement.action.word,
        ground=judgement.ground.value if judgement.ground else "",
        detail=finding.detail,
    )


def _kept(explained: ExplainedRecipient, entry: SpoolRecipient, rendition: Rendition) -> ExplainedRecipient:
    ours = b"".join(edit.replacement for edit in rendition.edits if edit.start == edit.end == 0)
    return replace(
        explained,
        state=entry.state.value,
        route=entry.route,
        fields=ours.decode("utf-8", "replace").replace("\r\n", "\n"),
    )


def _removed(tx: Transaction, rendition: Rendition) -> tuple[str, ...]:
    fields = tx.content.header.fields
    cut = {edit.start for edit in rendition.edits if edit.end > edit.start}
    return tuple(f"{field.name.decode('ascii')}: {field.text}" for field in fields if field.start in cut)
