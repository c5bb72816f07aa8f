"""Gates built from real configuration files, and transactions as intake would hand them over."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.clock import FakeClock
from gateway.config.loader import load
from gateway.dns.zone import ZoneResolver
from gateway.filters import catalogue
from gateway.journal.sinks import Recorded
from gateway.mail.connection import Connection, Role
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.transaction import Transaction
from gateway.pipeline.gate import Gate
from gateway.pipeline.verifier import Verification
from gateway.policy.domain_policy import DomainPolicy
from gateway.smtp.address import Mailbox
from gateway.smtp.path import parse_forward_path, parse_reverse_path

HOSTNAME = "mx.ours.test"
TRACE_ID = "01J8Z3Q4R5S6T7V8W9X0Y1Z2A3"
MAIL = (
    b"Date: Tue, 01 Sep 2026 10:00:00 +0000\r\nFrom: a@sender.test\r\nTo: b@ours.test\r\n"
    b"Message-ID: <1@sender.test>\r\nSubject: hello\r\n\r\nHello.\r\n"
)
MAIN = f'hostname = "{HOSTNAME}"\n[[listen]]\naddress = "127.0.0.1:0"\n'
OURS = {"ours": 'domains = ["ours.test"]\nnext_hop = "smtp://192.0.2.25"\n'}


@dataclass
class Answers:
    """A recipient verifier that knows some mailboxes; a key that maps to an exception raises it."""

    known: Mapping[str, str | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def verify(self, mailbox: Mailbox, policy: DomainPolicy) -> Verification:  # noqa: ARG002 - the protocol's
        self.asked.append(mailbox.key)
        answer = self.known.get(mailbox.key, "unknown")
        if isinstance(answer, Exception):
            raise answer
        return Verification(outcome=answer, reply="as the next hop said")  # type: ignore[arg-type]


@dataclass
class Bench:
    """A gate with everything around it."""

    gate: Gate
    clock: FakeClock
    events: Recorded
    verifier: Answers

    async def rcpt(self, address: str, **given: Any) -> str:
        """Return the reply to one RCPT as text."""
        envelope = given.pop("envelope", from_("a@sender.test"))
        accepted = given.pop("accepted", ())
        reply = await self.gate.judge_recipient(connection(**given), envelope, to(address), accepted, TRACE_ID)
        return str(reply)


def connection(**given: Any) -> Connection:
    facts: dict[str, Any] = {
        "session_id": "01J8Z3Q4R5S6T7V8W9X0Y1Z2A0",
        "client_address": ip_address(given.pop("client", "198.51.100.7")),
        "client_port": 40000,
        "local_address": "192.0.2.1",
        "local_port": 25,
        "role": Role.MX,
        "connected": FakeClock().stamp(),
        "hostname": HOSTNAME,
        "helo": "mail.sender.test",
        "esmtp": True,
    }
    return Connection(**facts | given)


def to(address: str, **given: Any) -> Recipient:
    path, rest = parse_forward_path(f"<{address}>".encode(), smtputf8=True)
    assert rest == b""
    return Recipient(path=path, **given)


def from_(address: str, **given: Any) -> Envelope:
    path, _ = parse_reverse_path(f"<{address}>".encode(), smtputf8=True)
    return Envelope(reverse_path=path, **given)


def transaction(content: bytes = MAIL, *recipients: str, **given: Any) -> Transaction:
    clock = FakeClock()
    return Transaction(
        trace_id=TRACE_ID,
        connection=given.pop("connection", None) or connection(),
        envelope=given.pop("envelope", None) or from_("a@sender.test"),
        recipients=tuple(to(address) for address in recipients or ("b@ours.test",)),
        content=Content(content),
        enveloped=clock.stamp(),
        received=clock.stamp(),
    )


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    def build(
        policies: Mapping[str, str] = OURS,
        *,
        main: str = MAIN,
        known: Mapping[str, str | Exception] | None = None,
        filters: Mapping[str, type] | None = None,
        asker: Any = None,
        services: Mapping[type[Any], Any] | None = None,
        dns: str = "",
    ) -> Bench:
        folder = tmp_path / "policies"
        folder.mkdir(exist_ok=True)
        for name, text in policies.items():
            (folder / f"{name}.toml").write_text(text, encoding="utf-8")
        (tmp_path / "tidegate.toml").write_text(main, encoding="utf-8")
        kinds = catalogue() if filters is None else filters
        clock, events, verifier = FakeClock(), Recorded(), Answers(known or {})
        gate = Gate(
            load(tmp_path / "tidegate.toml", kinds),
            filters=kinds,
            resolver=ZoneResolver(dns),
            clock=clock,
            verifier=asker or verifier,
            events=events,
            services=services,
        )
        return Bench(gate, clock, events, verifier)

    return build


@pytest.fixture
def tools() -> ModuleType:
    """This module's builders, which tests cannot import: tests are not a package."""
    return sys.modules[__name__]
