"""The commands on a folder where no gateway serves: what they show, what they put on record, how they end."""

import csv
import io
import json
import re
import time

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from tests.abuse_desk.conftest import SPAM, Desk, arf
from tests.abuse_desk.test_reports import SETTINGS, spam


def ask(case: Desk, *arguments: str, text: str = ""):
    return CliRunner().invoke(app, [*arguments, "--config", str(case.folder / "tidegate.toml")], input=text)


# As every command gives a time to a program: UTC, and says so.
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def now(desk):
    """Make a desk whose clock is this machine's, as the commands' is."""

    def make(more: str = "") -> Desk:
        case: Desk = desk(more)
        case.clock.advance(time.time() - case.clock.stamp().utc)
        return case

    return make


@pytest.fixture
def ticketed(now) -> Desk:
    case: Desk = now()
    case.receive(arf(SPAM % b"01KAQ6WQ00000000000000000X"))
    case.round()
    return case


def test_a_ticket_is_listed_shown_and_answered_on_record(ticketed: Desk):
    [listed] = json.loads(ask(ticketed, "complaint", "list", "--json").stdout)
    assert (listed["id"], listed["format"], listed["reporter"]) == (1, "arf", "kim@isp.test")
    assert TIME.fullmatch(listed["outcome_due"])
    [row] = csv.DictReader(io.StringIO(ask(ticketed, "complaint", "list", "--csv").stdout))
    assert (row["reporter"], row["outcome_due"]) == (listed["reporter"], listed["outcome_due"])
    assert json.loads(ask(ticketed, "complaint", "show", "1", "--json").stdout)["opened_at"] == listed["opened_at"]
    shown = ask(ticketed, "complaint", "show", "1")
    assert "kim@isp.test" in shown.stdout
    assert "acknowledgement" in shown.stdout
    answered = ask(ticketed, "complaint", "answer", "1", "-", text="Stopped.\n")
    assert (answered.exit_code, answered.stdout) == (0, "ticket 1: outcome to kim@isp.test\n")
    assert ticketed.ticket().outcome == "Stopped.\n"
    assert "complaint answer" in ask(ticketed, "audit").stdout
    # Nothing is left to do, and what is closed stays closed.
    assert ask(ticketed, "complaint", "list").exit_code == 1
    assert len(json.loads(ask(ticketed, "complaint", "list", "--all", "--json").stdout)) == 1
    again = ask(ticketed, "complaint", "answer", "1", "Once more.")
    assert (again.exit_code, "closed" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "7"),
        ("answer", "7", "x"),
        ("answer", "1", " "),
        ("answer", "1", "x", "--lang", "fr"),
        ("list", "--state", "y"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(ticketed: Desk, arguments):
    done = ask(ticketed, "complaint", *arguments)
    assert done.exit_code in {1, 2}
    assert "Traceback" not in done.stderr
    assert ticketed.ticket().state == "answered"


def test_without_anything_on_record_the_lists_are_empty(now):
    case: Desk = now()
    for command in (("complaint", "list"), ("report", "list"), ("report", "operator", "--dry-run")):
        assert ask(case, *command).exit_code == 1


def test_a_dry_run_shows_the_mails_and_changes_nothing(now):
    case: Desk = now(SETTINGS)
    spam(case)
    shown = ask(case, "report", "operator", "--dry-run", "--mails")
    assert "abuse@hoster.test" in shown.stdout
    assert "message/feedback-report" in shown.stdout
    [batch, *_] = json.loads(ask(case, "report", "association", "--dry-run", "--json").stdout)
    assert (batch["recipient"], batch["incidents"]) == ("spam@association.test", [1])
    assert case.mails() == []
    assert case.rows("SELECT * FROM report") == []


def test_nothing_leaves_while_reporting_is_switched_off(now):
    case: Desk = now(SETTINGS.replace("enabled = true", "enabled = false"))
    spam(case)
    done = ask(case, "report", "operator")
    assert "nothing was sent" in done.stderr
    assert case.mails() == []


def test_reports_written_by_hand_are_on_record_and_audited(now):
    case: Desk = now(SETTINGS)
    spam(case)
    assert ask(case, "report", "operator").exit_code == 0
    [report] = json.loads(ask(case, "report", "list", "--kind", "operator", "--json").stdout)
    assert (report["recipient"], report["state"], report["incident"]) == ("abuse@hoster.test", "composed", 1)
    assert json.loads(ask(case, "report", "list", "--incident", "1", "--json").stdout) == [report]
    assert TIME.fullmatch(report["at"])
    [row] = csv.DictReader(io.StringIO(ask(case, "report", "list", "--csv").stdout))
    assert (row["recipient"], row["at"]) == (report["recipient"], report["at"])
    assert f"{report['at'][:19]}Z".replace("T", " ") in ask(case, "report", "list").stdout
    assert "1 written; from no terminal" in ask(case, "audit").stdout


def test_a_source_that_has_nobody_to_tell_is_listed_as_that_and_not_as_a_report_that_was_written(desk):
    case: Desk = desk("[reporting]\nenabled = true\n")
    spam(case)
    assert ask(case, "report", "operator").exit_code == 1
    [report] = json.loads(ask(case, "report", "list", "--json").stdout)
    assert (report["recipient"], report["state"]) == ("", "nobody")
    assert json.loads(ask(case, "report", "list", "--state", "nobody", "--json").stdout) == [report]
    assert ask(case, "report", "list", "--state", "written").exit_code == 1
