"""Spam sources on the running program: from real mail to an incident, a block that holds everywhere, and its end.

What breaks if these fail: spammers go on, or our own users cannot be stopped, or are stopped for good.
"""

import smtplib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.system.parts import Gateway, message, settings, to_maildir, until

INCIDENTS = """\
[incidents.local]
spam = "3/1h"
"""
POLICY = """\
[incidents]
confirm = 3
block = true
[[rule]]
name = "cheap"
when = { subject = { contains = ["cheap pills"] } }
action = "reject"
ground = "advertising"
"""
# Loopback addresses nobody else uses: 127.61.0.0/16.
SPAMMERS = ("127.61.0.1", "127.61.0.2", "127.61.0.3")
HONEST = "127.61.0.9"
BAD_CLIENT = "127.61.1.1"
SPAM = b"Subject: cheap pills\r\nFrom: x@bad.test\r\nMessage-ID: <1@bad.test>\r\n\r\nbuy\r\n"


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    found = shared_gateway()
    relay = 'role = "relay"\nnetworks = ["127.61.1.0/24"]'
    contact = '[contact]\nabuse = "abuse@gate.test"\n'
    text = settings('role = "mx"', relay, workers=2, more=contact + INCIDENTS)
    found.configure(text, {"box": to_maildir("box.test", more=POLICY)})
    return found.start()


def send(gateway: Gateway, client: str, content: bytes = SPAM, *, role: str = "mx", **envelope: str) -> str:
    """Send one mail from a loopback address; return the reply that ended it."""
    sender, recipient = envelope.get("sender", "x@bad.test"), envelope.get("to", "me@box.test")
    port = gateway.port(role)
    with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=30, source_address=(client, 0)) as session:
        try:
            session.sendmail(sender, [recipient], content)
        except smtplib.SMTPRecipientsRefused as refused:
            ((code, text),) = refused.recipients.values()
            return f"RCPT {code} {text.decode()}"
        except smtplib.SMTPDataError as refused:
            return f"DATA {refused.smtp_code} {refused.smtp_error.decode()}"
    return "250"


def rows(gateway: Gateway, sql: str, *values: object) -> list[Any]:
    """Ask the incidents' database, as an analyst does."""
    path = gateway.data / "incidents/incidents.sqlite"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=30)) as database:
        # While the first incident is being stored there is a file without tables.
        if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            return []
        return database.execute(sql, values).fetchall()


def everywhere(gateway: Gateway, client: str, expected: str, **mail: str) -> str:
    """Wait until every worker answers so; a new connection goes to any of them."""

    def answered() -> str:
        replies = [send(gateway, client, **mail) for _ in range(8)]
        return replies[0] if all(reply.startswith(expected) for reply in replies) else ""

    return until(answered, what=lambda: f"{expected} for {client}: {send(gateway, client, **mail)}")


def test_spam_becomes_incidents_and_each_source_is_blocked_at_rcpt(gateway: Gateway) -> None:
    for client in SPAMMERS:
        for _ in range(3):
            assert send(gateway, client).startswith("DATA 550 5.7.1")
    until(lambda: len(rows(gateway, "SELECT 1 FROM blocks")) == len(SPAMMERS), what="three blocks")
    for client in SPAMMERS:
        reply = everywhere(gateway, client, "RCPT 550 5.7.1")
        assert "listed by incidents: incident " in reply
    found = rows(gateway, "SELECT source, state, sightings >= 3, advertising = sightings FROM spam_sources")
    assert sorted(found) == [(f"{client}/32", "blocked", 1, 1) for client in SPAMMERS]
    # Whoever is blocked can still write to the postmaster, and nobody else is concerned.
    assert send(gateway, SPAMMERS[0], message(), to="postmaster@box.test") == "250"
    assert send(gateway, HONEST, message()) == "250"


def test_evidence_is_kept_of_mail_that_was_refused(gateway: Gateway) -> None:
    kept = until(
        lambda: len(found := rows(gateway, "SELECT sha256 FROM evidence")) >= 3 * len(SPAMMERS) and found,
        what="nine samples",
    )
    (sha256,) = kept[0]
    assert Path(gateway.data / f"incidents/evidence/{sha256[:2]}/{sha256}.zst").is_file()
    incoming = gateway.data / "incidents/incoming"
    until(lambda: not list(incoming.iterdir()), what="every sample to be filed")
