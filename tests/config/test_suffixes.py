"""A newer public suffix list: taken by a load, told from what is none, and what is registrable follows it."""

from pathlib import Path

import pytest
from publicsuffixlist import PSLFILE

from gateway.config.loader import load
from gateway.config.problem import ConfigError
from gateway.config.suffixes import suffixes_of
from gateway.filters import catalogue
from gateway.mail.text import hosts

SHIPPED = Path(PSLFILE).read_text(encoding="utf-8")


@pytest.fixture
def loaded(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "tidegate.toml").write_text(
        'hostname = "mx.ours.test"\ndata = "var"\npublic_suffixes = "list.dat"\n[[listen]]\naddress = "127.0.0.1:0"\n',
        encoding="utf-8",
    )

    def load_with(text: str):
        (tmp_path / "list.dat").write_text(text, encoding="utf-8")
        return load(tmp_path / "tidegate.toml", catalogue())

    yield load_with
    hosts.use(None)


def test_a_newer_list_counts_from_the_load_on(loaded):
    assert hosts.registrable("shop.new.example") == "new.example"
    before = loaded(SHIPPED)
    after = loaded(SHIPPED + "\nnew.example\n")
    assert before.digest != after.digest
    hosts.use(suffixes_of(after))
    assert hosts.registrable("a.shop.new.example") == "shop.new.example"
    assert hosts.registrable("a.b.example.co.uk") == "example.co.uk"
    hosts.use(None)
    assert hosts.registrable("a.shop.new.example") == "new.example"


@pytest.mark.parametrize("text", ["", "com\nco.uk\n", "<html>" * 5000, SHIPPED[: len(SHIPPED) // 8]])
def test_what_is_no_such_list_is_named_where_it_is_named(loaded, text):
    with pytest.raises(ConfigError, match=r"tidegate\.toml:3: public_suffixes: .* is not a public suffix list"):
        loaded(text)


def test_a_file_that_is_not_there_is_named(loaded, tmp_path):
    loaded(SHIPPED)
    (tmp_path / "list.dat").unlink()
    with pytest.raises(ConfigError, match=r"public_suffixes: .*list\.dat"):
        load(tmp_path / "tidegate.toml", catalogue())
