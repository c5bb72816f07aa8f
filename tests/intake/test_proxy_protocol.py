"""HAProxy's PROXY protocol, versions 1 and 2: who the client is, or nothing at all."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.intake.proxy_protocol import INCOMPLETE, Endpoints, Malformed, ProxyHeader, parse_proxy_header
from gateway.journal.events import SessionRefused

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n"
FOUR = Endpoints(
    source=ipaddress.ip_address("192.0.2.7"),
    source_port=4711,
    destination=ipaddress.ip_address("198.51.100.1"),
    destination_port=25,
)


def version_2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(block).to_bytes(2, "big") + block


V2 = version_2(0x21, 0x11, bytes([192, 0, 2, 7, 198, 51, 100, 1]) + (4711).to_bytes(2, "big") + (25).to_bytes(2, "big"))


@pytest.mark.parametrize(
    ("header", "endpoints"),
    [
        (V1, FOUR),
        (V2, FOUR),
        (V2[:14] + (17).to_bytes(2, "big") + V2[16:] + b"\x04\x00\x02ab", FOUR),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (version_2(0x20, 0x00, b""), None),
        (version_2(0x20, 0x11, bytes(12)), None),
        (version_2(0x21, 0x31, bytes(216)), None),
        (version_2(0x21, 0x12, bytes(12)), None),
    ],
)
def test_good_headers_at_every_cut(header, endpoints) -> None:
    assert parse_proxy_header(header + b"EHLO x\r\n") == ProxyHeader(len(header), endpoints)
    for end in range(len(header)):
        assert parse_proxy_header(header[:end]) is INCOMPLETE, end


def test_version_1_over_ipv6_and_mapped_addresses() -> None:
    header = parse_proxy_header(b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.9 65535 25\r\n")
    assert isinstance(header, ProxyHeader)
    assert header.endpoints is not None
    assert str(header.endpoints.source) == "2001:db8::1"
    assert str(header.endpoints.destination) == "192.0.2.9"


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO x\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 65536\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.1 04711 25\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 4711 25\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.1 4711 25\r\n",
        b"PROXY TCP4  192.0.2.7 198.51.100.1 4711 25\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY " + b"x" * 200,
        b"proxy TCP4 192.0.2.7 198.51.100.1 4711 25\r\n",
        version_2(0x22, 0x11, bytes(12)),
        version_2(0x11, 0x11, bytes(12)),
        version_2(0x21, 0x11, bytes(11)),
        version_2(0x21, 0x21, bytes(35)),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_malformed_headers(header) -> None:
    assert isinstance(parse_proxy_header(header), Malformed)


@given(
    st.one_of(
        st.binary(max_size=64),
        st.binary(max_size=40).map(SIGNATURE.__add__),
        st.binary(max_size=110).map(b"PROXY ".__add__),
    )
)
def test_any_octets_give_a_value(octets) -> None:
    answer = parse_proxy_header(octets)
    assert isinstance(answer, ProxyHeader | Malformed) or answer is INCOMPLETE
    if isinstance(answer, ProxyHeader):
        assert 0 < answer.length <= len(octets)


# --- at the door


LISTED = {"proxy_protocol_from": ("127.0.0.0/8",)}


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("octets", [1, 1000])
async def test_the_client_is_whom_the_proxy_names(open_door, header, octets) -> None:
    door = await open_door(listen=LISTED)
    client = await door.connect()
    for start in range(0, len(header), octets):
        client.send(header[start : start + octets])
    await client.greet()
    assert (await client.mail()).startswith("250 ")
    connection = door.gate.transactions[0].connection
    assert str(connection.client_address) == "192.0.2.7"
    assert connection.client_port == 4711
    assert connection.via == "127.0.0.1"
    assert connection.local_address == "198.51.100.1"
    assert not connection.early_talker


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", version_2(0x20, 0, b"")])
async def test_unknown_and_local_keep_the_peer(open_door, header) -> None:
    door = await open_door(listen=LISTED)
    client = await door.connect()
    client.send(header)
    await client.greet()
    assert (await client.mail()).startswith("250 ")
    assert str(door.gate.transactions[0].connection.client_address) == "127.0.0.1"
    assert door.gate.transactions[0].connection.via == ""


async def test_octets_behind_the_header_are_early_talk(open_door) -> None:
    door = await open_door(listen=LISTED)
    client = await door.connect()
    client.send(V1 + b"EHLO client.example\r\n")
    assert (await client.reply()).startswith("220 ")
    assert (await client.reply()).startswith("250")
    assert door.gate.connections[0].early_talker


@pytest.mark.parametrize("octets", [b"EHLO client.example\r\n", V1[:20] + b"\r\n", b"\x16\x03\x01"])
async def test_a_malformed_header_closes_without_a_word(open_door, octets) -> None:
    door = await open_door(listen=LISTED)
    client = await door.connect()
    client.send(octets)
    assert await client.reply() == ""
    await client.close()
    await door.idle()
    assert len(door.of(SessionRefused)) == 1


async def test_a_header_that_never_comes_closes(open_door, fake_clock) -> None:
    door = await open_door(listen=LISTED, clock=fake_clock)
    client = await door.connect()
    client.send(V1[:10])
    await door.until(door.waiting)
    door.pass_time(6)
    assert await client.reply() == ""
    await client.close()
    await door.idle()
    assert [event.reason for event in door.of(SessionRefused)] == ["no PROXY header: timeout"]


async def test_limits_count_the_client_and_not_the_proxy(open_door) -> None:
    door = await open_door(listen=LISTED, limits={"connections_per_client": 1, "exempt": ()})
    first, second, third = [await door.connect() for _ in range(3)]
    first.send(V1)
    assert (await first.reply()).startswith("220 ")
    second.send(V1)
    assert (await second.reply()).startswith("421 4.7.0 ")
    third.send(V1.replace(b"192.0.2.7", b"192.0.2.8"))
    assert (await third.reply()).startswith("220 ")
