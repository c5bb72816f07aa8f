"""What breaks if these fail: behind a load balancer every client has its address, or anybody can claim another."""

import socket
import struct
from collections.abc import Callable

import pytest

from tests.system.parts import Gateway, Wire, message, received, settings, swaks, to_maildir, trace_id, until

CLIENT = "203.0.113.77"


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway]) -> Gateway:
    """PROXY from this machine, XCLIENT from this machine, both from elsewhere only; and a relay behind a proxy."""
    found = shared_gateway()
    found.configure(
        settings(
            'role = "mx"\nproxy_protocol_from = ["127.0.0.1"]',
            'role = "mx"\nxclient_from = ["127.0.0.1"]',
            'role = "mx"\nproxy_protocol_from = ["192.0.2.1"]\nxclient_from = ["192.0.2.1"]',
            'role = "relay"\nnetworks = ["203.0.113.0/24"]\nproxy_protocol_from = ["127.0.0.1"]',
        ),
        {"box": to_maildir("box.test")},
    )
    # uvloop is optional; the other tests have it.
    return found.start(environment={"TIDEGATE_LOOP": "asyncio"})


def version_2(address: str, port: int) -> bytes:
    """Return a PROXY protocol header, version 2, for IPv4 over TCP."""
    addresses = socket.inet_aton(address) + socket.inet_aton("127.0.0.1") + struct.pack("!HH", port, 25)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, 0x11]) + struct.pack("!H", len(addresses)) + addresses


HEADERS = {
    "version 1": f"PROXY TCP4 {CLIENT} 127.0.0.1 4711 25\r\n".encode(),
    "version 2": version_2(CLIENT, 4711),
}


@pytest.mark.parametrize("version", HEADERS)
def test_the_proxys_word_about_the_client_is_taken(gateway: Gateway, version: str) -> None:
    address = f"{version.replace(' ', '')}@box.test"
    with Wire(gateway.port(number=0)) as wire:
        wire.send(HEADERS[version])
        assert wire.reply().startswith("220")
        wire.hello()
        identity = trace_id(wire.mail(address, content=message()))
    [stored] = gateway.await_maildir(address)
    assert f"[{CLIENT}]" in str(received(stored)["Received"])
    assert b"127.0.0.1" not in stored[: stored.index(b"From:")]
    gateway.await_line("message_judged", identity, f"client=unknown[{CLIENT}]")
    until(lambda: identity in gateway.ask("trace", CLIENT).out)


def test_without_a_header_or_with_a_bad_one_nobody_is_served(gateway: Gateway) -> None:
    for octets in (
        b"EHLO client.example\r\n",
        b"PROXY nonsense\r\n",
        b"PROXY TCP4 a b c d\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\xff",
    ):
        with Wire(gateway.port(number=0)) as wire:
            wire.send(octets)
            wire.socket.shutdown(socket.SHUT_WR)
            assert not wire.rest().startswith(b"220")


def test_trust_follows_the_client_and_not_the_proxy(gateway: Gateway) -> None:
    for address, code in ((CLIENT, "250"), ("198.51.100.1", "550")):
        with Wire(gateway.port("relay")) as wire:
            wire.send(f"PROXY TCP4 {address} 127.0.0.1 4711 25\r\n".encode())
            assert wire.reply().startswith("220")
            wire.hello()
            wire.say("MAIL FROM:<anna@senders.test>")
            assert wire.say("RCPT TO:<bob@far.test>").startswith(code)


def test_who_is_not_listed_cannot_claim_an_address(gateway: Gateway) -> None:
    with Wire(gateway.port(number=2)) as wire:
        wire.send(HEADERS["version 1"])
        assert wire.reply().startswith("220")
        assert wire.reply()[0] == "5"
    with gateway.connect(number=2) as wire:
        assert "XCLIENT" not in wire.hello()
        assert wire.say(f"XCLIENT ADDR={CLIENT}").startswith("550 5.7.0")
        identity = trace_id(wire.mail("honest@box.test", content=message()))
    gateway.await_line("message_judged", identity, "client=unknown[127.0.0.1]")


@pytest.mark.real
def test_swaks_with_xclient(gateway: Gateway) -> None:
    told = swaks(
        gateway.port(number=1), "--xclient-addr", CLIENT, "--xclient-name", "mail.client.example",
        "--from", "anna@senders.test", "--to", "xclient@box.test",
    )  # fmt: skip
    assert f"XCLIENT NAME=mail.client.example ADDR={CLIENT}" in told or f"ADDR={CLIENT}" in told
    [stored] = gateway.await_maildir("xclient@box.test")
    assert f"mail.client.example [{CLIENT}]" in str(received(stored)["Received"])


@pytest.mark.real
@pytest.mark.parametrize("version", [1, 2])
def test_swaks_through_a_proxy(gateway: Gateway, version: int) -> None:
    address = f"swaks{version}@box.test"
    family = ("TCP4",) if version == 1 else ("AF_INET", "--proxy-command", "PROXY", "--proxy-protocol", "STREAM")
    swaks(
        gateway.port(number=0), "--proxy-version", str(version), "--proxy-family", *family,
        "--proxy-source", CLIENT, "--proxy-source-port", "4711", "--proxy-dest", "127.0.0.1", "--proxy-dest-port", "25",
        "--from", "anna@senders.test", "--to", address,
    )  # fmt: skip
    [stored] = gateway.await_maildir(address)
    assert f"[{CLIENT}]" in str(received(stored)["Received"])
