"""The registry by file: a file that breaks the rules stops the start with its name; no question is left unasked."""

import importlib.util
import sys

import pytest

from gateway.filters import CatalogueError, catalogue, filter_of

GOOD = """
from gateway.policy.action import Stage
from gateway.policy.filter import Filter, NoOptions
class Ok(Filter[NoOptions]):
    stage = Stage.DATA
    results = {"bad": "it is bad"}
    on = {"bad": 1.0, "temperror": 0.5}
    async def examine(self, tx, ctx):
        return None
"""


@pytest.fixture
def module(tmp_path):
    def load(text: str):
        path = tmp_path / "lonely_file.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location("lonely_file", path)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules["lonely_file"] = loaded
        spec.loader.exec_module(loaded)
        return loaded

    yield load
    sys.modules.pop("lonely_file", None)


def test_the_filters_of_this_issue_are_found_by_their_files_names():
    assert list(catalogue()) == sorted(catalogue())
    assert {"early-talker", "header-sanity", "helo", "hop-count", "size"} <= set(catalogue())


def test_a_filter_is_named_after_its_file(module):
    assert filter_of(module(GOOD)).name == "lonely-file"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "class Ok(",
            "class Ok(Filter[NoOptions]): pass\nclass Also(",
            "exactly one Filter class is wanted, found Ok, Also",
        ),
        ("(Filter[NoOptions])", "", "found none"),
        ("    stage = Stage.DATA\n", "", "has no stage"),
        ("async def examine", "async def other", r"has no examine\(\)"),
        ('"it is bad"', '""', "declares an empty meaning"),
        ('{"bad": "it is bad"}', "{}", "declares no results"),
        ('{"bad": 1.0,', '{"badd": 1.0,', "reacts to undeclared results"),
        ('{"bad": 1.0,', '{"bad": "reject",', "neither a number nor an Action"),
        ("    stage", "    per_recipient = True\n    stage", "per_recipient outside the ENVELOPE stage"),
    ],
)
def test_a_file_that_is_no_filter_is_named(module, old, new, complaint):
    assert old in GOOD
    with pytest.raises(CatalogueError, match=f"lonely_file: .*{complaint}"):
        filter_of(module(GOOD.replace(old, new)))
