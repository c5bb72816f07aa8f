"""The contract's figures come from what really happened: a next hop that puts mail off, a gateway that is killed."""

import json
import re
import time
from itertools import pairwise

import pytest

from gateway.config.service_level import ServiceTerms
from gateway.ledger import Ledger
from gateway.servicelevel.book import Writer
from gateway.servicelevel.records import Records
from tests.system.parts import Gateway, message, settings, to_server, until

OWNED = 'customer = "example"\nnext_hop_owner = "customer"\n'


def report(gateway: Gateway) -> dict:
    answer = gateway.ask("sla", "report", "--customer", "example", "--format", "json")
    assert answer.status in {0, 1}, answer
    return answer.json()


def clause(found: dict, measure: str) -> dict:
    return next(line for line in found["clauses"] if line["measure"] == measure)


def served_for_an_hour(gateway: Gateway, owner: str) -> None:
    """Have the customer's terms on record since then: time before is no month of its."""
    Writer(Records(gateway.data), time.time() - 3600, "test").set_terms(
        "example", ServiceTerms(), {"example.test": owner}
    )


def begin(attempt: list) -> float:
    """Return when an attempt began: one that came to no transaction is stamped with its end."""
    return attempt[0] - (attempt[6] if attempt[3] in {"connect", "greeting", "ehlo", "starttls", "lookup"} else 0.0)


def test_waiting_for_a_customers_server_is_excluded_on_the_evidence_of_its_replies(new_gateway, new_sink):
    sink = new_sink("-r", "RCPT")
    gateway = new_gateway()
    gateway.configure(settings(), {"example.test": to_server("example.test", url=sink.url(), more=OWNED)})
    gateway.start()
    assert gateway.mail("bob@example.test", content=message()).startswith("250")
    gateway.await_line("status=deferred")
    sink.stop()
    sink.start("-c")
    gateway.await_line("status=sent")
    until((gateway.data / "servicelevel/records.jsonl").exists, what="the customer's terms on record")

    [row] = until(lambda: list(Ledger(gateway.data).between(0, time.time() + 1)), what="the ledger's row")
    attempts = json.loads(row.attempts)
    put_off = [attempt for attempt in attempts if attempt[5] == "deferred"]
    assert len(put_off) >= 1
    found = report(gateway)
    average = clause(found, "receive-average")
    assert average["samples"] == 1
    assert average["before"] == pytest.approx(row.receive_delay_seconds, abs=1e-5)
    # From each refusal to when the next attempt was due, or began: what the gateway was late is its own.
    waited = sum(min(begin(after), put[8]) - begin(put) for put, after in pairwise(attempts) if put[5] == "deferred")
    assert average["value"] == pytest.approx(row.receive_delay_seconds - waited, abs=0.01)
    assert average["value"] < average["before"] - 0.9
    assert sum(wait["seconds"] for wait in found["waiting_excluded"]) == pytest.approx(waited, abs=0.01)
    assert {wait["class"] for wait in found["waiting_excluded"]} == {"b"}
    assert any(wait["cause"].startswith("4") for wait in found["waiting_excluded"])
    text = gateway.ask("sla", "report", "--customer", "example").out
    assert re.search(rf"waits of others' systems: {len(put_off)}\b", text), text


def test_a_gateway_killed_for_three_minutes_was_down_for_three_minutes(new_gateway, new_sink):
    sink = new_sink("-c")
    gateway = new_gateway()
    gateway.configure(settings(), {"example.test": to_server("example.test", url=sink.url(), more=OWNED)})
    served_for_an_hour(gateway, "customer")
    gateway.start()
    heartbeat = gateway.data / "servicelevel/heartbeat"
    until(heartbeat.exists, what="a heartbeat")
    gateway.kill()
    # Three minutes pass, as far as clocks can tell.
    beat = json.loads(heartbeat.read_text())
    beat["utc"] -= 180 - (time.time() - beat["utc"])
    beat["monotonic"] -= 180 - (time.monotonic() - beat["monotonic"])
    heartbeat.write_text(json.dumps(beat))
    gateway.start()
    gateway.await_line("cause=gateway", "state=closed")

    found = report(gateway)
    [fault] = found["faults"]
    assert fault["cause"] == "gateway"
    start, end = fault["start"], fault["end"]
    # And the seconds until it served again.
    assert 179 < end - start < 180 + 25
    assert clause(found, "fault-minutes")["value"] == pytest.approx((end - start) / 60)
    mostly = [m for m in range(int(start) // 60, int(end) // 60 + 1) if min(end, m * 60 + 60) - max(start, m * 60) > 30]
    assert found["minutes"]["down"] == len(mostly)
    assert len(mostly) in {3, 4}


def test_a_probe_finds_out_that_a_next_hop_is_gone_and_when_it_is_back(new_gateway, new_sink):
    sink = new_sink("-c")
    gateway = new_gateway()
    policy = to_server("example.test", url=sink.url(), more='customer = "example"\n')
    served_for_an_hour(gateway, "operator")
    gateway.configure(settings(more='[service]\nprobe_every = "1s"\n'), {"example.test": policy})
    gateway.start()
    until(lambda: report_or_none(gateway, "up"), what="a minute that is up")
    sink.stop()
    gateway.await_line("cause=receive", "state=opened", seconds=45)
    sink.start()
    gateway.await_line("cause=receive", "state=closed", seconds=45)
    found = report(gateway)
    assert found["minutes"]["down-receive"] >= 1
    assert found["faults"][0]["reason"].startswith("next hop smtp://127.0.0.1:")


def report_or_none(gateway: Gateway, state: str) -> int:
    answer = gateway.ask("sla", "report", "--customer", "example", "--format", "json")
    return answer.json()["minutes"][state] if answer.status in {0, 1} and answer.out else 0


PROBING = '[service]\nprobe_every = "1s"\nprobe_message_every = "1s"\n'
RELAY = 'role = "relay"\nnetworks = ["127.0.0.0/8"]'


def test_whole_messages_pass_both_ways_and_are_nobodys_mail(new_gateway, new_sink):
    sink = new_sink("-c")
    gateway = new_gateway()
    policy = to_server("example.test", url=sink.url(), more='customer = "example"\n')
    served_for_an_hour(gateway, "operator")
    gateway.configure(settings('role = "mx"', RELAY, more=PROBING), {"example.test": policy})
    gateway.start()
    [line, *_] = gateway.await_line("status=sent", ".probe.invalid>", count=4)
    until(lambda: report_or_none(gateway, "up"), what="a minute that is up")
    probed = {row.role for row in Ledger(gateway.data).between(0, time.time() + 1) if row.domain.endswith(".invalid")}
    assert probed == {"mx", "relay"}
    found = report(gateway)
    assert {clause(found, f"{direction}-average")["samples"] for direction in ("send", "receive")} == {0}
    assert clause(found, "receive-average")["outcome"] == "no-data"
    assert found["minutes"]["down"] == found["minutes"]["down-receive"] == found["minutes"]["down-send"] == 0
    assert sink.messages() == []
    # Whoever does not know the name cannot have it: it is none of the domains that mail is taken for.
    domain = re.search(r"to=<postmaster@([0-9a-f]{32})\.probe\.invalid>", line)[1]
    assert gateway.mail(f"postmaster@{domain[::-1]}.probe.invalid").startswith("550 5.7.1")
    gateway.stop()
    # One that was under way may lie there.
    assert len(list((gateway.data / "servicelevel/probes").rglob("new/*"))) <= 2
