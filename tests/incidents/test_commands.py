"""The commands find, show and change what is on record, and each change is in the audit trail: who, and from where."""

import csv
import io
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from gateway.cli.incident_showing import folded, screen
from gateway.cli.main import app
from gateway.cli.reach import data_folder
from gateway.clock import SystemClock
from gateway.incidents import IncidentBook, Source, SourceKind, State
from gateway.incidents.blocks import begin_block, end_block, standing_block
from gateway.incidents.schema import head_path
from gateway.incidents.suspensions import begin_suspension, end_suspension, suspensions_of
from tests.house.conftest import CONFIGURATION
from tests.incidents.conftest import DAY, NOW, Desk, desk_at, sighting


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEGATE_CONFIG", raising=False)
    monkeypatch.setenv("SSH_CLIENT", "198.51.100.200 4711 22")
    (tmp_path / "policies").mkdir()
    (tmp_path / "tidegate.toml").write_text(CONFIGURATION + "\n", encoding="utf-8")
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [*arguments, "--config", str(tmp_path / "tidegate.toml")])


@pytest.fixture
def desk(run, tmp_path) -> Desk:
    """Return the record of the folder that the commands work on."""
    return desk_at(data_folder(tmp_path / "tidegate.toml"))


def listed(result) -> list[int]:
    return [each["id"] for each in json.loads(result.stdout)]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), [3, 2, 1]),
        (("--ip", "192.0.2.7"), [1]),
        (("--ip", "192.0.2.0/24"), [1]),
        (("--ip", "0.0.0.0/0"), [2, 1]),
        (("--ip", "2001:db8::77"), [3]),
        (("--ip", "2001:db8::/32"), [3]),
        (("--domain", "CORP.test"), [3, 2, 1]),
        (("--domain", "bulk.example"), [3, 2, 1]),
        (("--ground", "harmful"), [2]),
        (("--ground", "no-opt-out"), [3, 1]),
        (("--state", "blocked"), [1]),
        (("--state", "open", "--state", "blocked"), [3, 2, 1]),
        (("--state", "open", "--ip", "198.51.100.9"), [2]),
        (("--since", "2026-09-21T14:13:26"), [3, 2]),
        (("--limit", "1"), [3]),
    ],
)
def test_a_list_has_what_fulfils_every_condition_the_last_seen_first(full, run, arguments, found):
    result = run("incident", "list", "--json", *arguments)
    assert (result.exit_code, listed(result)) == (0, found)


def test_a_list_by_autonomous_system(desk, run):
    desk.book = IncidentBook(desk.data, clock=desk.clock, lookup=lambda _: (64500, "Example Networks"))
    desk.fold([sighting(1)])
    assert listed(run("incident", "list", "--json", "--asn", "64500")) == [1]
    assert run("incident", "list", "--asn", "64501").exit_code == 1
    assert "AS64500 Example Networks" in run("incident", "show", "1").stdout


