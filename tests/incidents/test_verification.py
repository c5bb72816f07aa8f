# ruff: noqa: S608 - statements are made of names in this file
"""What a dishonest hand may try: each is found, and named where it is."""

import json
import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.incidents import Anchor, Resolution, State
from gateway.incidents.reader import IncidentQuery
from gateway.incidents.schema import database_path, head_path
from tests.incidents.conftest import DAY, MESSAGE, Desk, sighting


def test_a_record_that_nobody_touched_is_sound(full: Desk):
    found = full.verified()
    assert found.flaws == ()
    assert (found.incidents, found.sightings, found.messages) == (3, 7, 2)
    assert found.head == full.reader().head()


def test_an_empty_folder_is_sound(desk: Desk):
    assert desk.wrong() == ""


# In every table that is sealed: altered, removed, added.
TAMPERED = {
    "a row's time": ("UPDATE chain SET at = at + 1 WHERE number = 5", "chain 5"),
    "a row's author": ("UPDATE chain SET by = 'wang' WHERE kind = 'moved'", "altered"),
    "a row's place": ("UPDATE chain SET place = 'elsewhere' WHERE kind = 'moved'", "altered"),
    "a row's operation": ("UPDATE chain SET operation = 'x' WHERE number = 1", "chain 1"),
    "a row's kind": ("UPDATE chain SET kind = 'noted' WHERE kind = 'moved'", "altered"),
    "a row's incident": ("UPDATE chain SET incident = 2 WHERE number = 1", "chain 1"),
    "a row's facts": ("UPDATE chain SET facts = replace(facts, 'because', 'no reason')", "altered"),
    "a row's salt": ("UPDATE chain SET salt = '00' || substr(salt, 3) WHERE number = 2", "chain 2"),
    "a row's digest": ("UPDATE chain SET digest = '00' || substr(digest, 3) WHERE number = 2", "chain 2"),
    "the first row removed": ("DELETE FROM chain WHERE number = 1", "rows 1 to 1 are missing"),
    "a row removed": ("DELETE FROM chain WHERE number = 4", "rows 4 to 4 are missing"),
    "the last row removed": ("DELETE FROM chain WHERE number = (SELECT max(number) FROM chain)", "is missing"),
    "the last rows removed": ("DELETE FROM chain WHERE number > 6", "was anchored"),
    "the whole chain removed": ("DELETE FROM chain", "was anchored"),
    "rows exchanged": (
        (
            "UPDATE chain SET number = -1 WHERE number = 2; UPDATE chain SET number = 2 WHERE number = 3;"
            "UPDATE chain SET number = 3 WHERE number = -1"
        ),
        "chain 2",
    ),
    "a row added": (
        (
            "INSERT INTO chain SELECT 99, at, by, place, operation, kind, incident, facts, salt, sealed, digest"
            " FROM chain WHERE number = 3"
        ),
        "are missing",
    ),
    "a row sealed": (
        "UPDATE chain SET sealed = '{\"facts.reason\": \"00\"}' WHERE kind = 'moved'",
        "altered",
    ),
    "an incident's state": ("UPDATE incident SET state = 'closed' WHERE id = 1", "incident 1"),
    "an incident's source": ("UPDATE incident SET source_key = '203.0.113.1/32' WHERE id = 2", "incident 2"),
    "an incident's resolution": ("UPDATE incident SET resolution = 'false-positive' WHERE id = 2", "incident 2"),
    "an incident's sightings": ("UPDATE incident SET sightings = 1 WHERE id = 1", "incident 1: it has 1 sightings"),
    "an incident removed": ("DELETE FROM incident WHERE id = 3", "incident 3: it is missing"),
    "an incident added": (
        (
            "INSERT INTO incident (source_kind, source_key, state_since, opened_at, first_seen, last_seen)"
            " VALUES ('network', 'x', 1, 1, 1, 1)"
        ),
        "incident 4: it is not on record",
    ),
    "a sighting's subject": ("UPDATE sighting SET subject = 'harmless' WHERE id = 3", "sightings 1 to 5"),
    "a sighting's time": ("UPDATE sighting SET at = at + 0.001 WHERE id = 7", "sightings 6 to 7"),
    "a sighting removed": ("DELETE FROM sighting WHERE id = 2", "1 of them are missing"),
    "the last sighting removed": ("DELETE FROM sighting WHERE id = 7", "1 of them are missing"),
    "a sighting added": (
        (
            "INSERT INTO sighting SELECT 99, incident, day, at, trace_id, client, helo, reverse_path, recipients,"
            " recipient_domain, message_id, subject, grounds, findings, action, octets, virus FROM sighting LIMIT 1"
        ),
        "sighting 99: it is not on record",
    ),
    "a batch's time": ("UPDATE batch SET until = 0 WHERE first = 1", "batch 1: it was altered"),
    "a batch's end": ("UPDATE batch SET last = 7 WHERE first = 1", "batch 1: it was altered"),
    "a batch removed": ("DELETE FROM batch WHERE first = 1", "batch 1: it is missing"),
    "the last batch removed": ("DELETE FROM batch WHERE first = 6", "batch 6: it is missing"),
    "a batch added": ("INSERT INTO batch VALUES (3, 4, 1, 1)", "batch 3: it is not on record"),
    "the last batch added": ("INSERT INTO batch VALUES (8, 9, 1, 1)", "batch 8: it is not on record"),
    "a fact said twice": (
        "UPDATE chain SET facts = replace(facts, '{', '{\"reason\":\"forged\",') WHERE kind = 'moved'",
        "its text is not as it was written",
    ),
    "when an incident was closed": ("UPDATE incident SET closed_at = 1 WHERE id = 1", "incident 1: it was closed at"),
    "a note": ("UPDATE note SET text = 'nothing' WHERE id = 1", "note 1: it was altered"),
    "a note removed": ("DELETE FROM note WHERE id = 2", "note 2: it is missing"),
    "a note added": (
        "INSERT INTO note (incident, at, by, text) VALUES (1, 1, 'x', 'y')",
        "note 3: it is not on record",
    ),
    "a message's row": ("UPDATE evidence SET facts = '{}' WHERE id = 1", "evidence 1: its row was altered"),
    "a message's digest": ("UPDATE evidence SET sha256 = stored_sha256 WHERE id = 1", "evidence 1"),
    "a message's incident": ("UPDATE evidence SET incident = 2 WHERE id = 1", "evidence 1"),
    "a message said to be removed": ("UPDATE evidence SET removed_at = 1 WHERE id = 1", "evidence 1"),
    "a message's row removed": ("DELETE FROM evidence WHERE id = 2", "evidence 2: it is missing"),
    "a message's row added": (
        (
            "INSERT INTO evidence (incident, trace_id, at, sha256, octets, stored_sha256, stored_octets, facts, number)"
            " SELECT 2, trace_id, at, sha256, octets, stored_sha256, stored_octets, facts, number FROM evidence"
        ),
        "evidence 3: it is not on record",
    ),
}


