"""The trace fields of sender authentication: ``Authentication-Results``, ``Received-SPF`` (RFC 8601, RFC 7208 §9.1).

They tell what the filters found, nothing that was not asked; mail that is not from outside has none. Ours stand
first (RFC 8601 §2.1), in front of Received; forged ones are cut by ``trace_fields``.
"""

from dataclasses import replace

from gateway.dns.resolver import Resolver
from gateway.mail.transaction import Transaction
from gateway.senderauth.authentication_results import results_field
from gateway.senderauth.message import MessageAuth, is_from_outside
from gateway.senderauth.spf.received import received_spf


def authentication_fields(tx: Transaction, resolver: Resolver, hostname: str) -> bytes:
    """Return the fields, b"" where nothing was asked."""
    if not is_from_outside(tx):
        return b""
    auth = MessageAuth.of(tx, resolver)
    results = auth.results()
    if not results:
        return b""
    spf = auth.known_spf
    return results_field(hostname, results) + (received_spf(spf) if spf else b"")


def with_client_name(tx: Transaction, resolver: Resolver) -> Transaction:
    """Return the transaction with the name that iprev found for the client, for Received."""
    if tx.connection.client_name or not is_from_outside(tx):
        return tx
    name = MessageAuth.of(tx, resolver).known_client_name
    return replace(tx, connection=replace(tx.connection, client_name=name)) if name else tx


def report_facts(tx: Transaction, resolver: Resolver) -> tuple[str, ...]:
    """Return what a report to the author's domain needs (RFC 9990), () where it wants none or nothing was asked."""
    if not is_from_outside(tx):
        return ()
    facts = MessageAuth.of(tx, resolver).report_facts
    return facts.texts if facts else ()