@pytest.mark.parametrize("arguments", [("--ip", "300.1.1.1"), ("--ground", "x"), ("--state", "x"), ("--since", "x")])
def test_a_list_says_what_is_no_condition(full, run, arguments):
    result = run("incident", "list", *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_nothing_on_record_is_an_answer_not_an_error(run):
    for command in (("list",), ("top",), ("search", "x"), ("show", "1")):
        assert run("incident", *command).exit_code == 1
    assert run("incident", "verify").exit_code == 0


def test_a_list_for_programs_and_spreadsheets(full, run):
    [first, *_] = csv.DictReader(io.StringIO(run("incident", "list", "--csv").stdout))
    assert (first["id"], first["source"], first["grounds"]) == ("3", "2001:db8::/64", "advertising no-opt-out")
    assert first["counts"] == "advertising=1 no-opt-out=1 hidden-sender=0 false-source=0 harmful=0"
    assert (first["source_kind"], first["last_seen"]) == ("network", "2026-09-21T14:13:27.000Z")
    line = run("incident", "list").stdout.splitlines()[0].split("\t")
    assert line[:5] == ["3", "open", "network", "2001:db8::/64", "1"]
    assert line[6] == "2026-09-21 14:13:27Z"


def test_every_time_that_a_program_is_given_names_its_zone(full, run):
    """Seconds since 1970 are read by nobody, and times without a zone by everybody in their own."""
    shown = json.loads(run("incident", "show", "1", "--json").stdout)
    listed = json.loads(run("incident", "list", "--json").stdout)
    times = dict(_times([shown, listed]))
    assert {"at", "state_since", "first_seen", "confirmed_at"} <= set(times)
    zoned = re.compile(r"2026-\d\d-\d\dT[\d:]{8}\.\d{3}Z")
    assert [name for name, time in times.items() if not zoned.fullmatch(time)] == []


def _times(value):
    """Yield what stands under a name that is a time's, or looks like one."""
    if isinstance(value, dict):
        for name, each in value.items():
            if re.search(r"(^|_)at$|^(first|last)_seen$|_since$", name) and each is not None:
                yield name, str(each)
            yield from _times(each)
    elif isinstance(value, list):
        for each in value:
            yield from _times(each)


def test_a_spreadsheet_is_given_no_formula(desk, run):
    desk.fold([sighting(1, subject='=cmd|"/c calc"!A0')])
    assert "'=cmd" in run("incident", "search", "calc", "--csv").stdout


@pytest.mark.parametrize(
    ("what", "period", "names"),
    [
        ("sources", "day", ["network 192.0.2.7/32", "network 198.51.100.9/32", "network 2001:db8::/64"]),
        ("sources", "week", ["network 192.0.2.7/32"]),
        ("grounds", "month", ["advertising", "no-opt-out", "harmful"]),
        ("domains", "week", ["corp.test"]),
        ("sender-domains", "month", ["bulk.example"]),
    ],
)
def test_a_ranking_of_a_period(full, run, what, period, names):
    rows = json.loads(run("incident", "top", what, "--period", period, "--at", "2026-09-21", "--json").stdout)
    assert {row["name"] for row in rows} >= set(names)
    assert [row["sightings"] for row in rows] == sorted([row["sightings"] for row in rows], reverse=True)
    assert run("incident", "top", what, "--period", period, "--at", "2020-01-01").exit_code == 1


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (("发票",), {"subject"}),
        (("开发",), {"subject"}),
        (("电话",), {"note"}),
        (("promo@bulk.example",), {"sender"}),
        (("zhang@corp.test",), {"recipient"}),
        (("INVOICE",), {"subject"}),
        (("invo*",), {"subject"}),
        (("operator", "called"), {"note"}),
        (("called the",), {"note"}),
    ],
)
def test_a_search_finds_subjects_addresses_and_notes(full, run, words, kinds):
    result = run("incident", "search", "--json", *words)
    assert {found["kind"] for found in json.loads(result.stdout)} == kinds


@pytest.mark.parametrize(
    "words", [("发开",), ("票发",), ("invo",), ("the called",), ('"',), ("*",), ("AND",), ("NEAR(",)]
)
def test_a_search_finds_nothing_else_and_knows_no_syntax(full, run, words):
    result = run("incident", "search", *words)
    assert (result.exit_code, result.stdout) == (1, "")


def test_one_screen_has_what_an_analyst_needs(full, run):
    with full.book.change("li", "x") as change:
        change.start_clock("complaint-outcome", "T-4711", NOW + DAY, incident=1)
        begin_block(change, 1, "192.0.2.7/32", how="hand", reason="spam", until=NOW + DAY)
    text = run("incident", "show", "1").stdout
    for told in (
        "incident 1  BLOCKED  network 192.0.2.7/32",
        "5, 0 with viruses, 10000 octets",
        "advertising 5, no-opt-out 5",
        "corp.test 5",
        "bulk.example 5",
        "in force   block of 192.0.2.7/32 until 2026-09-22 14:13:20Z",
        "complaint-outcome     due 2026-09-22 14:13:20Z  T-4711",
        "moved confirmed → reported: because",
        "note: called the operator, 已电话联系",
        "代开发票 Invoice",
        "rules invoice: 代开发票",
    ):
        assert told in text, told
    assert text.count("sha256") == 2
    assert len(text.splitlines()) <= 50
    value = json.loads(run("incident", "show", "1", "--json").stdout)
    assert len(value["evidence"]) == 2
    assert [row["kind"] for row in value["timeline"]][:3] == ["opened", "evidence", "evidence"]


