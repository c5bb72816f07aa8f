"""The answer of every list, local or in the DNS: a ``Listing``, by value.

No listing is not the same as no answer: what could not be asked is told apart by whoever asks (invariant 8).
"""

from enum import StrEnum

from gateway.policy.action import Action
from gateway.value import value


class ListKind(StrEnum):
    """What being on a list means; allow lists win."""

    BLOCK = "block"
    ALLOW = "allow"


class Identity(StrEnum):
    """Whose entry was looked up: the word used in configuration, findings and ``blocklist check``."""

    CLIENT = "client"
    CLIENT_NAME = "client-name"
    HELO = "helo"
    REVERSE_PATH = "reverse-path"
    AUTHOR = "from"
    REPLY_TO = "reply-to"
    RECIPIENT = "recipient"
    URL = "url"
    NAME_SERVER = "name-server"
    ATTACHMENT = "attachment"


@value(kw_only=True)
class Listing:
    """One identity on one list.

    ``list`` is the list's name or the zone; ``entry`` what matched, as a list would write it (``192.0.2.0/24``,
    ``.spam.example``); ``identity`` what was looked up, of which kind ``of``. ``value`` is the A value of DNS lists and
    rbldnsd zones, "" for lists without. ``since`` and ``until`` are UTC seconds, None when the list does not say.
    ``weight`` and ``action`` are the list's own wish; a policy may have another.
    """

    list: str
    entry: str
    reason: str = ""
    since: float | None = None
    until: float | None = None
    kind: ListKind = ListKind.BLOCK
    weight: float | None = None
    action: Action | None = None
    value: str = ""
    identity: str = ""
    of: Identity = Identity.CLIENT
