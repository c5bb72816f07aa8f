"""``tidegate init``, ``config`` and ``policy``: what they print, and the exit status scripts rely on."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli import config, policy
from gateway.cli.init import init

app = typer.Typer()
app.add_typer(config.app, name="config")
app.add_typer(policy.app, name="policy")
app.command()(init)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a command in an empty folder, where no file of this machine is the configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gateway.config.loader.SYSTEM_PATH", tmp_path / "none")
    monkeypatch.delenv("TIDEGATE_CONFIG", raising=False)
    runner = CliRunner()
    return lambda *arguments, **options: runner.invoke(app, [str(argument) for argument in arguments], **options)


@pytest.fixture
def initialised(run, tmp_path) -> Path:
    assert run("init", "etc").exit_code == 0
    return tmp_path / "etc" / "tidegate.toml"


def break_it(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8") + "\n[shmtp]\n", encoding="utf-8")


def test_what_init_writes_is_checked_ok(run, initialised):
    result = run("config", "check", "--config", initialised)
    assert result.exit_code == 0
    assert re.fullmatch(
        rf"ok: {re.escape(str(initialised))}, 2 domains, \d+ rules, digest [0-9a-f]{{12}}\n", result.stdout
    )


def test_init_refuses_to_overwrite(run, initialised):
    result = run("init", initialised.parent)
    assert result.exit_code == 1
    assert str(initialised) in result.stderr


def test_init_says_what_cannot_be_written(run, tmp_path):
    (tmp_path / "file").touch()
    result = run("init", tmp_path / "file")
    assert result.exit_code == 1
    assert "cannot be written" in result.stderr


@pytest.mark.parametrize(
    "command", [("config", "check"), ("config", "show"), ("policy", "list"), ("policy", "show", "a@example.test")]
)
def test_a_wrong_configuration_exits_78_with_file_and_line(run, initialised, command):
    break_it(initialised)
    line = initialised.read_text(encoding="utf-8").count("\n")
    result = run(*command, "--config", initialised)
    assert result.exit_code == 78
    assert result.stderr.startswith(f"{initialised}:{line}: shmtp: unknown key")
    assert result.stdout == ""


def test_problems_as_json(run, initialised):
    break_it(initialised)
    result = run("config", "check", "--json", "--config", initialised)
    assert result.exit_code == 78
    answer = json.loads(result.stdout)
    assert answer["ok"] is False
    assert [problem["key"] for problem in answer["problems"]] == ["shmtp"]


def test_the_environment_names_the_file(run, initialised):
    result = run("config", "check", env={"TIDEGATE_CONFIG": str(initialised)})
    assert f"ok: {initialised}" in result.stdout


def test_a_file_in_the_folder_is_found(run, initialised, monkeypatch):
    monkeypatch.chdir(initialised.parent)
    assert run("config", "check").stdout.startswith("ok: tidegate.toml,")


def test_without_a_file_the_embedded_default_is_shown(run, tmp_path):
    result = run("config", "show")
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["data"] == str(tmp_path / "var")
    assert "# embedded default:" in result.stdout


def test_config_show_names_the_line_of_each_key(run, initialised):
    text = run("config", "show", "--config", initialised).stdout
    number = initialised.read_text(encoding="utf-8").split("\n").index('hostname = "mx1.example.test"') + 1
    assert f"# {initialised}:{number}\n" in text
    assert "smtp" not in tomllib.loads(text)
    assert (
        tomllib.loads(run("config", "show", "--defaults", "--config", initialised).stdout)["smtp"]["greet_delay"]
        == "0s"
    )


def test_config_show_as_json(run, initialised):
    answer = json.loads(run("config", "show", "--defaults", "--json", "--config", initialised).stdout)
    keys = {entry["key"]: entry for entry in answer["keys"]}
    assert keys["smtp.greet_delay"] == {"key": "smtp.greet_delay", "value": "0s", "file": "built-in", "line": 0}
    assert keys["listen[1].address"]["value"] == "127.0.0.1:2525"


def test_policy_show_merges_and_names_places(run, initialised):
    file = initialised.parent / "policies" / "example.test.toml"
    file.write_text(
        file.read_text(encoding="utf-8") + '\n[mailbox."boss@example.test".scores]\ntag = 2\n', encoding="utf-8"
    )
    line = file.read_text(encoding="utf-8").count("\n")
    result = run("policy", "show", "Boss@example.test", "--config", initialised)
    assert result.exit_code == 0
    assert [text.split("# ")[1] for text in result.stdout.splitlines() if text.startswith("tag = 2.0")] == [
        f"{file}:{line}"
    ]
    answer = json.loads(run("policy", "show", "example.test", "--json", "--config", initialised).stdout)
    tag = next(entry for entry in answer["keys"] if entry["key"] == "scores.tag")
    assert (answer["policy"], tag["value"], tag["file"]) == ("example.test", 5.0, "built-in")


def test_policy_show_of_a_foreign_address_is_a_negative_answer(run, initialised):
    result = run("policy", "show", "anna@example.org", "--config", initialised)
    assert result.exit_code == 1
    assert "no policy claims example.org" in result.stderr


def test_policy_show_of_no_address_is_a_usage_error(run, initialised):
    assert run("policy", "show", "anna bernd@example.org", "--config", initialised).exit_code == 2


def test_policy_list(run, initialised):
    rows = json.loads(run("policy", "list", "--json", "--config", initialised).stdout)
    assert [(row["policy"], row["domains"]) for row in rows] == [("example.test", ["example.test", "localhost"])]
    assert "example.test, localhost" in run("policy", "list", "--config", initialised).stdout


def test_help_does_not_load_pydantic():
    """Start-up time: pydantic costs as much as the whole interpreter."""
    code = "import sys, gateway.cli.config, gateway.cli.policy, gateway.cli.init; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
