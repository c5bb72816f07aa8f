"""What was asked of SPF, and what it said."""

from dataclasses import field
from ipaddress import IPv4Address, IPv6Address

from gateway.senderauth.word import Word
from gateway.value import value


@value(kw_only=True)
class SpfQuestion:
    """The facts of RFC 7208 §4.1, and those the macros know beside them.

    ``receiver`` is our host name (``%{r}``), ``utc_second`` the time (``%{t}``).
    """

    client: IPv4Address | IPv6Address
    helo: str
    receiver: str = "unknown"
    utc_second: int = 0


@value(kw_only=True)
class SpfResult:
    """The word for one identity.

    ``identity`` is "mailfrom" or "helo", ``domain`` the one checked, ``sender`` local part and domain. ``mechanism``
    is what matched ("default" when nothing did), ``explanation`` the domain owner's text for a *fail* (RFC 7208
    §6.2), printable ASCII, or "".
    """

    result: Word
    reason: str
    identity: str
    domain: str
    sender: str
    question: SpfQuestion = field(repr=False)
    mechanism: str = ""
    explanation: str = ""
