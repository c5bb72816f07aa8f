"""Addresses of From, Reply-To and Sender."""

from dataclasses import dataclass
from email.utils import getaddresses

from gateway.mail.text import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """One mailbox: ``display_name`` decoded, ``address`` with its domain in normal form, "" where there is none."""

    display_name: str
    address: str
    domain: str


def mailboxes(octets: bytes) -> tuple[Author, ...]:
    """Return the mailboxes of a From, Reply-To or Sender value, in order."""
    pairs = getaddresses([words.decode_header(octets)])
    return tuple(
        Author(display_name=name, address=address, domain=address.rpartition("@")[2].lower()) for name, address in pairs
    )
