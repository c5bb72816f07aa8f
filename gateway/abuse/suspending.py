"""Senders of ours suspended and restored (contract.md §4 f and h).

A suspended account or relay client hears 550 5.7.1 with the abuse contact in every worker within a second, and after a
restart as well: the table of suspensions is the truth, ``publish`` makes the file from it that the workers follow.

It is restored on a written guarantee that is on record for its incident and covers it, or by an override with a reason.
A mailbox is covered by a guarantee for it or for its domain, a domain by one for the domain; a relay client, which may
send as anybody, by one for a whole domain that names the client. One from before the suspension was not kept. Letter
and licence must lie there as recorded.
A sender that was restored on a guarantee once has accepted permanent termination on repetition: another guarantee does
not restore it, only an override does.
"""

from ipaddress import ip_network
from pathlib import Path

from gateway.abuse.blocking import call_lifted
from gateway.incidents.book import Change
from gateway.incidents.guarantees import DOMAIN, Guarantee, Letters, guarantee, guarantees_of
from gateway.incidents.suspended import write_suspended
from gateway.incidents.suspensions import (
    Ask,
    Suspension,
    begin_suspension,
    end_suspension,
    standing,
    suspensions,
)
from gateway.incidents.values import Incident, Source, SourceKind, State
from gateway.storage import DurableFiles


class NotRestoredError(Exception):
    """A sender stays suspended; the text says what is missing."""


def suspend(change: Change, source: Source, *, how: str, reason: str, incident: Incident | None = None) -> int:
    """Suspend a sender within a change, for an incident of its own or the one given; return the suspension's number.

    One that is suspended already stays so, for the incident it was suspended for: no other one waits for its end.
    """
    before = standing(change.execute, source)
    if before is not None:
        return before.id
    found = incident or change.open(source, reason)
    number = begin_suspension(change, found.id, source, how=how, reason=reason)
    if found.state is not State.BLOCKED:
        change.move(found.id, State.BLOCKED, f"{source} suspended: {reason}")
    return number


def restore(
    change: Change, source: Source, letters: Letters, *, on: int | None = None, override: str = ""
) -> Suspension:
    """End a sender's suspension within a change; return it as it stood.

    ``letters`` has the scans; ``on`` is the number of a guarantee, None for the newest that fits. Raises
    ``NotRestoredError``, which says of each guarantee what is missing.
    """
    found = standing(change.execute, source)
    if found is None:
        raise NotRestoredError(f"{source} is not suspended{_wider(change.execute, source)}")
    override = override.strip()
    number = None if override else _guaranteed(change.execute, found, letters, on).id
    end_suspension(change, found, guarantee=number, override=override)
    told = f"restored without a guarantee: {override}" if override else f"restored on guarantee {number}"
    call_lifted(change, found.incident, told)
    return found


def _wider(ask: Ask, source: Source) -> str:
    """Return which suspension keeps a sender out that is not suspended by itself."""
    domain = f"@{source.key.rpartition('@')[2]}"
    for each in suspensions(ask):
        if source.kind is SourceKind.ACCOUNT and (each.kind, each.sender) == (source.kind, domain):
            return f" by itself: the whole domain is, as {each.sender}"
        if source.kind == each.kind == SourceKind.CLIENT and _covers(each.sender, source.key):
            return f" by itself: its network is, as {each.sender}"
    return ""


def _covers(network: str, part: str) -> bool:
    wide, narrow = ip_network(network), ip_network(part)
    same = wide.version == narrow.version
    return same and int(wide[0]) <= int(narrow[0]) and int(narrow[-1]) <= int(wide[-1])


def _guaranteed(ask: Ask, found: Suspension, letters: Letters, on: int | None) -> Guarantee:
    before = next((each for each in suspensions(ask, ended=True) if _same(each, found) and each.guarantee), None)
    if before is not None:
        raise NotRestoredError(
            f"{found.sender} was restored on guarantee {before.guarantee} before, which accepts permanent termination"
            " on repetition; only --override REASON restores it again"
        )
    given = [guarantee(ask, on)] if on is not None else list(guarantees_of(ask, found.incident))
    problems = []
    for each in given:
        if each is None:
            raise NotRestoredError(f"there is no guarantee {on}")
        problem = misfit(each, found) or _damage(each, letters)
        if not problem:
            return each
        problems.append(f"guarantee {each.id} {problem}")
    missing = "; ".join(problems) or f"no written guarantee is on record for incident {found.incident}"
    raise NotRestoredError(
        f"{missing}; wanted is {_wanted(found)}: see `tidegate guarantee template` and `record`, or --override REASON"
    )


def _wanted(found: Suspension) -> str:
    if found.kind == SourceKind.CLIENT:
        return f"a guarantee for a whole domain, with the client {found.sender}, letter and licence"
    domain = found.sender.rpartition("@")[2]
    which = f"the domain {domain}" if found.sender.startswith("@") else f"{found.sender} or the domain {domain}"
    return f"a guarantee for {which}, letter and licence"


def _same(one: Suspension, other: Suspension) -> bool:
    return (one.kind, one.sender) == (other.kind, other.sender)


def misfit(given: Guarantee, found: Suspension) -> str:
    """Return why a guarantee does not cover a suspension, "" when it does (contract.md §4: mailbox or whole domain)."""
    if given.incident != found.incident:
        return f"is for incident {given.incident}, not {found.incident}"
    if given.recorded_at < found.began_at:
        return f"was given before {found.sender} was suspended, and not kept"
    if found.kind == SourceKind.CLIENT:
        return _client_misfit(given, found.sender)
    domain = found.sender.rpartition("@")[2]
    if given.scope == DOMAIN:
        return "" if given.subject == domain else f"reopens the domain {given.subject}, not {domain}"
    return "" if given.subject == found.sender else f"reopens the mailbox {given.subject}, not {found.sender}"


def _client_misfit(given: Guarantee, client: str) -> str:
    if given.scope != DOMAIN:
        return f"reopens the mailbox {given.subject}, and a relay client may send as anybody"
    if not given.client:
        return f"reopens the domain {given.subject}, and names no relay client"
    return "" if _covers(given.client, client) else f"names the relay client {given.client}, not {client}"


def _damage(given: Guarantee, letters: Letters) -> str:
    """Return what is wrong with the scans of a guarantee, "" for nothing."""
    for what, sha256 in (("letter", given.letter_sha256), ("licence", given.licence_sha256)):
        fault = letters.fault(sha256)
        if fault:
            return f"stands on a {what} that {fault}"
    return ""


def publish(ask: Ask, folder: Path, files: DurableFiles | None = None) -> None:
    """Write what the workers follow; raise StorageError. ``folder`` is ``data/incidents``."""
    write_suspended(folder, suspensions(ask), files or DurableFiles())
