"""``[rules] hyperscan`` is off, and where the library is missing ``config check`` says what to install."""

import pytest

from gateway.config.loader import load
from gateway.config.problem import ConfigError
from gateway.filters import catalogue
from gateway.rules import prefilter

NODE = 'hostname = "mx.test"\ndata = "var"\n[[listen]]\naddress = "127.0.0.1:0"\n'


@pytest.fixture
def node(tmp_path):
    (tmp_path / "policies").mkdir()
    path = tmp_path / "tidegate.toml"

    def written(more):
        path.write_text(NODE + more, encoding="utf-8")
        return load(path, catalogue()).config

    return written


def test_it_is_off_unless_asked_for(node, monkeypatch):
    monkeypatch.setattr(prefilter, "is_installed", lambda: False)
    assert node("").rules.hyperscan is False


def test_a_missing_library_is_named_with_what_to_install(node, monkeypatch):
    monkeypatch.setattr(prefilter, "is_installed", lambda: False)
    with pytest.raises(ConfigError) as raised:
        node("[rules]\nhyperscan = true\n")
    [problem] = raised.value.problems
    assert (problem.line, problem.key) == (6, "rules.hyperscan")
    assert "pip install 'tidegate[hyperscan]'" in problem.text


def test_with_the_library_it_is_on(node, monkeypatch):
    monkeypatch.setattr(prefilter, "is_installed", lambda: True)
    assert node("[rules]\nhyperscan = true\n").rules.hyperscan is True
