"""Whose word is taken: sealers that say they found DMARC passing (RFC 8617 §7.2, RFC 9989 §7.4).

A sealer can vouch only for what reached it, and whoever handled the mail afterwards could have changed it: all from
the newest down to the one that vouches must be trusted.
"""

import re
from collections.abc import Collection

from gateway.senderauth.arc.validate import ArcResult
from gateway.senderauth.word import Word

# RFC 8601 §2.2: what others' text may stand in; a sender's words in there must not read as a result.
_QUOTED_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*+"|\([^()]*\)', re.DOTALL)
# What handlers write has a few hundred octets; taking comments apart costs time with their depth.
_MAX_RESULTS = 8192
_DMARC_PASS = re.compile(r"\s*dmarc\s*(?:/\s*1\s*)?=\s*pass(?![\w-])", re.IGNORECASE)


def vouching_sealer(chain: ArcResult, trusted: Collection[str]) -> str:
    """Return the trusted sealer that found DMARC passing, "" when there is none."""
    if chain.result is not Word.PASS:
        return ""
    names = {domain.lower() for domain in trusted}
    for sealer in reversed(chain.sealers):
        if sealer.domain not in names:
            return ""
        if found_dmarc_passing(sealer.results):
            return sealer.domain
    return ""


def found_dmarc_passing(results: str) -> bool:
    """Tell whether an ARC-Authentication-Results' value says dmarc=pass."""
    if len(results) > _MAX_RESULTS:
        return False
    plain, inner = results, 1
    while inner:
        # Comments nest: the innermost go first.
        plain, inner = _QUOTED_OR_COMMENT.subn(" ", plain)
    return any(_DMARC_PASS.match(resinfo) for resinfo in plain.split(";")[1:])