def test_the_timeline_is_in_words_and_has_the_sender_that_was_restored(desk, run):
    """Who takes the case over on Monday reads this, and not the names of columns."""
    with desk.book.change("li", "account suspend") as change:
        anna = Source(SourceKind.ACCOUNT, "anna@corp.test")
        number = change.open(anna, "by telephone").id
        begin_suspension(change, number, anna, how="hand", reason="pills")
        end_suspension(change, suspensions_of(change.execute, number)[0], guarantee=None, override="the court")
        begin_block(change, number, "192.0.2.7/32", how="hand", reason="spam", until=NOW + DAY)
        end_block(change, standing_block(change.execute, "192.0.2.7/32"), "it stopped", "nothing came since noon")
    text = run("incident", "show", str(number)).stdout
    for told in (
        "seen       never",
        "opened by hand: by telephone",
        "anna@corp.test suspended (hand): pills",
        "anna@corp.test restored without a guarantee: the court",
        "192.0.2.7/32 blocked until 2026-09-22 14:13:20Z (hand): spam",
        "block of 192.0.2.7/32 ended: it stopped: nothing came since noon",
    ):
        assert told in text, told


def test_a_screen_shows_no_control_characters(desk, run):
    desk.fold([sighting(1, subject="\x1b[2J\u202eevil", helo="a\nb", reverse_path="\x00@x")])
    text = run("incident", "show", "1").stdout
    assert not {"\x1b", "\u202e", "\x00"} & set(text)


def test_what_a_person_decides_is_in_timeline_and_audit_trail(full, run):
    assert run("incident", "confirm", "2", "--reason", "by telephone").exit_code == 0
    assert run("incident", "note", "2", "a page of notes").exit_code == 0
    assert run("incident", "close", "2", "--as", "false-positive", "--reason", "ordered").exit_code == 0
    assert run("incident", "reopen", "2", "--reason", "not ordered").exit_code == 0
    with full.reader() as reader:
        incident = reader.incident(2)
        kinds = [(row.fields["operation"], row.facts.get("to")) for row in reader.timeline(2)][-4:]
        head = reader.head()
        assert "198.51.100.200" in reader.timeline(2)[-1].fields["place"]
    assert (incident.state, incident.resolution) == (State.OPEN, "")
    assert kinds == [
        ("incident confirm", "confirmed"),
        ("incident note", None),
        ("incident close", "closed"),
        ("incident reopen", "open"),
    ]
    done = json.loads(run("audit", "--json").stdout)
    assert [each["operation"] for each in done] == [
        "incident confirm",
        "incident note",
        "incident close",
        "incident reopen",
    ]
    assert done[-1]["target"] == "incident 2"
    assert any("198.51.100.200" in change for change in done[-1]["changes"])
    assert f"chain {head}" in done[-1]["changes"]
    assert full.wrong() == ""


# What a case allows, with nothing of it in force, and by which commands.
OPEN = (
    "from open it may go to confirmed, blocked, closed; by hand: `incident confirm`, `incident block`, `incident close`"
)
BLOCKED = "from blocked it may go to quiet, lifted; by hand: `incident lift`"


