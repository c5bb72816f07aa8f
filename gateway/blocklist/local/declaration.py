"""What each list is: ``blocklists/lists.toml``, or the head of a list's own file.

    # [list]
    # name = "partners"
    # kind = "allow"

The head is the first comment of a file, as TOML behind comment signs, with the keys of a ``[[list]]`` table; only files
that lie in the folder are asked for one, never what was fetched: a stranger's file must not call itself an allow list.
An entry in ``lists.toml`` for the same file is the whole declaration. A file with neither is named as undeclared and
used for nothing.

Raises ``ConfigError`` with every problem as file:line.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, PlainSerializer, field_validator, model_validator

from gateway.blocklist.listing import Identity, ListKind
from gateway.blocklist.local.fields import ROLES, Fields, instant
from gateway.blocklist.local.reading import AUTO, FORMATS
from gateway.config.complaint import read_model
from gateway.config.fields import Folder, PathField, Text, wrong_at
from gateway.config.layers import Layer, Layered
from gateway.config.models import Section
from gateway.config.problem import ConfigError, Problem
from gateway.config.source import Disk, Source, parse_source, read_source
from gateway.config.units import Duration, Size
from gateway.policy.action import Action

FILE = "lists.toml"
ASSOCIATION = "association"

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_COMMENT = re.compile(r"[ \t]*(?:#|;|//) ?")
_HEAD = re.compile(r"[ \t]*(?:#|;|//)[ \t]*\[list\][ \t]*$")
# A head stands in the first lines; more is read of no file here.
_HEAD_OCTETS = 16 * 1024
_NO_LISTS = {".md", ".toml", ".draft"}


def _known_format(text: str) -> str:
    if text != AUTO and text not in FORMATS:
        raise ValueError(f"allowed: {', '.join((AUTO, *FORMATS))}")
    return text


def _list_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("a name of lower-case letters, digits and hyphens, at most 63, is wanted")
    return text


def _moment(text: str) -> str:
    instant(text)
    return text


def _day(text: str) -> str:
    date.fromisoformat(text)
    return text


M = TypeVar("M", bound=Section)

ListName = Annotated[str, AfterValidator(_list_name)]
Word = Annotated[str, AfterValidator(_known_format)]
Moment = Annotated[str, AfterValidator(_moment)]
Day = Annotated[str, AfterValidator(_day)]
Kind = Annotated[ListKind, PlainSerializer(str, when_used="json")]
# Discard is never a list's wish (invariant 9); to accept is what allow lists are for.
ActionWord = Literal["", "tag", "quarantine", "defer", "reject"]


class Columns(Section):
    """``columns = {…}``: which column of a CSV, or field of JSON, is what."""

    entry: Text = ""
    reason: Text = ""
    value: Text = ""
    since: Text = ""
    until: Text = ""


class ListDeclaration(Section):
    """One ``[[list]]``. ``file`` lies in the folder; a list without one is fed by editions (import, url, watch)."""

    name: ListName
    file: str = ""
    format: Word = AUTO
    columns: Columns = Columns()
    source: Text = ""
    owner: Text = ""
    kind: Kind = ListKind.BLOCK
    weight: float | None = None
    action: ActionWord = ""
    # The reason of entries that give none.
    reason: Text = ""
    # The whole list ends then, unless renewed: a list nobody answers for any more does harm.
    expires: Moment = ""
    # Which identities are looked up; all when empty.
    identities: tuple[Identity, ...] = ()
    # "rcpt": never asked before a recipient is named, so that whoever is listed can still write to the postmaster.
    door: Literal["connect", "rcpt"] = "connect"
    on_bad_line: Literal["skip", "refuse"] = "skip"
    # Half of a list gone, or thrice as much, is more often a broken export than news.
    shrink: float = Field(default=0.5, ge=0, le=1)
    grow: float = Field(default=3.0, ge=1)
    url: Text = ""
    watch: PathField | None = None
    every: Duration = 3600.0
    timeout: Duration = 60.0
    max_size: Size = 64 * 1024**2
    # Working days from publication until an edition must be applied; 0: no deadline. contract.md §4 (d).
    apply_within: int | None = Field(default=None, ge=0, le=30)

    @field_validator("file", mode="after")
    @classmethod
    def _in_the_folder(cls, file: str) -> str:
        if "/" in file or "\0" in file or file.startswith("."):
            raise ValueError("the name of a file in the folder of blocklists is wanted")
        return file

    @field_validator("url", mode="after")
    @classmethod
    def _web(cls, url: str) -> str:
        if url and not re.match(r"https?://[^/\s]+", url):
            raise ValueError("an address that begins with https:// or http:// is wanted")
        return url

    @model_validator(mode="after")
    def _one_origin(self) -> "ListDeclaration":
        if sum(map(bool, (self.file, self.url, self.watch))) > 1:
            raise wrong_at(("name",), "file, url and watch exclude each other: a list has one origin")
        if self.action and (self.kind is ListKind.ALLOW or self.weight is not None):
            raise wrong_at(("action",), "for block lists without a weight only")
        if self.every < 60:  # noqa: PLR2004 - more often is no schedule but load on somebody else's server
            raise wrong_at(("every",), "at least 1m is wanted")
        return self

    @property
    def fields(self) -> Fields:
        """The declared names of CSV columns and JSON fields."""
        named = ((role, str(getattr(self.columns, role))) for role in ROLES)
        return Fields(names=tuple((role, name) for role, name in named if name))

    @property
    def recipe(self) -> str:
        """What else than the source decides how it is compiled."""
        return f"{self.format} {self.fields.names}"

    @property
    def action_value(self) -> Action | None:
        """The wish of the list."""
        return Action[self.action.upper()] if self.action else None

    @property
    def until(self) -> float | None:
        """When the whole list ends, UTC seconds."""
        return instant(self.expires, last=True)

    @property
    def working_days(self) -> int:
        """Working days an edition may take: one for the association's lists, none otherwise, unless declared."""
        if self.apply_within is not None:
            return self.apply_within
        return 1 if self.source == ASSOCIATION else 0