@pytest.mark.parametrize(("statement", "named"), TAMPERED.values(), ids=TAMPERED)
def test_what_was_altered_in_the_database_is_found(full: Desk, statement: str, named: str):
    full.tamper(statement)
    assert named in full.wrong()


def test_every_value_of_every_row_of_the_chain_is_sealed(full: Desk):
    """Whatever column of whatever row: one character more is found."""
    path = database_path(full.data)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        numbers = [row[0] for row in connection.execute("SELECT number FROM chain")]
        for number in numbers:
            for column in ("by", "place", "operation", "kind", "facts", "salt", "digest"):
                (before,) = connection.execute(f"SELECT {column} FROM chain WHERE number = ?", (number,)).fetchone()
                after = before[:-1] + ',"x":1}' if column == "facts" else f"{before}0"
                connection.execute(f"UPDATE chain SET {column} = ? WHERE number = ?", (after, number))
                assert f"chain {number}" in full.wrong(), column
                connection.execute(f"UPDATE chain SET {column} = ? WHERE number = ?", (before, number))
    assert full.wrong() == ""


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255), which=st.integers(0, 1))
def test_every_octet_of_kept_messages_is_sealed(full: Desk, place: int, flip: int, which: int):
    path = sorted((full.data / "incidents/evidence").rglob("*.zst"))[which]
    before = path.read_bytes()
    octets = bytearray(before)
    octets[place % len(octets)] ^= flip
    path.write_bytes(octets)
    wrong = full.wrong()
    path.write_bytes(before)
    assert "its file was altered" in wrong
    assert full.wrong() == ""


@pytest.mark.parametrize("how", ["removed", "emptied", "longer", "exchanged"])
def test_a_kept_message_that_is_not_there_as_it_was_is_found(full: Desk, how: str):
    first, second = sorted((full.data / "incidents/evidence").rglob("*.zst"))
    match how:
        case "removed":
            first.unlink()
        case "emptied":
            first.write_bytes(b"")
        case "longer":
            first.write_bytes(first.read_bytes() + b"\0")
        case _:
            first.write_bytes(second.read_bytes())
    assert "evidence" in full.wrong()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), flip=st.integers(1, 127))
