"""The memories of the door, opened and closed together: files below ``data/state``."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gateway.clock import Clock
from gateway.state import deferrals, greylist, penpals, rates, reputation
from gateway.state.deferrals import Deferrals
from gateway.state.greylist import Greylist
from gateway.state.penpals import Penpals
from gateway.state.rates import Rates
from gateway.state.reputation import Reputation
from gateway.state.table import LateTable, SharedTable


class Memories:
    """What this gateway remembers of its clients; construction raises StorageFull or StorageUnavailable."""

    def __init__(self, folder: Path, *, clock: Clock, random_octets: Callable[[int], bytes] = os.urandom) -> None:
        self._tables: list[SharedTable] = []

        def table(name: str, places: int) -> SharedTable:
            self._tables.append(
                SharedTable(folder / f"{name}.table", places=places, clock=clock, random_octets=random_octets)
            )
            return self._tables[-1]

        try:
            self.rates = Rates(table("rates", rates.PLACES), clock)
            # Most gateways never greylist.
            self.greylist = Greylist(LateTable(partial(table, "greylist", greylist.PLACES)), clock)
            self.reputation = Reputation(table("reputation", reputation.PLACES), clock)
            self.penpals = Penpals(table("penpals", penpals.PLACES), clock)
            self.deferrals = Deferrals(table("deferrals", deferrals.PLACES), clock)
        except BaseException:
            self.close()
            raise

    @property
    def _all(self) -> tuple[Any, ...]:
        return self.rates, self.greylist, self.reputation, self.penpals, self.deferrals

    @property
    def services(self) -> Mapping[type[Any], Any]:
        """The memories by type, as filters ask for them."""
        return {type(memory): memory for memory in self._all}

    def close(self) -> None:
        """Let go of the files; what was written stays."""
        for table in self._tables:
            table.close()