class Calendar(Section):
    """``[calendar]``: where the days are counted, and days that differ from the public calendar."""

    zone: str = "Asia/Shanghai"
    off: tuple[Day, ...] = ()
    working: tuple[Day, ...] = ()

    @field_validator("zone", mode="after")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError("a time zone such as Asia/Shanghai is wanted") from error
        return zone


# The sources that incidents block: there once something is blocked; lists.toml may declare it otherwise.
INCIDENTS = "incidents"


def incidents_list() -> ListDeclaration:
    """Return what the list of blocked spam sources is where nobody declares it."""
    return ListDeclaration(
        name=INCIDENTS,
        owner="abuse desk",
        action="reject",
        door="rcpt",
        identities=(Identity.CLIENT,),
        reason="spam source",
    )


class ListsFile(Section):
    """The whole of ``lists.toml``."""

    calendar: Calendar = Calendar()
    list: tuple[ListDeclaration, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Declarations:
    """Every list of a folder, and the files in it that nobody declared."""

    lists: tuple[ListDeclaration, ...]
    calendar: Calendar
    undeclared: tuple[str, ...] = ()

    def named(self, name: str) -> ListDeclaration | None:
        """Return the list of that name."""
        return next((each for each in self.lists if each.name == name), None)


def read_declarations(folder: Path) -> Declarations:
    """Return what a folder declares; a folder that is not there declares nothing."""
    problems: list[Problem] = []
    file = _read_file(folder, problems)
    placed = [(each, str(folder / FILE)) for each in file.list]
    taken = {each.file for each in file.list if each.file}
    undeclared: list[str] = []
    for path in _candidates(folder):
        if path.name in taken:
            continue
        headed = _headed(path, problems)
        if headed is None:
            undeclared.append(path.name)
        else:
            placed.append((headed, str(path)))
    problems += _doubles(placed)
    if problems:
        raise ConfigError(problems)
    return Declarations(lists=tuple(each for each, _ in placed), calendar=file.calendar, undeclared=tuple(undeclared))


def _read_file(folder: Path, problems: list[Problem]) -> ListsFile:
    path = folder / FILE
    if not path.exists():
        return ListsFile()
    try:
        source = read_source(path, Disk())
    except ConfigError as error:
        problems += error.problems
        return ListsFile()
    found = _modelled(ListsFile, source, problems)
    return found if found is not None else ListsFile()


def _headed(path: Path, problems: list[Problem]) -> ListDeclaration | None:
    try:
        with path.open("rb") as file:
            text = file.read(_HEAD_OCTETS).decode("utf-8-sig", "replace")
    except OSError as error:
        problems.append(Problem(str(path), 0, "", f"cannot be read: {error.strerror}"))
        return None
    head = _head(text.split("\n"))
    if head is None:
        return None
    try:
        source = parse_source(head, name=str(path), folder=path.parent)
    except ConfigError as error:
        problems += error.problems
        return None
    table = source.data["list"]
    inner = Source(name=source.name, folder=source.folder, text=head, data={**table, "file": path.name})
    return _modelled(ListDeclaration, inner, problems, above=("list",))


def _head(lines: Sequence[str]) -> str | None:
    """Return the head as TOML, on the lines where it stands."""
    start = next((at for at, line in enumerate(lines) if _HEAD.match(line.rstrip("\r"))), None)
    if start is None or any(line.strip() and not _COMMENT.match(line) for line in lines[:start]):
        return None
    kept = [""] * start
    for line in lines[start:]:
        match = _COMMENT.match(line)
        if match is None or not line[match.end() :].strip():
            break
        kept.append(line[match.end() :].rstrip("\r"))
    return "\n".join(kept)


def _modelled(model: type[M], source: Source, problems: list[Problem], above: tuple[str, ...] = ()) -> M | None:
    found = read_model(model, source.data, Folder(source.folder))
    if isinstance(found, model):
        return found
    layered = Layered((Layer(source=source),))
    problems += [layered.problem((*above, *complaint.path), complaint.text) for complaint in found]  # type: ignore[union-attr]
    return None


def _candidates(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.suffix not in _NO_LISTS)


def _doubles(placed: Iterable[tuple[ListDeclaration, str]]) -> list[Problem]:
    seen: dict[str, str] = {}
    problems = []
    for each, place in placed:
        for what in (f"name {each.name}", f"file {each.file}" if each.file else ""):
            if what and what in seen:
                problems.append(Problem(place, 0, "list", f"another list has the {what} already ({seen[what]})"))
            seen.setdefault(what, place)
    return problems
