"""Probes decide whether the gateway gets mail: they must have an answer, and nobody else may cost it anything."""

import asyncio

import pytest

from gateway.admin import http
from gateway.admin.http import AdminHttp


async def render(path):
    if path == "/readyz":
        return 503, http.TEXT, b"draining\n"
    return 200, http.TEXT, f"this is {path}\n".encode()


@pytest.fixture
async def served():
    server = AdminHttp("127.0.0.1:0", render)
    await server.start()
    yield server.addresses[0]
    await server.close()


async def ask(address, request):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), head.decode(), body


@pytest.mark.parametrize(
    ("target", "status", "body"),
    [
        ("/metrics", 200, b"this is /metrics\n"),
        ("/healthz", 200, b"this is /healthz\n"),
        ("/healthz?verbose", 200, b"this is /healthz\n"),
        ("/readyz", 503, b"draining\n"),
        ("/", 404, b"Not Found\n"),
        ("/metrics/../../etc/passwd", 404, b"Not Found\n"),
    ],
)
async def test_get(served, target, status, body):
    found, head, content = await ask(served, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (found, content) == (status, body)
    assert f"Content-Length: {len(body)}" in head
    assert "Connection: close" in head


async def test_head_has_the_length_and_no_body(served):
    status, head, body = await ask(served, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, body) == (200, b"")
    assert "Content-Length: 17" in head


@pytest.mark.parametrize(
    ("request_octets", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"EHLO mx.example.org\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
async def test_what_is_not_a_get_is_refused_by_status(served, request_octets, status):
    assert (await ask(served, request_octets))[0] == status


async def test_a_client_that_never_finishes_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection(*served)
    writer.write(b"GET /metrics HT")
    assert await reader.read() == b""
    writer.close()


async def test_too_many_at_once_are_told_so(served, monkeypatch):
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 1)
    _, idle = await asyncio.open_connection(*served)
    idle.write(b"GET /me")
    await idle.drain()
    status, _, _ = await ask(served, b"GET /metrics HTTP/1.1\r\n\r\n")
    assert status == 503
    idle.close()
