"""Lists in a folder, and what is asked of them."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.blocklist.local.declaration import ListDeclaration
from gateway.blocklist.local.editions import Fetches
from gateway.blocklist.local.fetching import Outcome, Unchanged
from gateway.blocklist.local.keeping import Arrival, ListKeeper
from gateway.blocklist.local.lists import Answer, LocalLists
from gateway.blocklist.local.question import ask_anything
from gateway.clock import FakeClock


@dataclass
class Sources:
    """What servers would give, list by list; ``asked`` is what was asked for, with the state that was sent along."""

    answers: dict[str, Outcome] = field(default_factory=dict)
    asked: list[tuple[str, Fetches]] = field(default_factory=list)

    def __call__(self, declaration: ListDeclaration, before: Fetches) -> Outcome:
        self.asked.append((declaration.name, before))
        return self.answers.get(declaration.name, Unchanged())


class Place:
    """A folder of lists, a data folder, a keeper and a worker's view."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder / "blocklists", folder / "data"
        self.folder.mkdir()
        self.clock = FakeClock(utc=1_795_140_000.0)  # Friday 2026-11-20, 10:00 in Beijing
        self.sources = Sources()
        self.keeper = ListKeeper(self.folder, self.data, clock=self.clock, fetch_list=self.sources)
        self.lists = LocalLists(self.data)

    @property
    def now(self) -> float:
        return self.clock.stamp().utc

    def declare(self, text: str) -> None:
        (self.folder / "lists.toml").write_text(text, encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def update(self) -> list:
        events = self.keeper.update()
        self.lists.refresh()
        return events

    def bring(self, name: str, text: str, *, published: float | None = None, how: str = "import") -> list:
        arrival = Arrival(
            octets=text.encode(),
            how=how,
            origin=f"{name}.txt",
            who="anna",
            published=self.now if published is None else published,
        )
        _, events = self.keeper.take_edition(name, arrival)
        self.lists.refresh()
        return events

    def ask(self, identity: str) -> Answer:
        question = ask_anything(identity)
        assert question is not None
        return self.lists.look_up([question], self.now)

    def entries(self, identity: str) -> list[tuple[str, str]]:
        return [(each.list, each.entry) for each in self.ask(identity).listings]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def material():
    """Return a function that gives a folder of other people's test material."""
    folder = Path(__file__).parents[2] / "../shared/material"
    if not folder.is_dir():
        pytest.skip("../shared/material is not there")
    return folder.joinpath
