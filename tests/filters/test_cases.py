"""Every result word of every filter is proved by a case file (tests/filters/cases/FILTER/RESULT[--note].toml).

``nothing--note.toml`` proves that nothing is found. Keys: ``reason``, ``detail`` and ``weight`` as expected, of the
finding with the file's result; ``results``, all of them in order, where there are several; ``[options]``;
``[connection]`` and ``[envelope]`` with the fields of those types; ``reverse_path`` and ``recipients`` as addresses;
``content``, its lines ended by CR LF here; ``repeat`` = { line, times } put before it; ``dns``, a zone's text
(``gateway.dns.zone``).

``[local_lists]`` are files of the folder of blocklists, by name.

What filters remember: ``[[memory]]`` with ``reputation = NAME``, ``good`` and ``bad``, or ``penpal = [OURS, THEIRS]``;
``earlier``, how many seconds before the examination the same mail has been examined already.

``[[suspended]]``: ``kind`` (client or account) and ``sender`` of our own senders who are suspended for incident 7.

``[scanner]``: ``signatures``, text in the octets → the name that clamd would give, or the ``cause`` why it cannot scan.
"""

import asyncio
import tomllib
from dataclasses import fields, replace
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from gateway.antivirus.desk import Antivirus
from gateway.antivirus.fakes import ScriptedAntivirus, ScriptedScanners
from gateway.antivirus.result import Cause
from gateway.blocklist.local.keeping import ListKeeper
from gateway.blocklist.local.lists import LocalLists
from gateway.clock import FakeClock
from gateway.dns.zone import ZoneResolver
from gateway.filters import COMMON_RESULTS, catalogue
from gateway.incidents.suspended import SuspendedSenders, write_suspended
from gateway.incidents.suspensions import Suspension
from gateway.mail.connection import Connection, Role
from gateway.mail.content import EMPTY_CONTENT, Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.transaction import Transaction
from gateway.policy.filter import Context
from gateway.policy.finding import PERMERROR, TEMPERROR
from gateway.smtp.path import parse_forward_path, parse_reverse_path
from gateway.state.deferrals import Deferrals
from gateway.state.greylist import Greylist
from gateway.state.penpals import Penpals
from gateway.state.rates import Rates
from gateway.state.reputation import Reputation
from gateway.state.table import SharedTable
from gateway.storage import DurableFiles

CASES = Path(__file__).parent / "cases"
FILES = sorted(CASES.rglob("*.toml"))
CLOCK = FakeClock()
CONTEXT = Context(clock=CLOCK, resolver=ZoneResolver(), hostname="mx.ours.test")
KEYS = {"reason", "detail", "weight", "results", "options", "connection", "envelope", "content", "repeat"} | {
    *("dns", "reverse_path", "recipients", "memory", "earlier", "scanner", "local_lists", "suspended")
}


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
        envelope=Envelope(**_reverse_path(case), **case.get("envelope", {})),
        recipients=tuple(
            Recipient(path=parse_forward_path(f"<{address}>".encode(), smtputf8=True)[0])
            for address in case.get("recipients", ())
        ),
        content=Content(text.replace("\n", "\r\n").encode()) if received else EMPTY_CONTENT,
        received=received,
    )


def _reverse_path(case: dict[str, Any]) -> dict[str, Any]:
    if "reverse_path" not in case:
        return {}
    return {"reverse_path": parse_reverse_path(f"<{case['reverse_path']}>".encode(), smtputf8=True)[0]}


@pytest.fixture
def memories(tmp_path):
    """The memories of the door, small, on a clock of their own."""
    clock, tables = FakeClock(), []

    def table(name):
        tables.append(SharedTable(tmp_path / name, places=64, clock=clock))
        return tables[-1]

    kinds = (Deferrals, Greylist, Penpals, Rates, Reputation)
    services: dict[type, Any] = {kind: kind(table(kind.__name__), clock) for kind in kinds}
    yield clock, services
    if Antivirus in services:
        services[Antivirus].close()
    for opened in tables:
        opened.close()


