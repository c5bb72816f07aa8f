"""A policy file replaced by a command: if these fail, of two operators' changes one is lost that both were told of."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.admin.protocol import RefusedError
from gateway.admin.rule_edit import RuleEditor, replace_text
from gateway.config.loader import load
from gateway.config.problem import ConfigError
from gateway.filters import catalogue


def test_a_file_that_is_no_longer_what_was_read_stays(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("theirs")
    with pytest.raises(RefusedError, match="changed by somebody else"):
        replace_text(file, "before", "ours")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.toml", "theirs")]


def test_a_link_stays_and_its_target_keeps_its_mode(tmp_path):
    file, link = tmp_path / "a.toml", tmp_path / "link.toml"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file)
    replace_text(link, "before", "after")
    assert link.is_symlink()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("after", 0o640)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "tidegate.toml").write_text('hostname = "mx.gate.test"\n[[listen]]\naddress = "127.0.0.1:0"\n')
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "default.toml").write_text("")
    ours = 'domains = ["ours.test"]\nnext_hop = "mx:"\n'
    (tmp_path / "policies" / "ours.toml").write_text(ours)
    return tmp_path / "tidegate.toml"


def test_no_change_is_lost_that_was_said_to_be_written(home):
    def add(number: int) -> str:
        name = f"rule {number}"
        try:
            RuleEditor(home, catalogue()).add(name, "default", {"score": 1.0}, "tls = false")
        except RefusedError:
            return ""
        return name

    with ThreadPoolExecutor(8) as pool:
        written = {name for name in pool.map(add, range(24)) if name}
    assert {rule.name for layer in load(home, catalogue()).policies.layers for rule in layer.rules} == written


def test_two_changes_that_fit_alone_but_not_together_are_not_both_made(home):
    """Both editors have read the files before either writes; a name may not be inherited and written again."""
    first, second = RuleEditor(home, catalogue()), RuleEditor(home, catalogue())
    first.add("one", "default", {"score": 1.0}, "tls = false")
    with pytest.raises(ConfigError, match="is an inherited rule already"):
        second.add("one", "ours.test", {"score": 1.0}, "tls = false")
    load(home, catalogue())
