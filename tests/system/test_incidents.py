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


def test_a_block_by_hand_names_its_incident_and_is_lifted_by_hand(gateway: Gateway) -> None:
    client = "127.61.0.4"
    send(gateway, client)
    (found,) = until(lambda: rows(gateway, "SELECT id FROM incident WHERE source_key = ?", f"{client}/32"), what="it")
    number = str(found[0])
    assert gateway.ask("incident", "block", number, "--reason", "wave of pills").status == 0
    assert f"incident {number}" in everywhere(gateway, client, "RCPT 550", content=message())
    assert f"incident {number}" in gateway.ask("blocklist", "check", client).out
    assert gateway.ask("incident", "lift", number, "--reason", "they called").status == 0
    everywhere(gateway, client, "250", content=message())
    assert gateway.ask("incident", "lift", number, "--reason", "again").status == 1
    audit = gateway.ask("audit", "--json").json()
    told = [row["operation"] for row in audit if row["target"] == f"incident {number}"]
    assert told == ["incident block", "incident lift", "incident lift refused"]


def test_what_was_done_by_hand_is_in_the_journal_and_what_is_open_on_the_screen(gateway: Gateway) -> None:
    """Who was not there reads it in the log; who is, sees at one look that somebody is blocked."""
    gateway.await_line("desk_acted", "what=block-began", "by=keeper")
    gateway.await_line("desk_acted", "what=block-ended", "they called")
    gateway.await_line("incident_changed", "state=lifted", "they called")
    blocked = len(SPAMMERS)
    [line] = [line for line in gateway.ask("status").out.splitlines() if line.startswith("abuse ")]
    assert f"in force: {blocked} blocks, 0 suspensions; tickets: 0 open" in line
    desk = gateway.ask("status", "--json").json()["desk"]
    assert (desk["incidents"]["blocked"], desk["incidents"]["lifted"]) == (blocked, 1)


def test_our_own_addresses_cannot_be_blocked(gateway: Gateway) -> None:
    send(gateway, "127.0.0.1")
    (found,) = until(lambda: rows(gateway, "SELECT id FROM incident WHERE source_key = '127.0.0.1/32'"), what="it")
    refused = gateway.ask("incident", "block", str(found[0]), "--reason", "by mistake")
    assert refused.status == 1
    assert "covers 127.0.0.1/32: an address that we listen on" in refused.err
    assert rows(gateway, "SELECT how FROM block_refusal WHERE entry = '127.0.0.1/32'") == [("hand",)]
    assert send(gateway, "127.0.0.1", message()) == "250"


def test_a_relay_client_that_turns_bad_is_suspended_and_restored_on_a_guarantee(gateway: Gateway) -> None:
    mail = {"role": "relay", "to": "me@box.test"}
    for _ in range(3):
        assert send(gateway, BAD_CLIENT, **mail).startswith("DATA 550")
    confirmed = "SELECT id FROM incident WHERE source_kind = 'client' AND state = 'confirmed'"
    (found,) = until(lambda: rows(gateway, confirmed), what="the confirmed incident")
    number = str(found[0])
    assert gateway.ask("account", "suspend", BAD_CLIENT, "--reason", "three spam mails").status == 0
    reply = everywhere(gateway, BAD_CLIENT, "RCPT 550 5.7.1", content=message(), **mail)
    assert f"sender suspended (suspended after incident {number}, write to abuse@gate.test)" in reply
    assert send(gateway, BAD_CLIENT, message(), role="relay", to="postmaster@box.test") == "250"

    refused = gateway.ask("account", "restore", BAD_CLIENT)
    assert (refused.status, "no written guarantee is on record" in refused.err) == (1, True)
    letter = gateway.ask("guarantee", "template", "--incident", number, "--lang", "zh", "--company", "某某有限公司")
    assert "某某有限公司" in letter.out
    assert f"{BAD_CLIENT}/32" in letter.out
    scan, licence = gateway.folder / "scan.pdf", gateway.folder / "licence.pdf"
    scan.write_bytes(b"%PDF the letter")
    licence.write_bytes(b"%PDF the licence")
    taken = gateway.ask(
        *("guarantee", "record", "--incident", number, "--scan", str(scan), "--licence", str(licence)),
        *("--company", "某某有限公司", "--manager", "张三", "--contact", "李四", "--telephone", "+86 10 1234 5678"),
        *("--domain", "box.test", "--client", BAD_CLIENT, "--signed", "2026-11-20"),
    )
    assert taken.status == 0, taken
    assert gateway.ask("account", "restore", BAD_CLIENT).status == 0
    everywhere(gateway, BAD_CLIENT, "250", content=message(), **mail)
    assert rows(gateway, "SELECT state FROM incident WHERE id = ?", int(number)) == [("lifted",)]
    told = [row["operation"] for row in gateway.ask("audit", "--json").json()]
    assert told[-4:] == ["account suspend", "account restore refused", "guarantee record", "account restore"]


def test_blocks_and_suspensions_hold_after_a_restart(gateway: Gateway) -> None:
    gateway.ask("account", "suspend", BAD_CLIENT, "--reason", "again")
    gateway.kill()
    gateway.start()
    assert send(gateway, SPAMMERS[0], message()).startswith("RCPT 550")
    assert send(gateway, BAD_CLIENT, message(), role="relay", to="me@box.test").startswith("RCPT 550")
    once = gateway.ask("account", "restore", BAD_CLIENT)
    assert "permanent termination" in once.err
    assert gateway.ask("account", "restore", BAD_CLIENT, "--override", "the owner changed").status == 0
    assert gateway.ask("incident", "verify").status == 0
