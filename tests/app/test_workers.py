"""What breaks if these fail: a worker that starts while a reload takes force goes on with what is over."""

import asyncio
from dataclasses import dataclass

from gateway.app import workers
from gateway.app.process import WorkerOrder
from gateway.app.workers import Slot


@dataclass
class Kept:
    digest: str
    descriptor: int


class Begun:
    """A process that is there until it is killed; ``process`` is itself."""

    returncode = None

    def __init__(self, order: WorkerOrder) -> None:
        self.order = order
        self.gone = asyncio.Event()
        self.process = self

    def kill(self) -> None:
        self.gone.set()

    terminate = kill

    async def wait(self) -> int:
        await self.gone.wait()
        return -9


async def test_a_reload_while_the_process_is_being_made_is_no_worker_left_behind(monkeypatch):
    order = WorkerOrder(index=0, workers=1, configuration="", digest="old", kept=3)
    slot = Slot(order, (), children=None, notice=lambda *_: None)
    made: list[Begun] = []
    serving = asyncio.Event()

    async def start(_: object, order: WorkerOrder, *more: object) -> Begun:
        if not made:
            slot.follow(Kept("new", 4))
        made.append(Begun(order))
        if len(made) == 2:
            serving.set()
        return made[-1]

    monkeypatch.setattr(workers.WorkerProcess, "start", start)
    keeping = asyncio.create_task(slot.keep())
    await serving.wait()
    slot.stop()
    await keeping
    assert [(each.order.digest, each.order.kept) for each in made] == [("old", 3), ("new", 4)]
    assert made[0].gone.is_set()
