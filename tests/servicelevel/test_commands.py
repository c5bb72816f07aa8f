"""The commands put on record what was meant, refuse what makes no sense, and answer programs too."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from gateway.cli.main import app
from gateway.config.service_level import ServiceTerms
from gateway.servicelevel.book import Writer
from gateway.servicelevel.records import Records
from tests.house.conftest import CONFIGURATION

EXCLUDE = ("sla", "exclude", "--clause", "delay", "--class", "e", "--customer", "example", "--reason", "line cut")
WHEN = ("--from", "2026-11-20T10:00", "--to", "2026-11-20T11:00")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIDEGATE_CONFIG", raising=False)
    (tmp_path / "policies").mkdir()
    (tmp_path / "blocklists").mkdir()
    (tmp_path / "tidegate.toml").write_text(CONFIGURATION + "\n", encoding="utf-8")
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [*arguments, "--config", str(tmp_path / "tidegate.toml")])


@pytest.fixture
def data(run, tmp_path):
    from gateway.cli.reach import data_folder  # noqa: PLC0415 - as the commands find it

    folder = data_folder(tmp_path / "tidegate.toml")
    Writer(Records(folder), 1_790_000_000.0, "x").set_terms("example", ServiceTerms(), {"example.test": "operator"})
    return folder


def test_an_exclusion_is_recorded_in_the_customers_time_with_who_and_why(run, data):
    assert "no. 2" in run(*EXCLUDE, *WHEN, "--by", "anna").stdout
    [line] = run("sla", "exclusions").stdout.splitlines()
    assert line.split("\t") == [
        "2",
        "delay",
        "e",
        "2026-11-20 10:00:00",
        "2026-11-20 11:00:00",
        "example",
        "line cut",
        "anna",
        "counts",
    ]
    [found] = Records(data).read()[1:]
    # 10:00 in Shanghai is 02:00 UTC.
    assert found.values["start"] % 86_400 == 2 * 3600
    assert run("sla", "withdraw", "2", "--reason", "twice").exit_code == 0
    assert "withdrawn" in run("sla", "exclusions").stdout
    assert run("sla", "withdraw", "2", "--reason", "twice").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (*EXCLUDE, "--from", "2026-11-20T11:00", "--to", "2026-11-20T10:00"),
        (*EXCLUDE, "--from", "yesterday", "--to", "2026-11-20T10:00"),
        (*EXCLUDE[:3], "spam", *EXCLUDE[4:], *WHEN),
        (*EXCLUDE[:5], "g", *EXCLUDE[6:], *WHEN),
        ("sla", "report", "--customer", "example", "--format", "docx"),
        ("sla", "report", "--customer", "example", "--month", "2026-13"),
        ("sla", "billing", "--month", "2026-11", "--billed", "1", "--wrong", "2"),
        ("deadline", "open", "lunch", "today"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error_and_leaves_no_record(run, data, arguments):
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert len(Records(data).read()) == 1


def test_a_customer_nobody_knows_is_told_with_those_who_are_known(run, data):
    result = run("sla", "report", "--customer", "exmaple")
    assert result.exit_code == 1
    assert "known: example" in result.stderr


def test_an_altered_record_ends_every_command_with_65(run, data):
    run(*EXCLUDE, *WHEN)
    run(*EXCLUDE, *WHEN)
    path = Records(data).path
    path.write_text(path.read_text().replace("line cut", "line c0t", 1))
    for command in (("sla", "status"), ("deadline", "list"), (*EXCLUDE, *WHEN)):
        assert run(*command).exit_code == 65


@pytest.mark.parametrize("form", ["text", "html", "csv", "json"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_report_comes_in_every_form(run, data, tmp_path, form, language):
    file = tmp_path / "report"
    options = ("--customer", "example", "--lang", language, "--format", form)
    shown = run("sla", "report", *options)
    assert shown.exit_code in {0, 1}, shown.output
    assert "example" in shown.stdout
    assert run("sla", "report", *options, "--output", str(file)).stdout == ""
    assert "example" in file.read_text(encoding="utf-8")


def test_a_clock_is_opened_met_and_listed(run, data):
    assert run("deadline", "open", "ticket-response", "T-1", "--customer", "example").exit_code == 0
    listed = run("deadline", "list", "--json")
    assert listed.exit_code == 0
    assert '"state": "open"' in listed.stdout
    assert run("deadline", "met", "2").exit_code == 0
    assert run("deadline", "list").stdout == ""
    assert '"state": "met"' in run("deadline", "list", "--all", "--json").stdout
    assert run("deadline", "met", "2").exit_code == 2


def test_an_overdue_clock_is_a_negative_answer(run, data):
    run("deadline", "open", "provisioning", "mail for example.test", "--from", "2026-01-05T10:00")
    listed = run("deadline", "list")
    assert listed.exit_code == 1
    assert "overdue" in listed.stdout
    # A day from ten in the morning in Shanghai, in UTC as every list of the gateway has it.
    assert "2026-01-06 02:00:00Z" in listed.stdout


def test_the_status_names_clocks_that_are_about_to_be_missed(run, data):
    began = datetime.now(UTC) - timedelta(hours=20)
    run("deadline", "open", "provisioning", "mail for example.test", "--customer", "example", "--from", str(began))
    run("deadline", "open", "provisioning-with-domain", "not yet", "--customer", "example", "--from", str(began))
    status = run("sla", "status", "--customer", "example")
    assert status.exit_code == 0
    assert "mail for example.test" in status.stdout
    assert "near" in status.stdout
    assert "not yet" not in status.stdout
    run("deadline", "open", "provisioning", "late", "--from", str(began - timedelta(hours=9)))
    assert run("sla", "status").exit_code == 1
    assert [line["standing"] for line in json.loads(run("sla", "status", "--json").stdout)][-2:] == ["overdue", "near"]


def test_a_time_for_customers_of_several_zones_names_its_offset(run, data):
    terms = ServiceTerms(zone="Europe/Berlin")
    Writer(Records(data), 1_790_000_000.0, "x").set_terms("other", terms, {"other.test": "operator"})
    for_all = ("sla", "exclude", "--clause", "delay", "--class", "f", "--reason", "flood")
    assert run(*for_all, *WHEN).exit_code == 2
    assert len(Records(data).read()) == 2
    assert run(*for_all, "--from", "2026-11-20T10:00+08:00", "--to", "2026-11-20T11:00+08:00").exit_code == 0


def test_a_clock_of_one_who_is_no_customer_yet_is_not_everybodys(run, data):
    order = ("provisioning", "order 4711", "--customer", "newcomer", "--from", "2026-01-05T10:00")
    opened = run("deadline", "open", *order)
    assert opened.exit_code == 0, opened.output
    assert '"customer": "newcomer"' in run("deadline", "list", "--json").stdout
    assert "order 4711" not in run("sla", "status", "--customer", "example").stdout
    assert "order 4711" in run("sla", "status").stdout, "it is about to be missed, or was"
    assert run("deadline", "open", "ticket-response", "T-1", "--customer", "newcomer").exit_code == 1
