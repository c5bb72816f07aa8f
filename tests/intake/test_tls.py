"""STARTTLS (RFC 3207) and implicit TLS (RFC 8314), with reload of the certificate."""

import asyncio
import ssl

import pytest
import trustme

from gateway.journal.events import SessionClosed


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority, tmp_path):
    folder = tmp_path / "tls"
    folder.mkdir()
    issue(authority, folder)
    return {"certificate": folder / "chain.pem", "key": folder / "key.pem"}


def issue(authority, folder) -> None:
    certificate = authority.issue_cert("mx.example.net")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    (folder / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))


@pytest.fixture
def context(authority) -> ssl.SSLContext:
    built = ssl.create_default_context()
    authority.configure_trust(built)
    return built


async def upgrade(client, context: ssl.SSLContext) -> None:
    await client.writer.start_tls(context, server_hostname="mx.example.net")


async def test_starttls_resets_the_session_and_is_a_fact(open_door, files, context) -> None:
    door = await open_door(listen={"tls": files})
    client = await door.connect()
    await client.reply()
    assert "STARTTLS" in await client.say("EHLO in.clear.example")
    assert (await client.say("MAIL FROM:<in-clear@example.org>")).startswith("250 ")
    assert (await client.say("STARTTLS")).startswith("220 2.0.0")
    await upgrade(client, context)
    # RFC 3207 §4.2: what was said in clear is forgotten.
    assert (await client.say("RCPT TO:<user@example.com>")).startswith("503 ")
    assert (await client.say("MAIL FROM:<sender@example.org>")).startswith("503 ")
    offered = await client.say("EHLO client.example")
    assert "STARTTLS" not in offered
    assert "AUTH" not in offered
    assert (await client.say("STARTTLS")).startswith("503 5.5.1")
    assert (await client.mail()).startswith("250 ")
    connection = door.gate.transactions[0].connection
    assert connection.tls.version == "TLSv1.3"
    assert connection.tls.bits >= 128
    assert connection.protocol == "ESMTPS"
    assert (await client.say("QUIT")).startswith("221 ")
    await client.close()
    await door.idle()
    assert [(event.end, event.tls) for event in door.of(SessionClosed)] == [("quit", "TLSv1.3")]


async def test_clear_text_behind_starttls_is_refused(open_door, files) -> None:
    """CVE-2011-0411: a command injected in clear must not be carried out under TLS."""
    door = await open_door(listen={"tls": files})
    client = await door.connect()
    await client.greet()
    client.send(b"STARTTLS\r\nMAIL FROM:<injected@example.org>\r\n")
    assert (await client.reply()).startswith("554 5.5.1")
    assert await client.reply() == ""


async def test_starttls_takes_no_argument(open_door, files) -> None:
    door = await open_door(listen={"tls": files})
    client = await door.connect()
    await client.greet()
    assert (await client.say("STARTTLS now")).startswith("501 5.5.4")


@pytest.mark.parametrize("octets", [b"EHLO this is no handshake\r\n" * 20, b""])
async def test_handshake_that_fails_ends_the_session(open_door, files, octets) -> None:
    door = await open_door(listen={"tls": files}, smtp={"tls_handshake_timeout": 0.3})
    client = await door.connect()
    await client.greet()
    await client.say("STARTTLS")
    client.send(octets)
    await door.until(lambda: door.of(SessionClosed))
    assert door.of(SessionClosed)[0].end == "tls"
    await client.close()
    await door.idle()


async def test_handshake_left_in_the_middle(open_door, files) -> None:
    door = await open_door(listen={"tls": files})
    client = await door.connect()
    await client.greet()
    await client.say("STARTTLS")
    await client.close()
    await door.idle()
    assert door.of(SessionClosed)[0].end == "tls"


async def test_implicit_tls(open_door, files, context) -> None:
    door = await open_door(listen={"tls": {**files, "implicit": True}})
    client = await door.connect(ssl=context, server_hostname="mx.example.net")
    await client.greet()
    assert (await client.mail()).startswith("250 ")
    assert door.gate.connections[0].tls.version == "TLSv1.3"
    assert not door.gate.connections[0].early_talker
    assert (await client.say("STARTTLS")).startswith("503 ")


@pytest.mark.parametrize("together", [True, False])
async def test_implicit_tls_behind_a_proxy_header(open_door, files, context, together) -> None:
    """HAProxy may send its header and the client's first octets in one segment."""
    door = await open_door(listen={"tls": {**files, "implicit": True}, "proxy_protocol_from": ("127.0.0.0/8",)})
    header = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 465\r\n"
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="mx.example.net")
    client = await door.connect()
    if not together:
        client.send(header)
        await door.until(lambda: door.counters.open_connection("probe")[0] > 0)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    client.send((header if together else b"") + outgoing.read())
    greeting = b""
    while b"\r\n" not in greeting:
        incoming.write(await client.reader.read(65536))
        try:
            tls.do_handshake()
            greeting += tls.read()
        except ssl.SSLWantReadError:
            pass
        client.send(outgoing.read())
    assert greeting.startswith(b"220 ")
    assert str(door.gate.connections[0].client_address) == "192.0.2.7"


async def test_half_close_under_tls_after_the_dot_commits_once(open_door, files, context) -> None:
    door = await open_door(listen={"tls": files})
    door.custody.opened = asyncio.Event()
    client = await door.connect()
    await client.greet()
    await client.say("STARTTLS")
    await upgrade(client, context)
    await client.say("EHLO client.example")
    await client.begin()
    client.send(b"body\r\n.\r\n")
    await door.custody.entered.wait()
    client.writer.close()
    await asyncio.sleep(0.05)
    door.custody.opened.set()
    await door.until(lambda: door.of(SessionClosed))
    assert len(door.custody.stored) == len(door.handed_over) == 1


async def serial(door, context) -> int:
    client = await door.connect()
    await client.greet()
    await client.say("STARTTLS")
    await upgrade(client, context)
    return client.writer.get_extra_info("peercert")["serialNumber"]


async def test_certificate_reloads_on_the_live_context(open_door, files, context, authority) -> None:
    door = await open_door(listen={"tls": files})
    before = await serial(door, context)
    running = door.clients[-1]
    issue(authority, files["key"].parent)
    assert await serial(door, context) == before
    door.server.reload_tls()
    assert await serial(door, context) != before
    assert (await running.say("EHLO client.example")).startswith("250")


async def test_broken_certificate_never_reaches_the_live_context(open_door, files, context) -> None:
    door = await open_door(listen={"tls": files})
    before = await serial(door, context)
    files["certificate"].write_text("nonsense", encoding="ascii")
    with pytest.raises(ssl.SSLError):
        door.server.reload_tls()
    assert await serial(door, context) == before
