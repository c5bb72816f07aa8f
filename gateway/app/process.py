"""One worker process as the supervisor sees it: forked by the nursery with its sockets, asked over a channel."""

import asyncio
import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from gateway.app.channel import Channel, Handler
from gateway.app.children import Child, Children


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """What a worker is told at its start; travels as JSON beside its descriptors.

    ``configuration`` is the file's path or "" for the embedded default, ``digest`` the snapshot it must load from the
    texts behind the descriptor ``kept``, ``listeners`` the inherited descriptors in the order of the configuration's
    listeners, ``control`` its end of the channel. ``probe`` is the domain of the gateway's own probe mailbox.
    """

    index: int
    workers: int
    configuration: str
    digest: str
    kept: int = -1
    probe: str = ""
    listeners: tuple[int, ...] = ()
    control: int = -1

    def text(self) -> str:
        """Return the argument; descriptors are other numbers over there."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str, descriptors: Sequence[int]) -> "WorkerOrder":
        """Return the order an argument carries, with what came along: ``control``, ``kept``, the listeners."""
        control, kept, *listeners = descriptors
        return replace(cls(**json.loads(text)), control=control, kept=kept, listeners=tuple(listeners))


class WorkerProcess:
    """A running worker."""

    def __init__(self, process: Child, channel: Channel) -> None:
        self.process, self.channel = process, channel
        self._served = asyncio.create_task(channel.run())

    @classmethod
    async def start(
        cls, children: Children, order: WorkerOrder, sockets: Sequence[socket.socket], handler: Handler
    ) -> "WorkerProcess":
        """Start one; it reports ``ready`` through ``handler`` when it serves. OSError when there can be no process."""
        ours, theirs = socket.socketpair()
        try:
            descriptors = (theirs.fileno(), order.kept, *(sock.fileno() for sock in sockets))
            process = await children.fork("worker", (order.text(),), descriptors)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(process, await Channel.open(ours, handler))

    async def ask(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Ask the worker."""
        return await self.channel.call(name, **arguments)

    async def wait(self) -> int:
        """Return the exit status when the process has ended."""
        status = await self.process.wait()
        self.channel.close()
        await asyncio.gather(self._served, return_exceptions=True)
        return status
