"""Every case under ``cases/`` gives exactly the problems it names: file, line, key and words (README.md there)."""

import re
from pathlib import Path

import pytest

from gateway.config.loader import load
from gateway.config.problem import ConfigError

CASES = sorted((Path(__file__).parent / "cases").glob("*.toml"))
MARKER = re.compile(r"^#--- (\S+)$\n?", re.MULTILINE)


def read_case(path: Path) -> tuple[dict[str, str], list[str]]:
    parts = MARKER.split(path.read_text(encoding="utf-8"))
    files = dict(zip(parts[1::2], parts[2::2], strict=True))
    wanted = [line.removeprefix("# ") for line in files.pop("problems").splitlines() if line.strip()]
    return files, wanted


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_case_gives_its_problems(case, tmp_path, catalogue, write_files):
    files, wanted = read_case(case)
    path = write_files(tmp_path, files)
    with pytest.raises(ConfigError) as error:
        load(path, catalogue)
    found = [
        str(problem).replace(f"{tmp_path.resolve()}/", "").replace(f"{tmp_path}/", "")
        for problem in error.value.problems
    ]
    assert found == wanted


def test_there_are_cases():
    assert len(CASES) >= 15, "the folder of cases is empty or was moved, so nothing above was tested"
