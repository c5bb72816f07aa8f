"""The facts of one SMTP session, as the pipeline sees them."""

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

from gateway.clock import Stamp
from gateway.value import value


class Role(StrEnum):
    """What a listener is for (configuration.md): whose mail it takes and to where."""

    MX = "mx"
    RELAY = "relay"
    SUBMISSION = "submission"


@value(kw_only=True)
class TlsFacts:
    """The TLS session as negotiated: ``version`` such as ``TLSv1.3``, the suite's name, its strength in bits."""

    version: str
    cipher: str
    bits: int


# Asked for some eight times a message; the busiest clients of a day.
@lru_cache(maxsize=4096)
def _text(address: IPv4Address | IPv6Address) -> str:
    return str(address)


@value(kw_only=True)
class Connection:
    """One session's facts; replaced, never changed, when HELO, STARTTLS, PROXY or XCLIENT say something new.

    ``client_address`` is the client's (an IPv4-mapped address as IPv4); ``via`` the proxy's address when the client's
    came by PROXY or XCLIENT. ``client_name`` is what XCLIENT or a reverse look-up says, "" when unknown. ``helo`` is
    "" before HELO or EHLO.
    """

    session_id: str
    client_address: IPv4Address | IPv6Address
    client_port: int
    local_address: str
    local_port: int
    role: Role
    connected: Stamp
    hostname: str
    helo: str = ""
    esmtp: bool = False
    tls: TlsFacts | None = None
    client_name: str = ""
    via: str = ""
    # The client is within the listener's ``networks``: a relay listener carries its mail to anywhere.
    trusted: bool = False
    # Octets arrived before our banner was sent (postscreen's "pregreet").
    early_talker: bool = False
    # Commands were sent in one batch where waiting for the reply was required (before EHLO's reply, after HELO).
    improper_pipelining: bool = False

    @property
    def client(self) -> str:
        """The client's address as text."""
        return _text(self.client_address)

    @property
    def protocol(self) -> str:
        """The "with" word of the Received field (RFC 3848, RFC 6531 §3.7.3 adds the UTF8 forms in ``trace_fields``)."""
        if not self.esmtp:
            return "SMTP"
        return "ESMTPS" if self.tls else "ESMTP"
