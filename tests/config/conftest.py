"""A small catalogue of filters, and configurations written into a temporary folder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import pytest

from gateway.config.loader import load
from gateway.config.snapshot import Snapshot
from gateway.config.units import Duration, Size
from gateway.policy.action import Action, Stage
from gateway.policy.catalogue import Catalogue
from gateway.policy.filter import Filter, NoOptions

MINIMAL = """\
hostname = "mx1.example.net"
data = "var"
[[listen]]
address = "127.0.0.1:0"
"""

POLICY = """\
domains = ["example.com"]
next_hop = ["smtp://10.1.0.5:25"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    zone: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TarpitOptions:
    wait: Duration = 2.0
    smallest: Size = 0
    words: tuple[str, ...] = ()
    zones: tuple[Zone, ...] = ()
    strict: bool = False
    most: int | None = None

    def __post_init__(self):
        if self.wait > 60:
            raise ValueError("wait is at most 1m")


class Tarpit(Filter[TarpitOptions]):
    stage = Stage.CONNECT
    Options = TarpitOptions
    results: ClassVar = {"slow": "the client is slow", "fast": "the client is fast"}
    on: ClassVar = {"slow": 2.0, "temperror": Action.DEFER}

    async def examine(self, tx, ctx):  # noqa: ARG002 - says nothing
        return None


class Bare(Filter[NoOptions]):
    stage = Stage.DATA
    results: ClassVar = {"bad": "it is bad"}
    on: ClassVar = {"bad": Action.REJECT}

    async def examine(self, tx, ctx):  # noqa: ARG002 - says nothing
        return None


Bare.name, Tarpit.name = "bare", "tarpit"
CATALOGUE: Catalogue = MappingProxyType({"bare": Bare, "tarpit": Tarpit})


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write the files, a minimal tidegate.toml and an empty policies folder where they are missing."""
    (folder / "policies").mkdir(parents=True, exist_ok=True)
    for name, text in ({"tidegate.toml": MINIMAL} | dict(files)).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "tidegate.toml"


@pytest.fixture
def catalogue() -> Catalogue:
    return CATALOGUE


@pytest.fixture
def configured(tmp_path: Path) -> Callable[[Mapping[str, str]], Snapshot]:
    """Write files into a fresh folder and load them."""

    def configure(files: Mapping[str, str]) -> Snapshot:
        return load(write(tmp_path, files), CATALOGUE)

    return configure


@pytest.fixture
def write_files() -> Callable[[Path, Mapping[str, str]], Path]:
    return write
