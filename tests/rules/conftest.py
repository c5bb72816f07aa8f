"""Rules from TOML, as the configuration gives them."""

import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from gateway.policy.rule import Rule, RuleLayer
from gateway.rules.group import RuleGroup, compile_layer
from gateway.rules.reading import Reading, Surroundings, read_rules

FILTERS: Mapping[str, frozenset[str]] = {
    "spf": frozenset({"none", "pass", "fail", "softfail", "neutral", "temperror", "permerror"}),
    "dkim": frozenset({"none", "pass", "fail", "temperror", "permerror"}),
    "dmarc": frozenset({"none", "pass", "fail", "temperror", "permerror"}),
    "dnsbl": frozenset({"listed", "allowed", "temperror"}),
    "antivirus": frozenset({"clean", "infected", "temperror"}),
    "helo": frozenset({"bare-ip", "syntax", "temperror"}),
}


def reading(
    tables: object, lists: Mapping[str, str] | None = None, filters: Mapping[str, frozenset[str]] = FILTERS
) -> Reading:
    def text(name: str) -> str:
        if lists is None or name not in lists:
            raise FileNotFoundError(2, "No such file or directory", name)
        return lists[name]

    return read_rules(tables, Surroundings(list_text=text, filters=filters, place=lambda path: f"rules.toml:{path[0]}"))


def rules(toml: str, lists: Mapping[str, str] | None = None) -> tuple[Rule, ...]:
    found = reading(tomllib.loads(toml)["rule"], lists)
    assert found.complaints == ()
    return found.rules


def group(toml: str, source: str = "default") -> RuleGroup:
    return compile_layer(RuleLayer(source=source, rules=rules(toml)))


@pytest.fixture(name="group")
def _group() -> Callable[..., RuleGroup]:
    return group


@pytest.fixture(name="reading")
def _reading() -> Callable[..., Reading]:
    return reading
