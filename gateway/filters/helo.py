"""Does the client introduce itself with a name a mail server would use? See RFC 5321 §2.3.5, §4.1.1.1, §4.1.4.

The argument of HELO or EHLO is a fully-qualified domain name, or an address literal where the client has no name.
Spam software often sends a bare address, a machine's short name, or our own name.

RFC 5321 §4.1.4 forbids refusing mail only because the name does not match the client's address, so the shipped
reactions are small scores. Asked for mail from outside only: devices within trusted networks introduce themselves as
they like.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import ClassVar

from gateway.mail.connection import Connection, Role
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground, Stage
from gateway.policy.filter import Context, Filter, NoOptions
from gateway.policy.finding import Finding
from gateway.smtp.domain import DomainError, normalise_domain
from gateway.smtp.path import normalise_literal

# The shape of nearly every name: labels of letters, digits and inner hyphens, the last one not a number.
_QUALIFIED = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?\.)+[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?")


class Helo(Filter[NoOptions]):
    """Looks at the HELO or EHLO argument alone; asks nobody."""

    stage = Stage.ENVELOPE
    results: ClassVar[Mapping[str, str]] = {
        "none": "no HELO or EHLO was given",
        "syntax": "neither a domain name nor an address literal",
        "bare-ip": "an IP address without the brackets of an address literal",
        "our-name": "our own name, from a client that is not this machine",
        "literal-mismatch": "an address literal that is not the client's address",
        "unqualified": "a single label, no fully-qualified name",
    }
    on: ClassVar[Mapping[str, float | Action]] = {
        "none": 1.0,
        "syntax": 1.5,
        "bare-ip": 2.0,
        "our-name": 3.0,
        "literal-mismatch": 1.0,
        "unqualified": 0.5,
    }
    grounds: ClassVar[Mapping[str, Ground]] = {
        "our-name": Ground.FALSE_SOURCE,
        "literal-mismatch": Ground.FALSE_SOURCE,
    }

    async def examine(self, tx: Transaction, ctx: Context) -> Finding | None:
        """Return what is wrong with the name, or None."""
        connection = tx.connection
        if connection.role is not Role.MX:
            return None
        helo = connection.helo
        if not helo:
            return self.found("none", "no HELO or EHLO name")
        if helo.casefold() == ctx.hostname:
            return None if connection.client_address.is_loopback else self.found("our-name", f"our own name {helo}")
        return None if _QUALIFIED.fullmatch(helo) else self._unusual(helo, connection)

    def _unusual(self, helo: str, connection: Connection) -> Finding | None:
        if helo.startswith("["):
            return self._literal(helo, connection)
        if _is_address(helo):
            return self.found("bare-ip", f"bare IP address {helo}")
        try:
            name = normalise_domain(helo.removesuffix("."))
        except DomainError as error:
            return self.found("syntax", str(error))
        return None if "." in name else self.found("unqualified", f"unqualified name {helo}")

    def _literal(self, helo: str, connection: Connection) -> Finding | None:
        try:
            literal = normalise_literal(helo)
        except DomainError as error:
            return self.found("syntax", str(error))
        # RFC 5321 §4.1.3: the tag before an IPv6 address.
        if ip_address(literal[1:-1].removeprefix("IPv6:")) == connection.client_address:
            return None
        return self.found("literal-mismatch", f"address literal {helo} is not the client's address")


def _is_address(text: str) -> bool:
    # Most names are told from addresses at a glance; an exception costs 2 µs.
    if not text[0].isdigit() and ":" not in text:
        return False
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
