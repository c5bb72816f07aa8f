"""What breaks if these fail: nobody sees from outside how the gateway is."""

import json
import os
import re
import signal
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from tests.system.parts import Gateway, settings, to_maildir, to_server, trace_id, until


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    found = shared_gateway()
    more = '[metrics]\naddress = "127.0.0.1:0"\n[log]\nformat = "json"\n'
    found.configure(
        settings(workers=2, more=more),
        {"box": to_maildir("box.test"), "dead": to_server("dead.test", url="smtp://127.0.0.1:1")},
    )
    return found.start()


def get(gateway: Gateway, path: str) -> tuple[int, str, str]:
    """Return status, content type and body."""
    try:
        with urllib.request.urlopen(gateway.metrics_url() + path) as answer:  # noqa: S310 - our own http URL
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, "", ""


def sample(metrics: str, name: str) -> float:
    """Return the sum of all samples of a metric whose line begins with ``name``."""
    values = re.findall(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", metrics, re.MULTILINE)
    assert values, f"{name} is not among\n{metrics}"
    return sum(map(float, values))


def test_health_and_readiness(gateway: Gateway) -> None:
    assert get(gateway, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    assert get(gateway, "/readyz")[::2] == (200, "ready\n")
    assert get(gateway, "/elsewhere")[0] == 404


def test_metrics_count_what_happens_in_all_workers(gateway: Gateway) -> None:
    for number in range(10):
        assert gateway.mail(f"m{number}@box.test").startswith("250")
    assert gateway.mail("x@elsewhere.test").startswith("550")
    gateway.mail("waits@dead.test")
    for number in range(10):
        gateway.await_maildir(f"m{number}@box.test")

    def counted() -> bool:
        _, kind, metrics = get(gateway, "/metrics")
        assert "text/plain" in kind or "openmetrics" in kind
        return 'status="sent"' in metrics and metrics

    metrics = until(counted)
    names = set(re.findall(r"^# TYPE (\S+) ", metrics, re.MULTILINE))
    assert all(name.startswith(("tidegate_", "process_", "python_")) for name in names), names
    assert any(name.endswith("_total") or "counter" in metrics for name in names)
    # No label holds what a stranger can choose.
    assert "box.test" not in metrics
    assert "127.0.0.1" not in metrics.replace("127.0.0.1:1", "")
    assert sample(metrics, "tidegate_queue_recipients") >= 1


def test_status_for_people_and_for_programs(gateway: Gateway) -> None:
    identity = trace_id(gateway.mail("status@dead.test"))
    answer = gateway.run("status")
    assert answer.status == 0, answer
    assert re.search(r"^tidegate \S+ takes mail$", answer.out, re.MULTILINE)
    assert f"data in {gateway.data}" in answer.out
    assert re.search(r"^queue     \d+ queued; the oldest has waited \d+s", answer.out, re.MULTILINE), answer.out
    for number, pid in gateway.workers().items():
        assert re.search(rf"^{number}\t{pid}\tserving\t", answer.out, re.MULTILINE), answer.out
    found = gateway.status()
    assert found["ready"] is True
    assert {worker["pid"] for worker in found["workers"]} == set(gateway.workers().values())
    assert found["queue"]["recipients"]["queued"] >= 1
    assert found["uptime_seconds"] > 0
    assert gateway.ask("queue", "drop", identity).status == 0


def test_the_log_is_one_json_object_a_line_and_nothing_else(gateway: Gateway) -> None:
    identity = trace_id(gateway.mail("o'hara=x@box.test", sender="line@senders.test"))
    until(lambda: any(line.get("status") == "sent" and line.get("id") == identity for line in _parsed(gateway)))
    lines = _parsed(gateway)
    assert all({"at", "level", "event"} <= line.keys() for line in lines)
    [judged] = [line for line in lines if line.get("id") == identity and line["event"] == "message_judged"]
    assert judged["from"] == "line@senders.test"
    assert judged["status"] == "queued"


def _parsed(gateway: Gateway) -> list[dict]:
    return [json.loads(line) for line in gateway.log().splitlines()]


def test_a_worker_that_does_not_answer_is_told_of_before_the_scraper_is_cut_off(gateway: Gateway) -> None:
    stopped = gateway.workers()[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert get(gateway, "/readyz")[0] == 503
        status, _, metrics = get(gateway, "/metrics")
        assert (status, "tidegate_" in metrics) == (200, True)
    finally:
        os.kill(stopped, signal.SIGCONT)
    until(lambda: get(gateway, "/readyz")[0] == 200, what="the worker's answer")