def test_every_octet_of_the_anchor_is_looked_at(full: Desk, place: int, flip: int):
    path = head_path(full.data)
    before = path.read_bytes()
    octets = bytearray(before.strip())
    octets[place % len(octets)] ^= flip
    if octets.lower() == before.strip():
        return
    path.write_bytes(octets)
    wrong = full.wrong()
    path.write_bytes(before)
    assert wrong


def test_an_anchor_kept_elsewhere_finds_what_was_cut_off_with_its_anchor(full: Desk):
    noted = full.reader().head()
    full.tamper(f"DELETE FROM chain WHERE number > {noted.number - 1}", "DELETE FROM note WHERE id = 2")
    last = full.reader().head()
    head_path(full.data).write_text(f"{last}\n", encoding="ascii")
    assert full.wrong() == ""
    assert f"chain {noted.number}: it was anchored" in full.wrong(anchors=[noted])


def test_a_chain_made_anew_does_not_have_the_anchor(full: Desk):
    real = full.reader().head()
    assert "not the row that was anchored" in full.wrong(anchors=[Anchor(real.number - 2, "ab" * 32)])


def test_an_anchor_that_lies_behind_is_no_flaw(full: Desk):
    before = head_path(full.data).read_bytes()
    full.fold([sighting(20)])
    head_path(full.data).write_bytes(before)
    assert full.wrong() == ""


def test_a_removed_database_or_anchor_is_found(full: Desk):
    head_path(full.data).rename(full.data / "away")
    assert "head: the anchor's file is missing" in full.wrong()
    (full.data / "away").rename(head_path(full.data))
    for path in database_path(full.data).parent.glob("incidents.sqlite*"):
        path.unlink()
    assert "it is missing, but a chain was anchored" in full.wrong()


