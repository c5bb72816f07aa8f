"""Every result word of every filter is proved by a case file (tests/filters/cases/FILTER/RESULT[--note].toml).

``nothing--note.toml`` proves that nothing is found. Keys: ``reason`` and ``detail`` as expected; ``[options]``;
``[connection]`` and ``[envelope]`` with the fields of those types; ``content``, its lines ended by CR LF here;
``repeat`` = { line, times } put before it.
"""

import tomllib
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from gateway.clock import FakeClock
from gateway.dns.zone import ZoneResolver
from gateway.filters import catalogue
from gateway.mail.connection import Connection, Role
from gateway.mail.content import EMPTY_CONTENT, Content
from gateway.mail.envelope import Envelope
from gateway.mail.transaction import Transaction
from gateway.policy.filter import Context
from gateway.policy.finding import PERMERROR, TEMPERROR

CASES = Path(__file__).parent / "cases"
FILES = sorted(CASES.rglob("*.toml"))
CLOCK = FakeClock()
CONTEXT = Context(clock=CLOCK, resolver=ZoneResolver(), hostname="mx.ours.test")
KEYS = {"reason", "detail", "options", "connection", "envelope", "content", "repeat"}


def result_of(path: Path) -> str:
    return path.stem.partition("--")[0]


def transaction(case: dict[str, Any]) -> Transaction:
    facts = {
        "session_id": "S",
        "client_address": "198.51.100.7",
        "client_port": 40000,
        "local_address": "192.0.2.1",
        "local_port": 25,
        "role": "mx",
        "connected": CLOCK.stamp(),
        "hostname": CONTEXT.hostname,
        "helo": "mail.sender.test",
        "esmtp": True,
    } | case.get("connection", {})
    facts |= {"client_address": ip_address(facts["client_address"]), "role": Role(facts["role"])}
    repeat = case.get("repeat", {"line": "", "times": 0})
    text = (repeat["line"] + "\n") * repeat["times"] + case.get("content", "")
    received = CLOCK.stamp() if "content" in case else None
    return Transaction(
        trace_id="01J8Z3Q4R5S6T7V8W9X0Y1Z2A3",
        connection=Connection(**facts),
        envelope=Envelope(**case.get("envelope", {})),
        content=Content(text.replace("\n", "\r\n").encode()) if received else EMPTY_CONTENT,
        received=received,
    )


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
async def test_case(path):
    case = tomllib.loads(path.read_text(encoding="utf-8"))
    assert set(case) <= KEYS
    kind = catalogue()[path.parent.name]
    instance = kind(TypeAdapter(kind.Options).validate_python(case.get("options", {})))
    finding = await instance.examine(transaction(case), CONTEXT)
    if result_of(path) == "nothing":
        assert finding is None
        return
    assert finding is not None
    assert (finding.filter, finding.result) == (path.parent.name, result_of(path))
    if "reason" in case:
        assert finding.reason == case["reason"]
    if "detail" in case:
        assert dict(finding.detail) == case["detail"]


@pytest.mark.parametrize("name", catalogue())
def test_a_filter_has_a_case_for_every_result_and_one_for_nothing(name):
    shown = {result_of(path) for path in FILES if path.parent.name == name}
    assert set(catalogue()[name].results) - {TEMPERROR, PERMERROR} <= shown
    assert "nothing" in shown
    assert shown <= set(catalogue()[name].results) | {"nothing"}


def test_every_case_belongs_to_a_filter():
    assert {path.parent.name for path in FILES} == set(catalogue())


def test_options_are_settings_with_defaults():
    """A policy that names no option gives ``Options()``."""
    for kind in catalogue().values():
        kind(kind.Options())
        assert kind.Options.__dataclass_params__.frozen
        assert all(field.name not in {"enabled", "on"} for field in fields(kind.Options))
