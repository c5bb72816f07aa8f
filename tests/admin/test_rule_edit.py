"""A policy file replaced by a command: if these fail, of two operators' changes one is lost that both were told of."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.admin.protocol import RefusedError
from gateway.admin.rule_edit import replace_text


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


def test_no_change_is_lost_that_was_said_to_be_written(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("")

    def add(number: int) -> int:
        before = file.read_text()
        try:
            replace_text(file, before, f"{before}{number}\n")
        except RefusedError:
            return -1
        return number

    with ThreadPoolExecutor(8) as pool:
        written = {number for number in pool.map(add, range(200)) if number >= 0}
    assert {int(line) for line in file.read_text().split()} == written
