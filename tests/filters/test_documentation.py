"""gateway/filters/README.md is what administrators read; a word that differs from the code costs them mail."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import gateway.filters
from gateway.filters import catalogue
from gateway.policy.action import Action

README = (Path(gateway.filters.__file__).parent / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL))


def rows(section: str, title: str) -> dict[str, list[str]]:
    """Return the rows of the table whose first column is called ``title``."""
    table = re.search(rf"^\| {title} \|.*?(?=\n\n|\Z)", section, re.MULTILINE | re.DOTALL)
    lines = table[0].split("\n")[2:] if table else []
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0].strip("`"): row[1:] for row in cells}


def reaction(value: float | Action | None) -> str:
    if value is None:
        return "ignore"
    return value.word if isinstance(value, Action) else f"{value:g}"


@pytest.mark.parametrize("name", catalogue())
def test_every_filter_is_described_as_it_is(name):
    kind = catalogue()[name]
    section = SECTIONS[name]
    described = rows(section, "result")
    assert list(described) == list(kind.results)
    for result, (meaning, shipped, *ground) in described.items():
        assert meaning == kind.results[result]
        assert shipped == reaction(kind.on.get(result))
        expected = kind.grounds[result].value if result in kind.grounds else ""
        assert (ground[0] if ground else "") == expected
    assert set(rows(section, "option")) == {field.name for field in fields(kind.Options)}
    assert f"Stage {kind.stage}" in section
    assert f"Reply {kind.reject.code} {kind.reject.status}" in section
    assert re.search(r"RFC \d+", section)


@pytest.mark.parametrize("name", catalogue())
def test_the_module_docstring_states_the_question_and_its_source(name):
    docstring = __import__(catalogue()[name].__module__, fromlist=["x"]).__doc__
    question = docstring.split("\n")[0]
    assert re.match(r".*\? See RFC \d+ §", question)
    assert question.split("?")[0] + "?" in SECTIONS[name]


def test_nothing_is_described_that_does_not_exist():
    assert set(SECTIONS) - {"Adding"} == set(catalogue())


@pytest.mark.parametrize("name", catalogue())
def test_no_shipped_reaction_discards(name):
    """Invariant 9: discard is never a default."""
    assert Action.DISCARD not in catalogue()[name].on.values()
