"""What the operator and the gateway's other parts ask of a worker's custody: queue, quarantine, mail of our own."""

import os
from collections.abc import Callable
from typing import Any

from gateway.admin.dropped import dropped_rows
from gateway.admin.protocol import UnknownCommandError
from gateway.admin.quarantine import QuarantineDesk, WayOut
from gateway.admin.queue import QueueDesk
from gateway.antivirus.desk import Antivirus
from gateway.app.own_mail import OwnMailDesk
from gateway.app.stores import Stores
from gateway.clock import Clock
from gateway.delivery.runner import DeliveryRunner
from gateway.ledger import Ledger
from gateway.mail.own_mail import COMMAND as OWN_MAIL
from gateway.pipeline.gate import Gate
from gateway.smtp.address import ForwardPath
from gateway.spool.message import SpoolRecipient


class Desks:
    """One worker's desks; ``gate`` gives the one in force."""

    def __init__(
        self, stores: Stores, runner: DeliveryRunner, antivirus: Antivirus, *, gate: Callable[[], Gate], clock: Clock
    ) -> None:
        self._gate = gate
        config = gate().snapshot.config
        custody, events = stores.custody, stores.events
        self._queue = QueueDesk(
            custody,
            clock=clock,
            events=events,
            wake=runner.flush,
            recall=runner.recall,
            records=dropped_rows(clock),
        )
        way_out = WayOut(
            antivirus=antivirus,
            copy_to=self._copy_to,
            hostname=config.hostname,
            wake=runner.flush,
            delivered_to=Ledger(config.data).delivered_to,
        )
        self._quarantine = QuarantineDesk(custody, self._queue, clock=clock, events=events, way_out=way_out)
        self._own_mail = OwnMailDesk(
            gate=gate,
            custody=custody,
            clock=clock,
            events=events,
            on_stored=runner.accept,
            random_octets=os.urandom,
        )

    async def handle(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Carry out a command; RefusedError, UnknownCommandError, StorageError."""
        match name.partition(".")[0]:
            case "queue":
                return await self._queue.handle(name, arguments)
            case "quarantine":
                return await self._quarantine.handle(name, arguments)
            case word if word == OWN_MAIL:
                return await self._own_mail.take(arguments)
        raise UnknownCommandError(name)

    def _copy_to(self, copy: SpoolRecipient, path: ForwardPath) -> SpoolRecipient:
        return self._gate().copy_to(copy, path)