def test_a_damaged_database_is_told_not_raised(full: Desk):
    path = database_path(full.data)
    octets = bytearray(path.read_bytes())
    for page in range(2, len(octets) // 8192):
        octets[page * 8192 : page * 8192 + 300] = b"\xff" * 300
    path.write_bytes(octets)
    assert full.wrong()


# What the rules remove ------------------------------------------------------------------------------------------------


def closed(full: Desk) -> Desk:
    full.move(1, State.LIFTED, State.CLOSED, resolution=Resolution.STOPPED)
    return full


def test_what_retention_removes_leaves_a_record_that_proves_itself(full: Desk):
    closed(full).clock.advance(200 * DAY)
    step = full.prune(sightings=90 * DAY, evidence=180 * DAY, closed=100 * DAY)
    assert (step.sightings, step.incidents) == (7, 1)
    assert full.wrong() == ""
    assert [incident.id for incident in full.reader().find(IncidentQuery())] == [3, 2]
    assert "zhang" not in json.dumps(full.reader().rows("SELECT facts FROM chain"))
    assert list((full.data / "incidents/evidence").rglob("*.zst")) == []


def test_messages_go_before_their_incident_and_take_what_was_said_about_them(full: Desk):
    closed(full).clock.advance(200 * DAY)
    step = full.prune(evidence=180 * DAY)
    assert (step.messages, step.incidents) == (2, 0)
    assert full.wrong() == ""
    assert "zhang" not in json.dumps(full.reader().rows("SELECT facts FROM chain"))


def test_open_incidents_keep_their_messages(full: Desk):
    full.clock.advance(400 * DAY)
    assert full.prune().messages == 0
    assert full.reader().incident(1) is not None


def test_a_hand_cannot_erase_what_retention_did_not(full: Desk):
    """Sealing a row by its own digests keeps the chain whole; only a row that says so makes it right."""
    row = next(row for row in full.reader().timeline(1) if row.kind == "noted")
    left = row.without(lambda name: name.startswith("facts."))
    with closing(sqlite3.connect(database_path(full.data))) as connection:
        connection.execute(
            "UPDATE chain SET facts = '{}', salt = ?, sealed = ? WHERE number = ?",
            (json.dumps(dict(left.salts)), json.dumps(dict(left.sealed)), row.number),
        )
        connection.execute("DELETE FROM note WHERE id = 1")
        connection.commit()
    assert f"chain {row.number}: it was erased, but incident 1 was not pruned" in full.wrong()


def test_a_hand_cannot_say_anything_in_place_of_what_was_erased(full: Desk):
    """The digest of what was erased holds whatever stands there; a screen would show it all the same."""
    closed(full).clock.advance(200 * DAY)
    full.prune(evidence=180 * DAY)
    assert full.wrong() == ""
    full.tamper(
        "UPDATE chain SET facts = json_set(facts, '$.\"about.envelope.reverse_path\"', 'li@corp.test')"
        " WHERE kind = 'evidence'"
    )
    assert "its text is not as it was written" in full.wrong()


def test_a_hand_cannot_remove_a_message_as_retention_does(full: Desk):
    row = next(row for row in full.reader().timeline(1) if row.kind == "evidence")
    left = row.without(lambda name: name.startswith("facts.about."))
    with closing(sqlite3.connect(database_path(full.data))) as connection:
        connection.execute(
            "UPDATE chain SET facts = ?, salt = ?, sealed = ? WHERE number = ?",
            (json.dumps(left.facts), json.dumps(dict(left.salts)), json.dumps(dict(left.sealed)), row.number),
        )
        connection.execute("UPDATE evidence SET removed_at = 1, facts = '{}' WHERE id = 1")
        connection.commit()
    assert "it was erased, but evidence 1 was not removed" in full.wrong()


def test_pruning_while_somebody_verifies_is_no_flaw(full: Desk):
    """The message's file goes between the reading of its row and of the file."""
    closed(full).clock.advance(200 * DAY)

    class Slow(type(full.store)):
        def check(self, row):
            full.prune(evidence=180 * DAY)
            return super().check(row)

    assert full.wrong(store=Slow(full.data)) == ""


def test_two_incidents_may_hold_the_same_message(full: Desk):
    full.keep(30, 2, MESSAGE)
    closed(full).clock.advance(200 * DAY)
    full.prune(evidence=180 * DAY)
    assert full.wrong() == ""
    assert full.store.read(full.reader().evidence(2)[0]) == MESSAGE


def test_a_hand_cannot_say_that_retention_removed_sightings(full: Desk):
    """What was removed is known from the chain beforehand; a lie about it does not hide what is missing."""
    full.clock.advance(91 * DAY)
    full.fold([sighting(20, at=full.clock.stamp().utc)])
    full.prune(sightings=90 * DAY)
    assert full.wrong() == ""
    full.tamper(
        "UPDATE chain SET facts = json_set(facts, '$.through', 1000) WHERE kind = 'sightings-pruned'",
        "DELETE FROM sighting",
    )
    assert "it, or the row before it, was altered" in full.wrong()


def test_one_sighting_that_was_altered_is_one_flaw(full: Desk):
    full.tamper("UPDATE sighting SET subject = 'harmless' WHERE id = 3")
    assert full.wrong().count("\n") == 0
    assert full.wrong().startswith("sightings 1 to 5")


def test_a_sighting_between_two_batches_is_not_on_record(desk: Desk):
    desk.fold([sighting(1)])
    desk.tamper("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'sighting'")
    desk.fold([sighting(2)])
    assert desk.wrong() == ""
    desk.tamper(
        "INSERT INTO sighting SELECT 2, incident, day, at, trace_id, client, helo, reverse_path, recipients,"
        " recipient_domain, message_id, subject, grounds, findings, action, octets, virus FROM sighting WHERE id = 1"
    )
    assert "sighting 2: it is not on record" in desk.wrong()


def test_progress_is_told_of_rows_as_they_are_looked_at(desk: Desk, monkeypatch):
    monkeypatch.setattr("gateway.incidents.verification.TOLD_ROWS", 10)
    for start in range(0, 60, 20):
        desk.fold(sighting(n) for n in range(start, start + 20))
    told = []
    found = desk.verified(progress=lambda done, of: told.append((done, of)))
    assert found.sightings == 60
    dones = [done for done, _ in told]
    assert dones == sorted(dones)
    assert dones[-1] >= 60
    assert {of for _, of in told} == {4 + 60 + 1}, "chain rows, sightings, incidents"


def test_ten_thousands_of_flaws_are_told_as_some(desk: Desk, monkeypatch):
    monkeypatch.setattr("gateway.incidents.verification.MAX_FLAWS", 10)
    for number in range(30):
        desk.fold([sighting(number, f"192.0.2.{number}")])
    desk.tamper("UPDATE sighting SET subject = 'harmless'", "UPDATE incident SET sightings = 7")
    found = desk.verified()
    assert len(found.flaws) == 10
    assert found.sightings == 30
