"""The README's five questions, run as they stand there by sqlite-utils' and datasette's own commands on a record that
has answers: what an abuse team is told to type must tell it something."""

import contextlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import datasette.cli
import pytest
import sqlite_utils.cli
from click.testing import CliRunner

from gateway.clock import SystemClock
from gateway.incidents import IncidentBook, State
from gateway.incidents.schema import FILE_NAME, FOLDER
from gateway.incidents.states import TRANSITIONS
from tests.incidents.conftest import DAY, Desk, sighting

README = (Path(__file__).parents[2] / "gateway/incidents/README.md").read_text(encoding="utf-8")
QUESTIONS = re.findall(r"```sh\n(sqlite-utils .*)\n(datasette .*)\n```", README)


@pytest.fixture
def asked(desk: Desk) -> Path:
    """Return a folder whose record has something for each question."""
    now = SystemClock().stamp().utc
    desk.clock.advance(now - desk.clock.stamp().utc)
    desk.book = IncidentBook(desk.data, clock=desk.clock, lookup=lambda _: (64500, "Example Networks"))
    desk.fold([sighting(1, at=now - 3), sighting(2, at=now - 2), sighting(3, "192.0.2.8", at=now - 1)])
    desk.move(1, State.CONFIRMED)
    with desk.book.change("li", "x") as change:
        change.start_clock("complaint-outcome", "T-1", now + DAY / 2, incident=1)
        change.start_clock("complaint-response", "T-2", now - 60, incident=1)
    (desk.data / "data").mkdir()
    (desk.data / FOLDER).rename(desk.data / "data" / FOLDER)
    return desk.data


PROGRAMS = {"sqlite-utils": sqlite_utils.cli.cli, "datasette": datasette.cli.cli}


def answer(folder: Path, question: str) -> list[dict[str, object]]:
    """Run a command as a shell would, within this process: datasette takes a second to begin."""
    program, *words = [word for word in shlex.split(question) if word != "--table"]
    with contextlib.chdir(folder):
        done = CliRunner().invoke(PROGRAMS[program], words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


ANSWERS = (
    [("source", "192.0.2.7/32"), ("sightings", 2), ("network", "Example Networks")],
    [("incident", 1), ("state", "confirmed")],
    [("kind", "complaint-response"), ("overdue", 1)],
    [("incident", 2), ("text", "代开发票 Invoice")],
    [("ground", "advertising"), ("sightings", 3)],
)


def test_there_are_five_questions():
    assert len(QUESTIONS) == len(ANSWERS) == 5


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("program", [0, 1], ids=["sqlite-utils", "datasette"])
def test_a_question_has_its_answer(asked: Path, number: int, program: int):
    found = answer(asked, QUESTIONS[number][program])
    assert found
    for name, value in ANSWERS[number]:
        assert found[0][name] == value


def test_datasette_shows_the_views_as_pages(asked: Path):
    page = "/incidents/spam_sources.json?_shape=array&source=192.0.2.7/32"
    [row] = answer(asked, f'datasette data/incidents/incidents.sqlite --get "{page}"')
    assert row["sightings"] == 2


def test_a_question_shows_as_a_table(asked: Path):
    done = subprocess.run(
        [sys.executable, "-m", "sqlite_utils", *shlex.split(QUESTIONS[0][0])[1:]],
        cwd=asked,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "192.0.2.7/32" in done.stdout


def test_the_readme_has_the_table_of_states_that_holds():
    section = README.partition("## States")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")
    ]
    held = [
        [before.value, after.value, step.meaning, step.block.value] for (before, after), step in TRANSITIONS.items()
    ]
    assert rows[2:] == held


def test_the_readme_names_every_table_column_and_view(desk: Desk):
    desk.fold([sighting(1)])
    reader = desk.reader()
    section = README.partition("## The schema")[2].partition("\n## ")[0]
    tables = dict(re.findall(r"^\| `(\w+)` \| [^|]*\| ([^|]*)\|$", section, re.MULTILINE))
    for table, text in tables.items():
        columns = {row[1] for row in reader.rows(f"PRAGMA table_info({table})")}
        assert columns, table
        named = set(re.findall(r"`(\w+)`", text))
        assert columns - named - {"id"} == set(), table
    views = set(re.findall(r"^\| `(\w+)` \| [^|]*\|$", section, re.MULTILINE))
    there = {row[0] for row in reader.rows("SELECT name FROM sqlite_master WHERE type = 'view'")}
    assert {"spam_sources", "open_incidents", "deadlines_due", "reports_sent"} <= views & there


def test_the_database_is_where_the_readme_says(desk: Desk):
    desk.fold([sighting(1)])
    assert (desk.data / FOLDER / FILE_NAME).exists()
    assert f"data/{FOLDER}/{FILE_NAME}" in README
