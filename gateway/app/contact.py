"""Whom a sender is told to ask: the abuse contact of ``[contact]`` (contract.md §4)."""

from gateway.config.models import Contact


def contact_text(contact: Contact) -> str:
    """Return the contact in one line, "" where nobody is named."""
    return ", ".join(filter(None, (contact.abuse or contact.postmaster, contact.telephone)))