@pytest.mark.parametrize(
    ("arguments", "audited"),
    [
        (
            ("close", "1", "--reason", "while blocked"),
            [("incident close refused", f"incident 1: blocked → closed is no step; {BLOCKED}")],
        ),
        (
            ("confirm", "1", "--reason", "backwards"),
            [("incident confirm refused", f"incident 1: blocked → confirmed is no step; {BLOCKED}")],
        ),
        (
            ("confirm", "99", "--reason", "not there"),
            [("incident confirm refused", "there is no incident 99")],
        ),
        (("note", "99", "x"), [("incident note refused", "there is no incident 99")]),
        (
            ("reopen", "2", "--reason", "is open"),
            [("incident reopen refused", f"incident 2: it is open already; {OPEN}")],
        ),
        # What says nothing is a slip of the hand, and nothing that anybody wanted.
        (("close", "2", "--reason", "x", "--as", "whim"), []),
        (("note", "1", "  "), []),
        (("close", "2", "--reason", "  "), []),
    ],
)
def test_what_the_states_do_not_allow_changes_nothing_and_is_audited_as_refused(full, run, arguments, audited):
    before = full.reader().head()
    result = run("incident", *arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert full.reader().head() == before
    told = [(row["operation"], row["changes"][0]) for row in json.loads(run("audit", "--json").stdout)]
    assert told == audited


def test_a_case_is_not_opened_again_beside_the_next_one_of_its_source(full, run):
    run("incident", "close", "2", "--reason", "done")
    full.fold([sighting(30, "198.51.100.9")])
    result = run("incident", "reopen", "2", "--reason", "again")
    assert result.exit_code == 2
    assert "another incident by now: 4" in result.output


def test_verify_tells_the_head_and_finds_what_was_altered(full, run):
    told = run("incident", "verify", "--json")
    assert (told.exit_code, json.loads(told.stdout)["sound"]) == (0, True)
    full.tamper("UPDATE note SET text = 'x' WHERE id = 1")
    result = run("incident", "verify")
    assert result.exit_code == 65
    assert "note 1: it was altered" in result.stdout


def test_verify_has_the_anchors_that_commands_left_in_the_journal(full, run):
    run("incident", "note", "1", "the last word")
    full.tamper("DELETE FROM chain WHERE kind = 'noted' AND facts LIKE '%last word%'", "DELETE FROM note WHERE id = 3")
    head_path(full.data).write_text(f"{full.reader().head()}\n", encoding="ascii")
    assert "was anchored" in run("incident", "verify").stdout


def test_verify_takes_an_anchor_that_was_noted(full, run):
    head = str(full.reader().head())
    assert run("incident", "verify", "--anchor", head).exit_code == 0
    assert run("incident", "verify", "--anchor", f"2:{'ab' * 32}").exit_code == 65
    assert run("incident", "verify", "--anchor", "x").exit_code == 2


def test_an_export_is_on_record_redacted_and_proves_itself(full, run, tmp_path):
    path = tmp_path / "case.tar"
    told = json.loads(run("incident", "export", "1", "--output", str(path), "--json").stdout)
    assert (told["messages"], told["redacted"]) == (2, True)
    assert b"zhang" not in path.read_bytes()
    for option in ((), ("--alone",)):
        assert run("incident", "verify", str(path), *option).exit_code == 0
    octets = bytearray(path.read_bytes())
    octets[len(octets) // 2] ^= 1
    (tmp_path / "altered.tar").write_bytes(octets)
    assert run("incident", "verify", str(tmp_path / "altered.tar")).exit_code == 65
    assert run("incident", "export", "1", "--output", str(path)).exit_code == 1
    assert run("incident", "export", "99", "--output", str(tmp_path / "no.tar")).exit_code == 1
    assert run("incident", "verify", str(tmp_path / "no.tar")).exit_code == 1
    assert "incident export" in run("audit").stdout


def test_a_whole_export_has_everything(full, run, tmp_path):
    run("incident", "export", "1", "--output", str(tmp_path / "case.tar"), "--whole")
    assert b"zhang@corp.test" in (tmp_path / "case.tar").read_bytes()
    assert run("incident", "verify", str(tmp_path / "case.tar")).exit_code == 0


def test_evidence_that_is_not_sound_is_not_exported(full, run, tmp_path):
    next((full.data / "incidents/evidence").rglob("*.zst")).unlink()
    result = run("incident", "export", "1", "--output", str(tmp_path / "case.tar"))
    assert (result.exit_code, (tmp_path / "case.tar").exists()) == (65, False)


def test_a_damaged_record_is_told_by_every_command(full, run):
    from gateway.incidents.schema import database_path  # noqa: PLC0415 - only here

    database_path(full.data).write_bytes(b"not a database" * 1000)
    for command in (
        ("list",),
        ("top",),
        ("search", "x"),
        ("show", "1"),
        ("confirm", "1", "--reason", "x"),
        ("verify",),
    ):
        result = run("incident", *command)
        assert result.exit_code == 65, command
        assert "Traceback" not in result.output


def test_times_before_and_after_mean_the_same_to_list_and_clock(desk, run):
    now = SystemClock().stamp().utc
    desk.fold([sighting(1, at=now - 2 * DAY), sighting(2, "192.0.2.8", at=now - 10 * DAY)])
    assert listed(run("incident", "list", "--json", "--since", "7d")) == [1]


@pytest.mark.parametrize(
    "arguments",
    [
        ("incident", "list"),
        ("incident", "note", "1", "x"),
        ("incident", "block", "1", "--reason", "x"),
        ("incident", "verify"),
        ("account", "suspend", "anna@example.com", "--reason", "x"),
        ("guarantee", "template", "--incident", "1"),
        ("complaint", "list"),
        ("report", "list"),
        ("audit",),
    ],
)
def test_who_may_not_look_into_the_data_folder_is_told_so(run, desk, monkeypatch, arguments):
    """As another user: one line that says who may, not a traceback; and nothing is read or written."""
    (desk.data / "incidents").mkdir(parents=True, exist_ok=True)
    access = os.access
    monkeypatch.setattr("os.access", lambda path, mode: path != desk.data and access(path, mode))
    refused = run(*arguments)
    assert refused.exit_code == 77
    assert "may not look into it; run this as root or as the gateway's user" in refused.stderr


def test_a_data_folder_within_a_closed_one_is_closed(run, desk, monkeypatch):
    """Where its parent may not be passed: not taken for one that is not there."""
    stat = Path.stat

    def closed(path, **named):
        if path == desk.data:
            raise PermissionError(13, "Permission denied")
        return stat(path, **named)

    monkeypatch.setattr(Path, "stat", closed)
    assert run("incident", "list").exit_code == 77


def test_behind_root_stands_who_became_it(full, run, monkeypatch):
    """An abuse team works with sudo: without this every act is root's, and nobody's."""
    monkeypatch.setattr("gateway.cli.auditing.os.getuid", lambda: 0)
    monkeypatch.setenv("SUDO_USER", "li")
    assert run("incident", "note", "2", "a page of notes").exit_code == 0
    done = json.loads(run("audit", "--json").stdout)
    assert done[-1]["changes"][-1].endswith(", li as root")
    with full.reader() as reader:
        assert reader.timeline(2)[-1].fields["place"].endswith(", li as root")


def test_without_a_standard_input_there_is_no_terminal(full, run, monkeypatch):
    """Such as from a job of cron that closes it (`<&-`): what is done is on record all the same."""
    monkeypatch.delenv("SSH_CLIENT", raising=False)
    monkeypatch.setattr("gateway.cli.auditing.sys", SimpleNamespace(stdin=None))
    assert run("incident", "note", "2", "a page of notes").exit_code == 0
    assert json.loads(run("audit", "--json").stdout)[-1]["changes"][-1].startswith("from no terminal")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_screen_fits_its_terminal(full, columns):
    """Broken between words, with what follows set in; Chinese characters are two columns wide."""
    with full.book.change("li", "incident note") as change:
        change.note(1, "他们的运营商说已经关闭了这个账号" * 8 + " and " + "words of some length " * 20)
    with full.reader() as reader:
        lines = list(screen(reader, reader.incident(1), 5))
    rows = [row for line in lines for row in folded(line, columns)]
    assert max(map(cell_len, lines)) > columns
    assert max(map(cell_len, rows)) <= columns
    assert re.sub(r"\s", "", "".join(rows)) == re.sub(r"\s", "", "".join(lines))
    whole = [line for line in lines if cell_len(line) <= columns]
    assert [row for row in rows if row in whole] == whole
