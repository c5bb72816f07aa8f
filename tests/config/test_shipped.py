"""What ships is true: each commented key is the default that holds, and no key is without a word about it."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.config.embedded import InitError, shipped, write_starting_configuration
from gateway.config.filter_settings import on_words, options_table
from gateway.config.flat import config_table, leaves
from gateway.config.loader import load
from gateway.config.models import GatewayConfig, Listen, Tls
from gateway.config.policy_table import PolicyTable
from gateway.config.render import toml_text
from gateway.filters import catalogue

TEMPLATE = Path(__file__).parents[2] / "gateway" / "config" / "template.toml"
COMMENTED_KEY = re.compile(r"^#(?=[a-z_-]+ = )", re.MULTILINE)


def with_comments_removed(text: str) -> str:
    return COMMENTED_KEY.sub("", text)


def keys_of(model: type[BaseModel], path: tuple[str, ...] = ()):
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from keys_of(kind, (*path, name))
        else:
            yield (*path, name)


def test_the_starting_configuration_loads(tmp_path):
    written = write_starting_configuration(tmp_path / "new" / "tidegate")
    snapshot = load(tmp_path / "new" / "tidegate" / "tidegate.toml", catalogue())
    assert "example.test" in snapshot.policies.domains
    names = {str(path.relative_to(tmp_path / "new" / "tidegate")) for path in written}
    assert {"tidegate.toml", "policies/README.md", "policies/default.toml", "blocklists/README.md"} <= names


def test_nothing_is_ever_overwritten(tmp_path):
    (tmp_path / "policies").mkdir()
    mine = tmp_path / "policies" / "default.toml"
    mine.write_text("# mine")
    with pytest.raises(InitError, match=r"default\.toml"):
        write_starting_configuration(tmp_path)
    assert mine.read_text() == "# mine"
    assert not (tmp_path / "tidegate.toml").exists()


def test_every_key_of_the_node_is_in_the_starting_configuration():
    table = tomllib.loads(with_comments_removed(TEMPLATE.read_text(encoding="utf-8")))
    flat = {path for path, _ in leaves(table)}
    missing = [path for path in keys_of(GatewayConfig) if path not in flat and path[0] != "listen"]
    assert missing == []
    text = TEMPLATE.read_text(encoding="utf-8")
    unnamed = [name for name in (*Listen.model_fields, *Tls.model_fields) if not re.search(rf"\b{name} = ", text)]
    assert unnamed == []


def test_commented_keys_of_the_node_show_the_defaults_that_hold(tmp_path):
    write_starting_configuration(tmp_path)
    path = tmp_path / "tidegate.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"^#tls = .*$", "", text, flags=re.MULTILINE), encoding="utf-8")
    as_shipped = load(path, catalogue()).config
    path.write_text(with_comments_removed(path.read_text(encoding="utf-8")), encoding="utf-8")
    assert load(path, catalogue()).config == as_shipped


def test_the_defaults_file_shows_every_filter_as_it_ships():
    """A filter, an option or a result without a line in policies/default.toml, or with a stale one, fails here."""
    table = tomllib.loads(with_comments_removed((shipped("policies") / "default.toml").read_text(encoding="utf-8")))
    shown = table["filters"]
    shown["antivirus"] |= table["antivirus"]
    assert set(shown) == set(catalogue())
    for name, kind in catalogue().items():
        on = on_words({result: kind.on.get(result) for result in (*kind.results, *kind.on)})
        assert shown[name].pop("on") == on, name
        assert shown[name].pop("enabled") is kind.enabled, name
        assert {key: str(value) for key, value in shown[name].items()} == {
            key: str(value) for key, value in options_table(kind.Options()).items()
        }, name


def test_the_defaults_file_loads_with_every_key_set(configured_with_shipped_filters):
    text = with_comments_removed((shipped("policies") / "default.toml").read_text(encoding="utf-8"))
    default = configured_with_shipped_filters({"policies/default.toml": text}).policies.default
    bare = configured_with_shipped_filters({"policies/default.toml": ""}).policies.default
    assert default.filters == bare.filters
    assert default.thresholds == bare.thresholds


def test_every_key_of_a_policy_is_in_the_readme():
    text = (shipped("policies") / "README.md").read_text(encoding="utf-8")
    missing = [
        ".".join(path)
        for path in keys_of(PolicyTable)
        if path != ("filters",) and f"| `{'.'.join(path)}` |" not in text
    ]
    assert missing == []


def test_examples_of_the_readme_are_toml():
    text = (shipped("policies") / "README.md").read_text(encoding="utf-8")
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        tomllib.loads(example)


def test_config_show_reads_back_as_the_same_configuration(configured):
    snapshot = configured({"tidegate.toml": (TEMPLATE.read_text(encoding="utf-8"))})
    text = toml_text(config_table(snapshot.config), snapshot.layered.origin, defaults=True)
    assert configured({"tidegate.toml": text}).config == snapshot.config


def test_config_show_without_defaults_shows_what_files_set(configured):
    snapshot = configured({})
    text = toml_text(config_table(snapshot.config), snapshot.layered.origin, defaults=False)
    assert set(tomllib.loads(text)) == {"hostname", "data", "listen"}
    assert text.splitlines()[0].endswith("tidegate.toml:1")


@pytest.fixture
def configured_with_shipped_filters(tmp_path, write_files):
    return lambda files: load(write_files(tmp_path, files), catalogue())
