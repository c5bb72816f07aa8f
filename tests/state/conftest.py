"""Tables in a temporary folder, on a clock that moves when told."""

import pytest

from gateway.clock import FakeClock
from gateway.state.table import SharedTable


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def open_table(tmp_path, clock):
    opened = []

    def open_one(places=64, name="a", at=clock):
        opened.append(SharedTable(tmp_path / "state" / f"{name}.table", places=places, clock=at))
        return opened[-1]

    yield open_one
    for table in opened:
        table.close()
