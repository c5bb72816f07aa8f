"""policies/README.md documents every key, subject and operator of rules, and its examples are rules.

An administrator writes what the page shows; what is missing there is not found, and what is stale there does not load.
"""

import re
import tomllib

import pytest

from gateway.config.embedded import shipped
from gateway.rules.operators import OPERATORS
from gateway.rules.reading import KEYS, Surroundings, read_rules
from gateway.rules.subjects import SUBJECTS

README = (shipped("policies") / "README.md").read_text(encoding="utf-8")
RULES = README[README.index("## Custom rules") :]
ROWS = {cells[0].strip("` "): cells[1:] for cells in (line.strip("| ").split(" | ") for line in RULES.splitlines())}
FILTERS = {name: frozenset() for name in ("dnsbl", "helo", "virus", "size")} | {
    "spf": frozenset({"fail", "softfail", "pass"}),
    "dkim": frozenset({"pass"}),
    "dmarc": frozenset({"pass", "fail"}),
    "virus": frozenset({"infected"}),
    "helo": frozenset({"bare-ip"}),
}


def read(text):
    def list_text(name):
        return {"senders.txt": "a@sender.example\n", "bad-domains.txt": "bad.example\n"}[name]

    surroundings = Surroundings(list_text=list_text, filters=FILTERS, place=lambda _: "x:1")
    return read_rules(tomllib.loads(text)["rule"], surroundings)


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=lambda subject: subject.name)
def test_every_subject_has_a_row_with_an_example_that_loads(subject):
    name = f"{subject.name}.{subject.parameter}" if subject.parameter else subject.name
    kind, meaning, example = ROWS[name]
    assert (kind, meaning) == (subject.kind.value, subject.meaning)
    condition = example.strip("`")
    assert subject.name.split(".")[0] in condition
    assert read(f'[[rule]]\nname = "x"\nwhen = {{ {condition} }}\nscore = 1\n').complaints == ()


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.name)
def test_every_operator_has_a_row(operator):
    kinds, meaning = ROWS[operator.name]
    assert meaning == operator.meaning
    wanted = {"all"} if len(operator.kinds) == len(type(next(iter(operator.kinds)))) else {*operator.kinds}
    assert set(kinds.split(", ")) == wanted


def test_every_key_has_a_row():
    assert [key for key in KEYS if key not in ROWS] == []


def test_rules_in_the_examples_load():
    examples = [text for text in re.findall(r"```toml\n(.*?)```", RULES, re.DOTALL) if "[[rule]]" in text]
    assert len(examples) >= 2
    assert [complaint for text in examples for complaint in read(text).complaints] == []
