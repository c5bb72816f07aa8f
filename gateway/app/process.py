"""One worker process as the supervisor sees it: started by exec with its sockets, asked over a channel."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gateway.app.channel import Channel, Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOrder:
    """What a worker is told at its start; travels as JSON in its argument.

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
        """Return the argument."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "WorkerOrder":
        """Return the order an argument carries."""
        values = json.loads(text)
        return cls(**{**values, "listeners": tuple(values["listeners"])})


class WorkerProcess:
    """A running worker."""

    def __init__(self, process: asyncio.subprocess.Process, channel: Channel) -> None:
        self.process, self.channel = process, channel
        self._served = asyncio.create_task(channel.run())

    @classmethod
    async def start(cls, order: WorkerOrder, sockets: Sequence[socket.socket], handler: Handler) -> "WorkerProcess":
        """Start one; it reports ``ready`` through ``handler`` when it serves. OSError when there can be no process."""
        ours, theirs = socket.socketpair()
        try:
            full = replace(order, listeners=tuple(s.fileno() for s in sockets), control=theirs.fileno())
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                # Not from the working directory, where others may write.
                "-P",
                "-m",
                "gateway.app.worker",
                full.text(),
                stdin=asyncio.subprocess.DEVNULL,
                env=_environment(),
                pass_fds=(*full.listeners, full.control, full.kept),
                # A terminal's Ctrl-C reaches the supervisor alone, which drains the workers.
                start_new_session=True,
            )
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


def _environment() -> dict[str, str]:
    """Return our environment with the folder of this package first in the path: all processes run one code."""
    home = str(Path(__file__).parents[2])
    others = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{home}{os.pathsep}{others}" if others else home}
