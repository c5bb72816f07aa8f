"""A command that takes its options as values: typer must see each of them, with its help, default and demand."""

from dataclasses import dataclass, field
from typing import Annotated

import typer
from typer.testing import CliRunner

from gateway.cli.grouping import grouped


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    name: Annotated[str, typer.Option("--name", help="Whose.")]
    tags: Annotated[list[str], typer.Option("--tag", help="Repeat.")] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    place: Annotated[str, typer.Option("--place")] = "here"


app = typer.Typer()


@app.command()
@grouped
def tell(number: Annotated[int, typer.Argument()], who: Who, where: Where, *, loud: bool = False) -> None:
    """Tell."""
    typer.echo(f"{number} {who.name} {who.tags} {where.place} {loud}")


def run(*arguments: str):
    return CliRunner().invoke(app, [*arguments])


def test_each_field_is_an_option_and_the_command_gets_the_values():
    told = run("7", "--name", "anna", "--tag", "a", "--tag", "b", "--place", "there", "--loud")
    assert (told.exit_code, told.stdout) == (0, "7 anna ['a', 'b'] there True\n")


def test_what_is_not_given_has_its_default_anew_each_time():
    assert run("7", "--name", "anna", "--tag", "a").exit_code == 0
    assert run("7", "--name", "anna").stdout == "7 anna [] here False\n"


def test_a_field_without_a_default_is_demanded():
    refused = run("7")
    assert refused.exit_code == 2
    assert "--name" in refused.output


def test_the_help_has_the_commands_own_words_and_every_option():
    told = run("--help").output
    for word in ("Tell.", "--name", "Whose.", "--tag", "--place", "--loud"):
        assert word in told
