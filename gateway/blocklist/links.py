"""The links of a message, looked for once, whichever filters ask: decoding and reading HTML is most of their time.

What the custom rules have found already is taken over. A large content leaves the loop meanwhile; who asks then waits
for the same answer.
"""

import asyncio

from gateway.mail.content import Content
from gateway.mail.text.urls import Url
from gateway.rules.parts import Limits, Parts, links_found

# Beyond it, decoding and looking for links leaves the loop: some milliseconds.
LIGHT_OCTETS = 64 * 1024
_PLACE = "links under way"


async def links_of(content: Content) -> tuple[Url, ...]:
    """Return the links that a reader could follow, each once; a bounded number (``gateway.rules.parts``)."""
    known = links_found(content)
    if known is not None:
        return known
    if content.size <= LIGHT_OCTETS:
        return _found(content)
    looking = content.__dict__.get(_PLACE)
    if looking is None:
        looking = content.__dict__[_PLACE] = asyncio.ensure_future(asyncio.to_thread(_found, content))
        looking.add_done_callback(lambda _: content.__dict__.pop(_PLACE, None))
    # Others may wait for it too: who runs out of time must not end it.
    found: tuple[Url, ...] = await asyncio.shield(looking)
    return found


def _found(content: Content) -> tuple[Url, ...]:
    return tuple(link for link, _ in Parts(content, Limits(), _no_limit).links)


def _no_limit() -> None:
    """Go on: the filter's share of the time budget is what ends it."""
