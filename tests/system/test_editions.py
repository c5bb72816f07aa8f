"""The association's list fetched by the running program, from a web server and from a folder: what is published is in
force, and on record as the contract wants it (contract.md §4 d).
"""

import threading
import urllib.request
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.system.parts import Gateway, settings, to_maildir, until

LISTS = """\
[[list]]
name = "association"
source = "association"
action = "reject"
url = "http://127.0.0.1:{port}/list.txt"
[[list]]
name = "province"
source = "association"
action = "reject"
watch = "{folder}"
"""
# Enough that a list which shrinks to one entry has jumped.
MANY = "".join(f"n{number}.wave.test\n" for number in range(100))


class Publisher:
    """A web server with one list."""

    def __init__(self) -> None:
        self.text = ""
        self.asked = 0
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.asked += 1
                octets = publisher.text.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(octets)))
                self.send_header("Last-Modified", formatdate(usegmt=True))
                self.end_headers()
                self.wfile.write(octets)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def publisher() -> Iterator[Publisher]:
    found = Publisher()
    found.text = MANY + "first.test\n"
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway], publisher: Publisher) -> Gateway:
    found = shared_gateway()
    found.configure(settings(workers=2, more='[metrics]\naddress = "127.0.0.1:0"\n'), {"box": to_maildir("box.test")})
    published = found.folder / "published"
    published.mkdir()
    (published / "edition-1.txt").write_text("local.test\n", encoding="utf-8")
    text = LISTS.format(port=publisher.port, folder=published)
    (found.folder / "blocklists/lists.toml").write_text(text, encoding="utf-8")
    return found.start()


def everywhere(gateway: Gateway, expected: str, helo: str) -> None:
    """Wait until every worker answers a client of that name so."""

    def answered() -> bool:
        for _ in range(8):
            with gateway.connect() as wire:
                wire.hello(helo)
                wire.say("MAIL FROM:<anna@senders.test>")
                if not wire.say("RCPT TO:<me@box.test>").startswith(expected):
                    return False
        return True

    until(answered, what=f"{expected} for {helo}")


def clocks(gateway: Gateway, what: str) -> list[dict[str, Any]]:
    """Return the clocks about a list, in the order of its editions."""
    found = gateway.ask("deadline", "list", "--all", "--json").json()
    return sorted((each for each in found if each["subject"].endswith(what)), key=lambda each: each["number"])


def gauge(gateway: Gateway, name: str) -> float:
    """Return the value of one line of the metrics."""
    with urllib.request.urlopen(f"{gateway.metrics_url()}/metrics") as answer:  # noqa: S310 - our own http URL
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
    return float(lines[name])


def test_what_is_published_is_fetched_and_in_force_and_its_clock_is_met(gateway: Gateway) -> None:
    everywhere(gateway, "550", "first.test")
    everywhere(gateway, "550", "local.test")
    for name, how in (("association", "url"), ("province", "watch")):
        [edition] = gateway.ask("blocklist", "history", name, "--json").json()["editions"]
        assert (edition["how"], edition["who"], edition["state"], edition["met"]) == (how, "schedule", "applied", "met")
        assert edition["published_known"]
        [clock] = until(lambda name=name: clocks(gateway, f"of {name}"), what=f"the clock of {name}")
        assert clock["kind"] == "association-list"
        assert (clock["start"], clock["due"]) == (edition["published"], edition["deadline"])
        until(lambda name=name: clocks(gateway, f"of {name}")[0]["state"] == "met", what=f"{name} in time")
        gateway.await_line("list_applied", f"list={name}", "edition=1", "deadline met")


def test_the_next_edition_replaces_it_and_the_gateway_tells_of_what_a_command_brought_in(
    gateway: Gateway, publisher: Publisher
) -> None:
    publisher.text = MANY + "second.test\n"
    (gateway.folder / "published/edition-2.txt").write_text("region.test\n", encoding="utf-8")
    before = gauge(gateway, 'tidegate_list_editions_total{outcome="applied"}')
    assert gateway.ask("blocklist", "update").status == 0
    everywhere(gateway, "550", "second.test")
    everywhere(gateway, "550", "region.test")
    everywhere(gateway, "250", "first.test")
    gateway.await_line("list_applied", "list=association", "edition=2")
    assert gauge(gateway, 'tidegate_list_editions_total{outcome="applied"}') == before + 2
    until(lambda: [each["state"] for each in clocks(gateway, "of province")] == ["met", "met"], what="the second clock")


def test_an_edition_that_jumps_is_held_back_seen_by_monitoring_and_runs_against_its_clock(
    gateway: Gateway, publisher: Publisher
) -> None:
    publisher.text = "second.test\n"
    assert gateway.ask("blocklist", "update").status == 65
    gateway.await_line("list_withheld", "list=association", "state=held")
    assert gauge(gateway, 'tidegate_lists{state="held"}') == 1
    assert gauge(gateway, "tidegate_lists_overdue") == 0
    everywhere(gateway, "550", "n7.wave.test")
    until(lambda: [e["state"] for e in clocks(gateway, "of association")] == ["met", "met", "open"], what="its clock")
    assert gateway.ask("blocklist", "accept", "association").status == 0
    everywhere(gateway, "250", "n7.wave.test")
    assert gauge(gateway, 'tidegate_lists{state="held"}') == 0
    until(lambda: [e["state"] for e in clocks(gateway, "of association")][-1] == "met", what="the clock to be met")


def test_a_source_that_is_gone_is_told_and_the_list_serves_on(gateway: Gateway, publisher: Publisher) -> None:
    publisher.server.shutdown()
    publisher.server.server_close()
    assert gateway.ask("blocklist", "update").status == 65
    gateway.await_line("list_withheld", "list=association", "state=unreachable")
    assert gauge(gateway, 'tidegate_lists{state="unreachable"}') == 1
    everywhere(gateway, "550", "second.test")
