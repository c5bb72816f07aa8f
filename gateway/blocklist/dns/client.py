"""Asks zones: all at once, none longer than the budget, none that health has switched off (RFC 5782 §2).

Answers are cached by their TTL and equal questions under way are shared: that is the resolver's part (``gateway.dns``).
A question that is late is its zone's temperror; it goes on in the resolver, so the next mail finds the answer there.
A listing's TXT record is its reason (RFC 5782 §2.1), asked for within what is left of the budget.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from typing import Protocol

from gateway.blocklist.dns.query import Subject
from gateway.blocklist.dns.reading import Outcome, Reading, read, unread
from gateway.blocklist.dns.zone import CompiledList
from gateway.dns.answer import Answer
from gateway.dns.resolver import Resolver

# A reason goes into a reply of at most 512 octets (RFC 5321 §4.5.3.1.5), beside the reply's own words.
MOST_REASON = 200
# A listing without its text is a listing: a zone that is slow with TXT must not use up the whole budget.
TEXT_SECONDS = 1.0


class Usable(Protocol):
    """Which zones may be asked; ``health.Health`` is one."""

    def complaint(self, zone: str) -> str:
        """Return why a zone is not asked, "" when it is."""
        ...


class AllUsable:
    """Every zone is asked: for commands and tests."""

    def complaint(self, zone: str) -> str:  # noqa: ARG002 - the Protocol's signature
        """Return "": nothing is known against any zone."""
        return ""


async def ask(
    resolver: Resolver,
    subjects: Iterable[Subject],
    lists: Sequence[CompiledList],
    *,
    budget_seconds: float,
    usable: Usable,
) -> tuple[Reading, ...]:
    """Return every list's reading of every subject, in order; listings carry the list's own words."""
    pairs = list(product(dict.fromkeys(subjects), lists))
    return await ask_each(resolver, pairs, budget_seconds=budget_seconds, usable=usable)


async def ask_each(
    resolver: Resolver, pairs: Sequence[tuple[Subject, CompiledList]], *, budget_seconds: float, usable: Usable
) -> tuple[Reading, ...]:
    """Return the reading of every pair, in order, as ``ask`` does."""
    zones = {asked.zone for _, asked in pairs}
    refused = {zone: complaint for zone in zones if (complaint := usable.complaint(zone))}
    names = ["" if asked.zone in refused else subject.at(asked.zone) for subject, asked in pairs]
    answers = await _answers(resolver, dict.fromkeys(filter(None, names)), "A", budget_seconds)
    readings = []
    for (subject, asked), name in zip(pairs, names, strict=True):
        if not name:
            readings.append(unread(asked.zone, subject, Outcome.ERROR, f"{asked.zone}: {refused[asked.zone]}"))
        elif answer := answers.get(name):
            readings.append(read(answer, subject, asked))
        else:
            late = f"{asked.zone}: no answer within {budget_seconds:g} s"
            readings.append(unread(asked.zone, subject, Outcome.TEMPERROR, late))
    return await _worded(resolver, readings, min(TEXT_SECONDS, budget_seconds))


async def _worded(resolver: Resolver, readings: list[Reading], seconds: float) -> tuple[Reading, ...]:
    # Only what counts against the mail is ever told to anybody.
    names = {r.subject.at(r.zone): None for r in readings if r.listing and (r.listing.weight or 0.0) > 0}
    if not names:
        return tuple(readings)
    texts = await _answers(resolver, names, "TXT", seconds)
    return tuple(_with_text(reading, texts.get(reading.subject.at(reading.zone))) for reading in readings)


def _with_text(reading: Reading, text: Answer | None) -> Reading:
    if reading.listing is None or text is None or not text.is_found:
        return reading
    return replace(reading, listing=replace(reading.listing, reason=printable_reason(text.records[0])))


def printable_reason(text: str) -> str:
    """Return a zone's words in one line of ASCII: what somebody else's server says must not shape our reply."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in " ".join(text.split()))
    return plain if len(plain) <= MOST_REASON else f"{plain[: MOST_REASON - 1]}~"


async def _answers(resolver: Resolver, names: Iterable[str], rdtype: str, seconds: float) -> dict[str, Answer]:
    """Return the answers that came in time."""
    # A task costs more than an answer from the cache, and a newsletter's links ask for dozens.
    answers = {name: answer for name in names if (answer := resolver.known(name, rdtype))}
    unknown = [name for name in names if name not in answers]
    if not unknown:
        return answers
    if len(unknown) == 1:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                answers[unknown[0]] = await resolver.query(unknown[0], rdtype)
        return answers
    tasks = {name: asyncio.ensure_future(resolver.query(name, rdtype)) for name in unknown}
    try:
        await asyncio.wait(tasks.values(), timeout=seconds)
    finally:
        late = [task for task in tasks.values() if not task.done()]
        for task in late:
            task.cancel()
    done = {name: task.result() for name, task in tasks.items() if task.done() and not task.cancelled()}
    return answers | done
