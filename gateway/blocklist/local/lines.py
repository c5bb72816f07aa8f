"""One entry a line.

``#``, ``;`` and ``//`` begin a comment, at the beginning of a line or after white space; behind an entry the comment is
its reason. What follows an entry after white space is its reason too (counts, access tables), except behind a name of
one label, so that prose is no list. ``0.0.0.0 name`` of a hosts file is the name. ``!`` in front makes a hole.
"""

import re
from socket import AF_INET, inet_pton

from gateway.blocklist.local.collected import HOSTS, NO_NOTE, Collected, Note, clean

_COMMENTS = ("#", ";", "//")
_COMMENT = re.compile(r"\s(?:[#;]|//)\s*")
_RANGE = re.compile(r"(?<=[0-9a-fA-F:])\s+-\s+(?=[0-9a-fA-F:])")
_HOSTS = {"0.0.0.0", "127.0.0.1", "::", "::1"}  # noqa: S104 - an address that hosts files block with, not one to bind
# What every hosts file maps to this machine.
_OWN_NAMES = {"localhost", "localhost.localdomain", "local", "broadcasthost", "ip6-localhost", "ip6-loopback", *_HOSTS}


def read_lines(text: str, into: Collected) -> None:
    """Read a whole text."""
    singles: list[bytes] = []
    take = singles.append
    for number, line in enumerate(text.split("\n"), 1):
        # The usual line of the largest lists, an address and nothing else, costs a fraction of any other.
        try:
            take(inet_pton(AF_INET, line))
        except (OSError, ValueError):
            if "/" in line and into.add_network(line, NO_NOTE, HOSTS):
                continue
            _read_line(number, line, into)
    if singles:
        into.count += len(singles)
        into.single(NO_NOTE).extend(singles)


def _read_line(number: int, line: str, into: Collected) -> None:
    line = line.strip()
    if not line or line.startswith(_COMMENTS):
        return
    entry, reason = _parted(line)
    words = entry.split(None, 1)
    if len(words) == 2:  # noqa: PLR2004 - an entry and the rest
        entry, reason = _worded(words[0], words[1], reason)
        if not entry:
            if words[1] not in _OWN_NAMES:
                into.bad(number, "one entry a line is wanted", line)
            return
    into.add_text(number, entry, Note(clean(reason)) if reason else NO_NOTE)


def _parted(line: str) -> tuple[str, str]:
    """Return the entry and the comment behind it."""
    line = line if " - " not in line else _RANGE.sub("-", line, count=1)
    match = _COMMENT.search(line)
    return (line[: match.start()].rstrip(), line[match.end() :]) if match else (line, "")


def _worded(first: str, rest: str, comment: str) -> tuple[str, str]:
    """Return entry and reason of a line with several words; no entry when it is none."""
    if first in _HOSTS:
        names = rest.split()
        return ("" if len(names) > 1 or names[0] in _OWN_NAMES else names[0]), comment
    if first == "!":
        return f"!{rest}", comment
    if not any(sign in first for sign in ".:@/") and len(first) < 64:  # noqa: PLR2004 - SHA-256 in hexadecimal
        return "", ""
    return first, f"{rest} {comment}".strip()
