"""``tidegate blocklist``: what an operator types and reads. If these fail, an operator cannot tell who is listed, or
his change is on no record.
"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.blocklist.local.source import says
from gateway.cli.main import app
from gateway.journal.reader import JournalReader

LISTS = """
[[list]]
name = "local"
file = "local.txt"
[[list]]
name = "association"
source = "association"
"""


class Desk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blocklists").mkdir()
        (folder / "policies").mkdir()
        (folder / "tidegate.toml").write_text('hostname = "mx.test"\ndata = "data"\n', encoding="utf-8")
        (folder / "blocklists/lists.toml").write_text(LISTS, encoding="utf-8")
        (folder / "blocklists/local.txt").write_text("192.0.2.0/24 # by hand\n", encoding="utf-8")

    def run(self, *words: str, status: int = 0) -> str:
        done = CliRunner().invoke(app, ["blocklist", *words, "--config", str(self.folder / "tidegate.toml")])
        assert done.exit_code == status, (words, done.output, done.exception)
        return done.output

    def json(self, *words: str, status: int = 0):
        return json.loads(self.run(*words, "--json", status=status))

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text, encoding="utf-8")
        return str(self.folder / name)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path)
    found.run("update")
    return found


def test_check_tells_everything_about_an_identity(desk: Desk):
    found = desk.json("check", "192.0.2.7")
    (listing,) = found["listings"]
    assert (listing["list"], listing["entry"], listing["reason"]) == ("local", "192.0.2.0/24", "by hand")
    assert listing["since"] > 0
    assert listing["until"] is None
    assert "by hand" in desk.run("check", "192.0.2.7")
    assert desk.json("check", "198.51.100.1", status=1)["listings"] == []
    assert "is on no list" in desk.run("check", "198.51.100.1", status=1)
    assert "is wanted" in desk.run("check", "not an identity", status=2)


def test_list_tells_what_each_list_is_and_holds(desk: Desk):
    lists = {each["name"]: each for each in desk.json("list")["lists"]}
    assert (lists["local"]["entries"], lists["local"]["state"]) == (1, "ok")
    assert lists["association"]["source"] == "association"
    (desk.folder / "blocklists/local.txt").unlink()
    desk.run("update", status=65)
    assert "is not there" in desk.run("list")


def test_what_is_added_has_reason_owner_and_end_and_goes_again(desk: Desk):
    desk.run("add", "198.51.100.7", "--list", "local", "--reason", "wave", "--owner", "desk", "--until", "2099-01-31")
    (listing,) = desk.json("check", "198.51.100.7")["listings"]
    assert (listing["reason"], listing["until"]) == ("wave", 4_073_587_200.0)
    (row,) = desk.json("history", "local")["additions"]
    assert (row["owner"], row["who"] != "", row["excluded"]) == ("desk", True, False)
    desk.run("remove", "198.51.100.7", "--list", "local")
    assert desk.json("check", "198.51.100.7", status=1)["listings"] == []
    (row,) = desk.json("history", "local")["additions"]
    assert row["removed_by"]


def test_what_the_source_says_is_excluded_with_a_reason_only(desk: Desk):
    assert "--reason" in desk.run("remove", "192.0.2.7", "--list", "local", status=2)
    desk.run("remove", "192.0.2.7", "--list", "local", "--reason", "a partner")
    desk.run("check", "192.0.2.7", status=1)
    desk.run("check", "192.0.2.8")


def test_what_no_source_says_is_not_excluded_by_a_slip(desk: Desk):
    told = desk.run("remove", "198.51.100.7", "--list", "local", "--reason", "a slip", status=1)
    assert "does not list 198.51.100.7" in told.replace("\n", " ")
    assert "--in-advance" in told
    assert desk.run("history", "local").count("excluded") == 0
    desk.run("remove", "198.51.100.7", "--list", "local", "--reason", "a partner", "--in-advance")
    desk.file("blocklists/local.txt", "198.51.100.7\n")
    desk.run("update")
    desk.run("check", "198.51.100.7", status=1)
    # Said once more, with another reason: it is excluded already, so this is no slip.
    desk.run("remove", "198.51.100.7", "--list", "local", "--reason", "still a partner")


def test_what_a_source_says_of_an_entry_is_found_however_it_is_written(place):
    place.declare('[[list]]\nname = "local"\nfile = "local.txt"\n')
    entries = (
        *("192.0.2.7", "192.0.4.7", "192.0.6.0/24", "!192.0.6.9", "2001:db8::7", ".example.com", "*.example.net"),
        *("@example.org", "plain.example", "https://example.edu/pay", "ab" * 32),
    )
    place.write("local.txt", "\n".join(entries))
    place.update()
    source = place.lists.source_of("local")
    for entry in (
        *("192.0.2.7", "192.0.2.0/24", "192.0.6.8-192.0.6.9", "2001:db8::/64", "mail.example.com", ".example.com"),
        *("*.mail.example.com", "*.example.net", "@example.org", "anna@example.org", "@plain.example"),
        *("https://example.edu/pay", "AB" * 32),
    ):
        assert says(source, entry, place.now), entry
    for entry in (
        *("192.0.3.0/24", "192.0.6.9", "2001:db8:1::/64", "example.net", "example.org", "*.plain.example"),
        *("https://example.edu/", "cd" * 32),
    ):
        assert not says(source, entry, place.now), entry


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("add", "no entry", "--list", "local", "--reason", "x"), 2),
        (("add", "192.0.2.7", "--list", "nobody", "--reason", "x"), 1),
        (("remove", "192.0.2.7", "--list", "nobody", "--reason", "x"), 1),
        (("add", "192.0.2.7", "--list", "local", "--reason", "x", "--until", "soon"), 2),
        (("add", "192.0.2.7", "--list", "local", "--reason", "x", "--until", "2020-01-01"), 2),
        (("add", "0.0.0.0/0", "--list", "local", "--reason", "x"), 2),
        (("add", "2000::/3", "--list", "local", "--reason", "x"), 2),
        (("import", "/nonexistent/file", "--source", "association"), 66),
        (("import", "/nonexistent/file"), 2),
        (("import", "/nonexistent/file", "--source", "nobody"), 1),
        (("rollback", "association", "4"), 1),
        (("accept", "association"), 1),
        (("history", "nobody"), 1),
    ],
)
def test_what_cannot_be_done_is_said_with_its_exit_status(desk: Desk, words: tuple[str, ...], status: int):
    assert desk.run(*words, status=status).strip()


def test_an_edition_is_imported_recorded_and_rolled_back(desk: Desk):
    first = desk.file("first.txt", "203.0.113.1\n203.0.113.2\n")
    said = desk.run("import", first, "--source", "association", "--published", "2026-01-05T10:00")
    assert (
        "edition 1 of association: applied, 2 entries, 2 added, 0 removed; deadline 2026-01-06 10:00 +0800 missed"
        in said
    )
    desk.run("import", desk.file("second.txt", "203.0.113.3\n"), "--source", "association")
    desk.run("check", "203.0.113.3")
    desk.run("rollback", "association", "1")
    desk.run("check", "203.0.113.3", status=1)
    editions = desk.json("history", "association")["editions"]
    assert [(each["number"], each["how"], each["met"]) for each in editions] == [
        (3, "rollback", ""),
        (2, "import", "met"),
        (1, "import", "missed"),
    ]
    assert editions[2]["published_known"]
    assert not editions[1]["published_known"]
    assert all(len(each["sha256"]) == 64 and each["who"] for each in editions)


def test_an_edition_that_jumps_is_held_until_it_is_accepted(desk: Desk):
    desk.run("import", desk.file("a", "".join(f"10.0.0.{n}\n" for n in range(200))), "--source", "association")
    said = desk.run("import", desk.file("b", "10.9.9.9\n"), "--source", "association", status=65)
    assert "shrank from 200 to 1" in said
    desk.run("check", "10.0.0.7")
    desk.run("accept", "association")
    desk.run("check", "10.0.0.7", status=1)


def test_bad_lines_are_shown_with_their_place(desk: Desk):
    path = desk.file("a.txt", "203.0.113.1\n999.1.1.1\n")
    assert f"{path}:2: " in desk.run("import", path, "--source", "association").replace("\n", "")


def test_a_time_of_publication_in_the_future_or_unreadable_is_refused(desk: Desk):
    path = desk.file("a.txt", "203.0.113.1\n")
    for time in ("2099-01-01", "yesterday"):
        assert "--published" in desk.run("import", path, "--source", "association", "--published", time, status=2)


def test_a_mistake_in_the_declarations_is_told_with_exit_78(desk: Desk):
    desk.file("blocklists/lists.toml", '[[list]]\nname = "x"\nkind = "grey"\n')
    assert "lists.toml:3" in desk.run("add", "192.0.2.1", "--list", "x", "--reason", "y", status=78).replace("\n", "")


def test_config_check_reads_the_declarations_too(desk: Desk):
    desk.file("tidegate.toml", 'hostname = "mx.test"\ndata = "data"\n[[listen]]\naddress = "127.0.0.1:0"\n')
    desk.file("blocklists/dropped.txt", "192.0.2.7\n")
    check = ["config", "check", "--config", str(desk.folder / "tidegate.toml")]
    done = CliRunner().invoke(app, check)
    assert done.exit_code == 0, done.output
    assert "dropped.txt: used for nothing" in done.output
    desk.file("blocklists/lists.toml", '[[list]]\nname = "x"\nkind = "grey"\n')
    done = CliRunner().invoke(app, check)
    assert done.exit_code == 78
    assert "lists.toml:3: list[1].kind" in done.output


def test_before_anything_was_kept_the_command_says_what_to_do(tmp_path: Path):
    found = Desk(tmp_path)
    assert "blocklist update" in found.run("list", status=69)


def test_the_journal_tells_of_editions_that_commands_bring_in(desk: Desk):
    """While no gateway serves, the command writes it; the system tests have one serve."""
    desk.run("import", desk.file("a.txt", "203.0.113.1\n999.1.1.1\n"), "--source", "association")
    desk.run("rollback", "association", "1")
    told = JournalReader(desk.folder / "data/journal").of_kind("list_applied", 0.0)
    assert [event.edition for event in told if event.list == "association"] == [1, 2]


def test_changes_are_in_the_audit_trail(desk: Desk):
    desk.run("add", "198.51.100.7", "--list", "local", "--reason", "wave")
    done = CliRunner().invoke(app, ["audit", "--json", "--config", str(desk.folder / "tidegate.toml")])
    (row,) = json.loads(done.output)
    assert (row["operation"], row["target"]) == ("blocklist add", "local")
    assert "198.51.100.7: wave" in row["changes"][0]