def remember(services: dict[type, Any], past: list[dict[str, Any]]) -> None:
    for one in past:
        if "penpal" in one:
            services[Penpals].note(*one["penpal"])
        else:
            services[Reputation].note(one["reputation"], good=one.get("good", 0), bad=one.get("bad", 0))


def kept_lists(folder: Path, files: dict[str, str], clock: FakeClock) -> LocalLists:
    """Return the local lists of a case, compiled and mapped."""
    (folder / "blocklists").mkdir()
    for name, text in files.items():
        (folder / "blocklists" / name).write_text(text, encoding="utf-8")
    ListKeeper(folder / "blocklists", folder, clock=clock).update()
    lists = LocalLists(folder)
    lists.refresh()
    return lists


def suspended_senders(folder: Path, senders: list[dict[str, str]]) -> SuspendedSenders:
    """Return the suspended senders of a case, as a worker reads them."""
    facts = {"incident": 7, "reason": "", "how": "hand", "by": "anna", "began_at": 0.0}
    write_suspended(folder, [Suspension(id=n, **facts, **each) for n, each in enumerate(senders)], DurableFiles())
    found = SuspendedSenders(folder, lambda: "abuse@ours.test")
    found.refresh()
    return found


@pytest.mark.parametrize("path", FILES, ids=[f"{path.parent.name}/{path.stem}" for path in FILES])
async def test_case(path, memories, tmp_path):
    case = tomllib.loads(path.read_text(encoding="utf-8"))
    assert set(case) <= KEYS
    kind = catalogue()[path.parent.name]
    instance = kind(TypeAdapter(kind.Options).validate_python(case.get("options", {})))
    clock, services = memories
    remember(services, case.get("memory", []))
    context = replace(CONTEXT, clock=clock, services=services, resolver=ZoneResolver(case.get("dns", "")))
    if "local_lists" in case:
        services[LocalLists] = await asyncio.to_thread(kept_lists, tmp_path, case["local_lists"], clock)
    if "suspended" in case:
        services[SuspendedSenders] = suspended_senders(tmp_path, case["suspended"])
    if "scanner" in case:
        scanners = case["scanner"] | {"cause": Cause(case["scanner"].get("cause", ""))}
        services[Antivirus] = ScriptedAntivirus(ScriptedScanners(**scanners), clock)
    earlier = [*sorted(case.get("earlier", []), reverse=True), 0]
    for ago, until in pairwise(earlier):
        await instance.examine(transaction(case), context)
        clock.advance(ago - until)
    said = await instance.examine(transaction(case), context)
    found = said if isinstance(said, tuple) else () if said is None else (said,)
    if result_of(path) == "nothing":
        assert found == ()
        return
    assert [finding.result for finding in found] == case.get("results", [result_of(path)])
    assert {finding.filter for finding in found} == {path.parent.name}
    finding = next(one for one in found if one.result == result_of(path))
    if "reason" in case:
        assert finding.reason == case["reason"]
    if "detail" in case:
        assert dict(finding.detail) == case["detail"]
    assert finding.weight == case.get("weight", 1.0)


@pytest.mark.parametrize("name", catalogue())
def test_a_filter_has_a_case_for_every_result_and_one_for_nothing(name):
    shown = {result_of(path) for path in FILES if path.parent.name == name}
    assert set(catalogue()[name].results) - {TEMPERROR, PERMERROR} <= shown
    assert "nothing" in shown
    assert shown <= set(catalogue()[name].results) | {"nothing", *COMMON_RESULTS}


def test_every_case_belongs_to_a_filter():
    assert {path.parent.name for path in FILES} == set(catalogue())


def test_options_are_settings_with_defaults():
    """A policy that names no option gives ``Options()``."""
    for kind in catalogue().values():
        kind(kind.Options())
        assert kind.Options.__dataclass_params__.frozen
        assert all(field.name not in {"enabled", "on"} for field in fields(kind.Options))
