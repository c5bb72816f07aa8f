"""Blocks: begun by hand or by a policy, ended by hand, by their time, or on proof that the source has stopped.

The incidents' database is the truth. ``enforce`` makes the local list ``incidents`` say the same, and is called after
every change and at the keeper's start, so that a death in between loses nothing; all workers follow within a second.
A protected network is never blocked (``gateway.abuse.protection``).
"""

from datetime import UTC, datetime

from gateway.abuse.protection import Protection
from gateway.blocklist.local.declaration import INCIDENTS
from gateway.blocklist.local.editions import Addition
from gateway.blocklist.local.keeping import ListKeeper
from gateway.clock import Clock
from gateway.config.units import format_duration
from gateway.incidents.blocks import (
    Ask,
    Block,
    begin_block,
    blocks_of,
    end_block,
    expired_blocks,
    refuse_block,
    silent_blocks,
    standing_block,
    standing_blocks,
    was_refused,
    watched_seconds,
)
from gateway.incidents.book import Change
from gateway.incidents.values import Incident, State

AUTOMATIC, BY_HAND = "automatic", "hand"
OWNER = "abuse desk"
# Ended in one look, each half minute: a transaction of some tenths of a second.
MOST_A_LOOK = 100
_PREFIX = "incident "
_RECENT_CLIENTS = """
SELECT DISTINCT client FROM (SELECT client FROM sighting WHERE incident = ? ORDER BY id DESC LIMIT 1000) LIMIT 100"""


def block(change: Change, incident: Incident, protection: Protection, *, how: str, reason: str, until: float) -> str:
    """Block an incident's source within a change; return what is in the way, "" when it is blocked.

    What is in the way is put on record, of automatic blocks once an incident.
    """
    entry = incident.source.key
    why = _objection(change, incident, protection)
    if why:
        if how != AUTOMATIC or not was_refused(change, incident.id):
            refuse_block(change, incident.id, entry, how=how, why=why)
        return why
    begin_block(change, incident.id, entry, how=how, reason=reason, until=until)
    if incident.state is not State.BLOCKED:
        change.move(incident.id, State.BLOCKED, reason)
    return ""


def _objection(change: Change, incident: Incident, protection: Protection) -> str:
    if incident.source.kind.is_ours:
        return f"{incident.source} is a sender of ours: it is suspended, not blocked"
    if incident.state is State.CLOSED:
        return f"incident {incident.id} is closed: reopen it first"
    other = standing_block(change.execute, incident.source.key)
    if other is not None and other.incident != incident.id:
        # Two sources may have one address: a client, and what a forwarder says was before it.
        return f"{other.entry} is blocked already, for incident {other.incident}"
    clients = [str(row[0]) for row in change.execute(_RECENT_CLIENTS, (incident.id,)) if row[0]]
    return protection.objection(incident.source.key, clients, change.at)


def lift(change: Change, incident: Incident, reason: str) -> int:
    """End an incident's blocks within a change, by hand; return how many."""
    standing = [each for each in blocks_of(change.execute, incident.id) if each.ended_at is None]
    for each in standing:
        end_block(change, each, reason)
    if standing:
        call_lifted(change, incident.id, reason)
    return len(standing)


def call_lifted(change: Change, number: int, reason: str) -> None:
    """Call an incident lifted within a change, once neither a block nor a suspension of it stands any more."""
    incident = change.incident(number)
    if not incident.is_held and incident.state in {State.BLOCKED, State.QUIET}:
        change.move(number, State.LIFTED, reason)


def end_over(change: Change, quiet_seconds: float, *, by_quiet: bool) -> list[tuple[Block, str]]:
    """End what is over within a change; return each block with why.

    A block is over at its time; where ``by_quiet``, also once its source was quiet for so long while we were looking.
    Otherwise the source's incident is called quiet, and the block stands until somebody lifts it.
    """
    ended = []
    for each in expired_blocks(change.execute, change.at, MOST_A_LOOK):
        proof = _call_quiet(change, each, quiet_seconds)
        ended.append((each, _end(change, each, "its time is over", proof)))
    # By hand only, what is called quiet already has nothing to wait for but the hand.
    states = [state for state in State if by_quiet or state is State.BLOCKED]
    for each in silent_blocks(change.execute, change.at - quiet_seconds, MOST_A_LOOK, states=states):
        proof = _call_quiet(change, each, quiet_seconds)
        if not proof:
            # We have not looked for long enough; of those that were heard of later even less.
            break
        if by_quiet:
            ended.append((each, _end(change, each, "the source has stopped", proof)))
    return ended


def _call_quiet(change: Change, block: Block, quiet_seconds: float) -> str:
    """Return what shows that a blocked source has stopped, its incident called quiet; "" while nothing does."""
    incident = change.incident(block.incident)
    proof = quiet_proof(change.execute, block, incident, quiet_seconds, change.at)
    if proof and incident.state is State.BLOCKED:
        change.move(incident.id, State.QUIET, proof)
    return proof


def _end(change: Change, block: Block, reason: str, proof: str) -> str:
    end_block(change, block, reason, proof)
    told = f"{reason}: {proof}" if proof else reason
    call_lifted(change, block.incident, told)
    return told


def quiet_proof(ask: Ask, block: Block, incident: Incident, quiet_seconds: float, now: float) -> str:
    """Return what shows that a blocked source has stopped, "" while nothing does."""
    last = max(incident.last_seen, block.last_attempt or 0.0, block.began_at)
    if now - last < quiet_seconds:
        return ""
    watched = watched_seconds(ask, last, now)
    if watched < quiet_seconds:
        return ""
    counted = "1 attempt was" if block.attempts == 1 else f"{block.attempts} attempts were"
    refused = f"{counted} refused while it was blocked, the last at {_moment(block.last_attempt)}"
    return (
        f"nothing came from {block.entry} since {_moment(last)}; this gateway was looking for"
        f" {format_duration(float(int(watched)))} of the {format_duration(float(int(now - last)))} since then;"
        f" {refused if block.attempts else 'no attempt was refused while it was blocked'}"
    )


def _moment(at: float | None) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" if at else "never"


def enforce(ask: Ask, keeper: ListKeeper, clock: Clock) -> int:
    """Make the local list say what the table says; return how many entries changed; StorageError, ConfigError."""
    now = clock.stamp().utc
    wanted = {each.entry: each for each in standing_blocks(ask) if each.until > now}
    additions = keeper.store.additions(INCIDENTS)
    listed = {each.entry: each for each in additions if each.reason.startswith(_PREFIX)}
    added = [_addition(each) for entry, each in wanted.items() if _differs(listed.get(entry), each)]
    ended = [entry for entry in listed if entry not in wanted]
    # On record is not in force: what was to tell the workers may have failed, or been killed.
    if added or ended or not keeper.serves(INCIDENTS, additions):
        keeper.replace_blocks(added, ended, OWNER)
    return len(added) + len(ended)


def _differs(listed: Addition | None, block: Block) -> bool:
    return listed is None or listed.until != block.until or listed.reason != _told(block)


def _told(block: Block) -> str:
    # What the client reads: the number by which the abuse desk finds everything else.
    return f"{_PREFIX}{block.incident}"


def _addition(block: Block) -> Addition:
    return Addition(
        list=INCIDENTS,
        entry=block.entry,
        excluded=False,
        reason=_told(block),
        owner=OWNER,
        who=block.by,
        since=block.began_at,
        until=block.until,
    )
