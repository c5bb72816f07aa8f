"""Lists fetched from a real HTTP server and from folders. If these fail, a list that should be fetched is stale, or a
hostile server fills the memory, holds the schedule up, or leads it to other places.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.blocklist.local.declaration import ListDeclaration
from gateway.blocklist.local.editions import Fetches
from gateway.blocklist.local.fetching import Failed, Fetched, Outcome, Unchanged, fetch

Handle = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """A server whose one answer a test gives."""

    def __init__(self) -> None:
        self.handle: Handle = lambda request: request.send_error(404)
        self.seen: list[dict[str, str]] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.seen.append(dict(self.headers))
                web.handle(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/list.txt"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def web() -> Iterator[Web]:
    found = Web()
    yield found
    found.server.shutdown()
    found.server.server_close()


def answer(octets: bytes, status: int = 200, **headers: str) -> Handle:
    def handle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content_Length": str(len(octets))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(octets)

    return handle


def ask(web: Web, before: Fetches | None = None, **keys: object) -> Outcome:
    declaration = ListDeclaration.model_validate({"name": "feed", "url": web.url, "timeout": 5.0} | keys)
    return fetch(declaration, before or Fetches(list="feed", tried=0.0))


def test_a_list_comes_with_its_date_and_is_asked_for_conditionally_the_next_time(web: Web):
    web.handle = answer(b"192.0.2.7\n", Last_Modified="Fri, 20 Nov 2026 02:00:00 GMT", ETag='"1"')
    found = ask(web)
    assert isinstance(found, Fetched)
    assert (found.octets, found.published) == (b"192.0.2.7\n", 1_795_140_000.0)
    web.handle = answer(b"", 304)
    again = ask(web, Fetches(list="feed", tried=0.0, etag=found.etag, modified=found.modified))
    assert again == Unchanged()
    assert web.seen[1]["If-None-Match"] == '"1"'
    assert web.seen[1]["If-Modified-Since"] == "Fri, 20 Nov 2026 02:00:00 GMT"


@pytest.mark.parametrize(("status", "said"), [(404, "404"), (500, "500"), (401, "401")])
def test_an_error_of_the_server_is_a_failure_with_its_code(web: Web, status: int, said: str):
    web.handle = answer(b"<html>192.0.2.7", status)
    found = ask(web)
    assert isinstance(found, Failed)
    assert said in found.reason


def test_what_is_too_large_is_given_up_while_it_comes(web: Web):
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"192.0.2.7\n" * 10_000)
        except OSError:
            return

    web.handle = endless
    found = ask(web, max_size=1_000_000)
    assert isinstance(found, Failed)
    assert "max_size" in found.reason


def test_what_trickles_is_given_up_at_the_time_out(web: Web):
    ended = threading.Event()

    def trickle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not ended.wait(0.05):
                request.wfile.write(b"1")
        except OSError:
            return

    web.handle = trickle
    start = time.monotonic()
    found = ask(web, timeout=0.4)
    ended.set()
    assert isinstance(found, Failed)
    assert time.monotonic() - start < 5


def test_what_is_cut_short_is_no_list(web: Web):
    web.handle = answer(b"192.0.2.7\n", Content_Length="1000", Connection="close")
    assert isinstance(ask(web), Failed)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
def test_a_redirection_leads_to_the_web_only(web: Web, target: str):
    web.handle = answer(b"", 302, Location=target)
    assert isinstance(ask(web), Failed)


def test_a_redirection_is_followed_and_a_circle_of_them_ends(web: Web):
    web.handle = lambda request: (
        answer(b"192.0.2.7\n")(request) if request.path == "/b" else answer(b"", 302, Location="/b")(request)
    )
    assert isinstance(ask(web), Fetched)
    web.handle = answer(b"", 302, Location="/list.txt")
    assert isinstance(ask(web), Failed)


def test_nobody_there_is_a_failure(web: Web):
    web.server.shutdown()
    web.server.server_close()
    assert isinstance(ask(web), Failed)


def watched(path: Path, **keys: object) -> Outcome:
    declaration = ListDeclaration.model_validate({"name": "feed", "watch": path} | keys)
    return fetch(declaration, Fetches(list="feed", tried=0.0))


def test_the_newest_whole_file_of_a_folder_is_taken(tmp_path: Path):
    for age, name in enumerate(["new.txt.part", ".hidden", "new.txt", "old.txt"]):
        (tmp_path / name).write_bytes(name.encode())
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
    found = watched(tmp_path)
    assert isinstance(found, Fetched)
    assert (found.octets, found.published) == (b"new.txt", 999_998.0)


def test_a_folder_may_be_empty_gone_or_hold_too_much(tmp_path: Path):
    assert watched(tmp_path) == Unchanged()
    assert isinstance(watched(tmp_path / "nowhere"), Failed)
    (tmp_path / "large").write_bytes(b"x" * 100)
    assert isinstance(watched(tmp_path, max_size=10), Failed)
