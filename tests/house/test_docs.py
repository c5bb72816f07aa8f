"""The documents against the code: a reader who follows one must arrive.

A document that names a file, command, key, layer, library or RFC that is not there any more, or leaves one out, fails
here rather than in front of an administrator.
"""

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from gateway import __version__
from gateway.cli.main import app
from gateway.config.loader import load
from gateway.filters import catalogue
from tests.house.conftest import CONFIGURATION, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ARCHITECTURE = (ROOT / "gateway/ARCHITECTURE.md").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
_SKIPPED = {"var", "dist", "out", "__pycache__", "site-packages"}


def _files() -> list[Path]:
    """Return every file of the project: as git knows them, in an unpacked archive all that are there."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        named = [ROOT / name for name in done.stdout.split("\0") if name]
        return [path for path in named if path.is_file()]
    inside = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [ROOT / p for p in inside if not any(part in _SKIPPED or part.startswith(".venv") for part in p.parts)]


FILES = _files()
DOCUMENTS = sorted(path for path in FILES if path.suffix == ".md")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def section(title: str) -> str:
    """Return a section of ARCHITECTURE.md."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    assert found, f"ARCHITECTURE.md has no section {title!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of a Markdown table's rows, its head left out."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")] for line in lines[2:]]


# Links ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_relative_link_leads_somewhere(document: Path):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path) if path else document
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(target)
    assert broken == []


def _anchors(file: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


# Commands -------------------------------------------------------------------------------------------------------------

COMMANDS = typer.main.get_command(app)


def _spans(text: str) -> Iterator[str]:
    """Return the code of a document: spans, and lines of blocks."""
    for fenced in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL):
        yield from fenced.splitlines()
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from re.findall(r"`([^`\n]+)`", text)
    yield from re.findall(r"^    (\S.*)$", text, re.MULTILINE)


def shown_commands() -> list[tuple[str, str]]:
    """Return each command line in the documents, as (document, what follows ``tidegate``)."""
    return [
        (name(document), (line[1] or "").strip())
        for document in DOCUMENTS
        for span in _spans(document.read_text(encoding="utf-8"))
        if (line := re.search(r"(?:^|&& |^\S*/)tidegate(?: +([^#&;`]*))?(?:$|[#&;`])", span.strip()))
    ]


def problems_of(line: str) -> list[str]:
    """Return what is wrong with a command line as shown; ``a|b`` are alternatives, ``…`` is anything."""
    words = shlex.split(line)
    command, problems = COMMANDS, []
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        alternatives = words.pop(0).split("|")
        problems += [f"no command {word}" for word in alternatives if word != "…" and word not in command.commands]
        if len(alternatives) > 1 or problems or alternatives == ["…"]:
            return problems
        command = command.commands[alternatives[0]]
    known = {option: parameter for parameter in command.params for option in parameter.opts}
    given = [word.split("=")[0] for word in words if word.startswith("-")]
    problems += [f"no option {option}" for option in given if option not in {*known, "--help"}]
    if given:
        # Who copies a line with options must not be told that one is missing.
        required = [p for p in command.params if p.param_type_name == "option" and p.required]
        problems += [f"{p.opts[0]} is required" for p in required if not set(p.opts) & set(given)]
    return problems


def test_every_command_shown_exists_with_its_options():
    shown = shown_commands()
    assert len(shown) > 20
    wrong = {f"{document}: tidegate {line}": problems for document, line in shown if (problems := problems_of(line))}
    assert wrong == {}


def test_every_command_is_shown_somewhere():
    text = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    for command in COMMANDS.commands:
        assert re.search(rf"(?:tidegate |[|`]){command}\b", text), command


# TOML -----------------------------------------------------------------------------------------------------------------


def toml_blocks() -> list[tuple[str, str]]:
    return [
        (f"{name(document)}:{text[: found.start()].count(chr(10)) + 1}", found[1])
        for document in DOCUMENTS
        for text in [document.read_text(encoding="utf-8")]
        for found in re.finditer(r"```toml\n(.*?)```", text, re.DOTALL)
    ]


@pytest.mark.parametrize(("where", "text"), toml_blocks(), ids=[where for where, _ in toml_blocks()])
def test_every_toml_example_loads(where: str, text: str, tmp_path: Path):
    """As a policy, with the two keys that every policy needs where the example leaves them out."""
    (tmp_path / "policies").mkdir()
    given = tomllib.loads(text)
    missing = [
        f"{key} = {value}"
        for key, value in (("domains", '["example.com"]'), ("next_hop", '["smtp://10.1.0.5:25"]'))
        if key not in given
    ]
    policy = tmp_path / "policies/example.com.toml"
    policy.write_text("\n".join([*missing, text]), encoding="utf-8")
    (tmp_path / "tidegate.toml").write_text(CONFIGURATION, encoding="utf-8")
    snapshot = load(tmp_path / "tidegate.toml", catalogue())
    assert "example.com" in snapshot.policies.domains


# README ---------------------------------------------------------------------------------------------------------------


def test_the_readme_stays_within_two_screens():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 105


# ARCHITECTURE ---------------------------------------------------------------------------------------------------------


def test_every_package_has_its_row():
    table = "\n".join(" ".join(row) for row in rows(section("One message's life is the reading order of the code")))
    rooms = {path.parent.name for path in (ROOT / "gateway").glob("*/__init__.py")}
    rooms |= {path.stem for path in (ROOT / "gateway").glob("[a-z]*.py")}
    assert {room for room in rooms if f"`{room}`" not in table} == set()


def test_the_layers_are_those_that_import_linter_holds():
    drawn = re.search(r"```\n(__main__ >.*?)```", ARCHITECTURE, re.DOTALL)[1]
    contract = next(c for c in PROJECT["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    held = []
    for layer in contract["layers"]:
        # In parentheses: a room that may come; it stands in the drawing when it has come.
        rooms = [room.strip() for room in layer.split("|")]
        there = [room for room in rooms if not room.startswith("(") or (ROOT / "gateway" / room.strip("()")).exists()]
        if there:
            held.append([room.strip("()") for room in there])
    assert [[room.strip() for room in layer.split("|")] for layer in drawn.split(">")] == held


def test_every_library_has_its_row_with_a_reason():
    declared = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["test"]]
    names = {re.match(r"[A-Za-z0-9-]+", requirement)[0].lower() for requirement in declared}
    table = rows(section("Libraries"))
    assert all(row[-1] for row in table), "a library without a reason"
    named = {word.lower() for row in table for word in re.findall(r"[A-Za-z0-9-]+", row[1])}
    assert names - named == set()


def test_every_rfc_cited_is_in_the_table_or_listed_as_only_cited():
    listed = set(re.findall(r"\b(\d{3,5})\b", " ".join(row[0] for row in rows(section("RFCs")))))
    only_cited = re.search(r"^Only cited[^:]*:(.*?)\n\n", section("RFCs") + "\n\n", re.MULTILINE | re.DOTALL)
    assert only_cited, "ARCHITECTURE.md: RFCs: a paragraph 'Only cited: …'"
    listed |= set(re.findall(r"\b(\d{3,5})\b", only_cited[1]))
    cited: dict[str, str] = {}
    for path in FILES:
        if path.is_relative_to(ROOT / "gateway") and path != ROOT / "gateway/ARCHITECTURE.md":
            for group in re.findall(
                r"RFCs? ?((?:\d{3,5}(?: §[\d.]+)?(?:, | and )?)+)", path.read_text(encoding="utf-8")
            ):
                cited |= dict.fromkeys(re.findall(r"(?<![§.\d])\b\d{3,5}\b(?!\.\d)", group), name(path))
    assert {number: where for number, where in cited.items() if number not in listed} == {}


def test_every_invariant_has_a_test_named_after_it():
    numbers = re.findall(r"^(\d+)\. ", section("Invariants"), re.MULTILINE)
    assert numbers == [str(n) for n in range(1, 12)]
    tests = "\n".join(p.read_text(encoding="utf-8") for p in FILES if re.fullmatch(r"test_\w+\.py", p.name))
    assert [n for n in numbers if not re.search(rf"def test_invariant_{n}_", tests)] == []


# Releases -------------------------------------------------------------------------------------------------------------


def test_the_changelog_has_this_version():
    assert re.search(
        rf"^## \[?{re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_the_lock_pins_and_hashes_everything_declared_and_names_no_index():
    requirements = re.split(r"\n(?=[a-z0-9])", LOCK.strip())
    for requirement in requirements:
        assert re.match(r"[a-z0-9._-]+(\[\w+\])?==\S+", requirement), requirement.splitlines()[0]
        assert "--hash=sha256:" in requirement, requirement.splitlines()[0]
    assert not re.search(r"https?:|file:|index-url|find-links|@", LOCK)
    locked = {re.match(r"[a-z0-9._-]+", requirement)[0] for requirement in requirements}
    declared = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["test"],
        *PROJECT["build-system"]["requires"],
    ]
    assert {re.match(r"[A-Za-z0-9-]+", requirement)[0].lower() for requirement in declared} - locked == set()


# Brackets, so that this file does not name what it looks for.
FOREIGN = re.compile(
    r"(?<![\w.])/(?:wor[k]|hom[e]|roo[t])/|/tm[p]/venv|/op[t]/pypi|pyp[i]\.org|hosted[.]org|npmj[s]\.org"
)


def test_no_file_names_a_machine_or_a_package_registry():
    found = {name(path): FOREIGN.search(path.read_bytes().decode("utf-8", "replace")) for path in FILES}
    assert {where: match[0] for where, match in found.items() if match} == {}
