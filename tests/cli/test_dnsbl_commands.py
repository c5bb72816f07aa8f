"""``tidegate dnsbl``: what an operator is told of listings and of lists, and the exit status that scripts rely on."""

import json

import pytest
from typer.testing import CliRunner

from gateway.cli import dnsbl
from gateway.dns.zone import ZoneResolver

POLICY = """
domains = ["example.com"]
next_hop = ["smtp://10.1.0.5:25"]
[filters.dnsbl]
lists = [{ zone = "list.test", codes = { "127.0.0.[2-8]" = 6.0 } }, { zone = "allow.test", score = -2.0 }]
[filters.uribl]
lists = [{ zone = "uri.test", score = 5.0 }]
"""
ZONE = """
2.0.0.127.list.test A 127.0.0.2
7.100.51.198.list.test A 127.0.0.4
7.100.51.198.list.test TXT caught by a trap
2.0.0.127.allow.test A 127.0.5.1
9.100.51.198.allow.test A 127.0.5.1
8.100.51.198.list.test A 127.255.255.254
bad.example.uri.test A 127.0.1.2
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "example.toml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "tidegate.toml").write_text(
        'hostname = "mx.ours.test"\ndata = "var"\n[[listen]]\naddress = "127.0.0.1:0"\n', encoding="utf-8"
    )
    monkeypatch.setattr("gateway.dns.resolver.DnspythonResolver", lambda *_: ZoneResolver(ZONE))
    runner = CliRunner()
    return lambda *words: runner.invoke(dnsbl.app, [*words, "--config", str(tmp_path / "tidegate.toml")])


def test_a_listed_address_is_told_with_code_score_and_words(run):
    result = run("check", "198.51.100.7")
    assert result.exit_code == 1
    assert [line.split("\t") for line in result.stdout.splitlines()] == [
        ["198.51.100.7", "list.test", "listed", "127.0.0.4", "6", "caught by a trap"],
        ["198.51.100.7", "allow.test", "not-listed", "", "", ""],
        ["198.51.100.7", "uri.test", "not-listed", "", "", ""],
    ]


def test_an_allow_listing_is_no_bad_news(run):
    result = run("check", "198.51.100.9", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["identity"] == "198.51.100.9"
    assert [row["score"] for row in found["lists"]] == [None, -2.0, None]


def test_what_no_list_could_tell_is_not_unlisted(run):
    result = run("check", "198.51.100.8")
    assert result.exit_code == 75
    assert "dnsbl_error\t\t\tlist.test: refuses to answer us (127.255.255.254)" in result.stdout


def test_a_list_that_two_filters_ask_is_told_once_for_each_score(run, tmp_path):
    policy = tmp_path / "policies" / "example.toml"
    policy.write_text(
        POLICY
        + '[filters.rhsbl]\nlists = [{ zone = "uri.test", score = 5.0 }, { zone = "other.test", score = 1.0 }]\n',
        encoding="utf-8",
    )
    assert [line.split("\t")[:2] for line in run("check", "good.example").stdout.splitlines()] == [
        ["good.example", "uri.test"],
        ["good.example", "other.test"],
    ]
    policy.write_text(POLICY + '[filters.rhsbl]\nlists = [{ zone = "uri.test", score = 2.0 }]\n', encoding="utf-8")
    told = [line.split("\t")[:5] for line in run("check", "bad.example").stdout.splitlines()]
    assert [(row[1], row[4]) for row in told] == [("uri.test", "2"), ("uri.test", "5")]


def test_a_name_is_asked_of_lists_of_names(run):
    result = run("check", "anna@Spam.Example")
    assert result.exit_code == 0
    assert result.stdout == "spam.example\turi.test\tnot-listed\t\t\t\n"


@pytest.mark.parametrize("asked", ["www.bad.example", "https://u@WWW.bad.example:8080/pay?x=1", "anna@www.bad.example"])
def test_a_name_is_asked_about_as_mail_would_be(run, asked):
    result = run("check", asked)
    assert result.exit_code == 1
    assert [line.split("\t")[:3] for line in result.stdout.splitlines()] == [
        ["bad.example", "uri.test", "listed"],
        ["www.bad.example", "uri.test", "not-listed"],
    ]


def test_the_address_in_a_link_is_asked_about_as_browsers_read_it(run):
    assert run("check", "http://3325256711/").stdout.startswith("198.51.100.7\tlist.test\tlisted")


def test_zones_given_are_asked_instead(run):
    result = run("check", "198.51.100.7", "--zone", "list.test", "--zone", "other.test")
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == ["list.test", "other.test"]
    assert result.exit_code == 1


@pytest.mark.parametrize("words", [["check", "not a name"], ["check", "192.0.2.1", "--zone", "Not A Zone"]])
def test_a_typing_error_is_a_usage_error(run, words):
    assert run(*words).exit_code == 2


def test_health_names_the_lists_that_cannot_be_believed(run):
    result = run("health", "--json")
    assert result.exit_code == 1
    states = {row["zone"]: (row["lists"], row["state"]) for row in json.loads(result.stdout)}
    assert states == {
        "list.test": ("addresses", "healthy"),
        "allow.test": ("addresses", "healthy"),
        "uri.test": ("names", "blind"),
    }
    assert run("health", "--zone", "list.test").exit_code == 0


def test_without_lists_it_says_how_to_name_one(run, tmp_path):
    (tmp_path / "policies" / "example.toml").write_text(POLICY.partition("[filters")[0], encoding="utf-8")
    for words in (["check", "192.0.2.1"], ["health"]):
        result = run(*words)
        assert result.exit_code == 1
        assert "[filters.dnsbl]" in result.stderr
