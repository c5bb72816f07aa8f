"""What breaks if these fail: mail goes in clear text where TLS was promised, or waits for an address that is down."""

import asyncio
import errno
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.delivery.client import ClientSettings, SmtpConnection
from gateway.delivery.connector import Connector
from gateway.delivery.route import Router
from gateway.delivery.tls import TlsContexts
from gateway.delivery.transfer import Failure, Target
from gateway.dns.zone import ZoneResolver
from tests.delivery.conftest import HostFactory, Peer, good, replies_of, result_of, transfer

Authority = tuple[Path, Callable[[str], ssl.SSLContext]]
SETTINGS = ClientSettings(hostname="mx.ours.test", command_seconds=5.0)
ESCAPED = "\\200" * 20 + ".test"
ZONE = (
    "next.test A 127.0.0.1\nboth.test A 127.0.0.1\nboth.test AAAA ::1\nnone.test TXT hello\nbroken.test * !SERVFAIL\n"
    f"{ESCAPED} A 127.0.0.1\n"
)


class Keep:
    """Randomness that changes nothing."""

    def random(self) -> float:
        return 0.5

    def shuffle(self, x: list[object]) -> None:
        del x

    def randbytes(self, n: int) -> bytes:
        return b"\0" * n


def connector(authorities: str = "") -> Connector:
    router = Router(ZoneResolver(ZONE), Keep(), lambda: "mx.ours.test")  # type: ignore[arg-type]
    return Connector(router, SystemClock(), TlsContexts(authorities))


async def opened(target: Target, authorities: str = "") -> SmtpConnection | Failure:
    return await connector(authorities).open_smtp(target, SETTINGS, 5.0)


def with_starttls(context: ssl.SSLContext, *, injected: bool = False) -> Callable[[Peer], object]:
    async def play(peer: Peer) -> None:
        peer.say("220 next.test ESMTP")
        await peer.hear()
        peer.say("250-next.test\r\n250-PIPELINING\r\n250-SIZE 1\r\n250 STARTTLS")
        assert await peer.hear() == "STARTTLS"
        peer.say("220 2.0.0 go", *(["250 injected"] if injected else []))
        await peer.writer.start_tls(context)
        assert await peer.hear() == "EHLO mx.ours.test"
        peer.say("250-next.test\r\n250 PIPELINING")
        while True:
            await peer.take()

    return play


async def test_starttls_is_used_when_offered(host: HostFactory, authority: Authority) -> None:
    # ``may``: the certificate is another's, which is still better than clear text (RFC 7435).
    running = await host(with_starttls(authority[1]("other.test")))
    connection = await opened(running.target(tls="may", host="next.test"))
    assert isinstance(connection, SmtpConnection)
    # RFC 3207 §4.2: what was said in clear text is forgotten, the tiny SIZE too.
    assert connection.extensions.size_limit is None
    assert replies_of(await result_of(connection, transfer())) == ["250 2.0.0 taken"]
    assert running.peers[0].writer.get_extra_info("ssl_object") is not None
    connection.quit()


async def test_a_failed_handshake_falls_back_to_clear_text_on_a_fresh_connection(host: HostFactory) -> None:
    async def play(peer: Peer) -> None:
        peer.say("220 next.test ESMTP")
        await peer.hear()
        peer.say("250-next.test\r\n250-PIPELINING\r\n250 STARTTLS")
        if peer.number == 0:
            assert await peer.hear() == "STARTTLS"
            peer.say("220 2.0.0 go")
            await peer.reader.read(10)
            peer.writer.write(b"this is not TLS\r\n")
            return
        await peer.take()

    running = await host(play)
    connection = await opened(running.target(tls="may", host="next.test"))
    assert isinstance(connection, SmtpConnection)
    assert replies_of(await result_of(connection, transfer())) == ["250 2.0.0 taken"]
    assert len(running.peers) == 2


async def test_a_name_that_tls_cannot_carry_is_a_failed_handshake(host: HostFactory) -> None:
    """A domain may name a mail host with a label of any octets, which are four characters each when they are escaped.

    The encoder's error ended the task that opens connections: what waited for the host was never sent, nor returned.
    """

    async def play(peer: Peer) -> None:
        peer.say("220 next.test ESMTP")
        await peer.hear()
        peer.say("250-next.test\r\n250-PIPELINING\r\n250 STARTTLS")
        if await peer.hear() == "STARTTLS":
            peer.say("220 2.0.0 go")
            await peer.closed()

    running = await host(play)
    connection = await opened(running.target(tls="may", host=ESCAPED))
    assert isinstance(connection, SmtpConnection)
    connection.quit()
    failure = await opened(running.target(tls="verify", host=ESCAPED))
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.reply.is_transient) == ("starttls", True)


async def test_verify_takes_the_hosts_own_certificate(host: HostFactory, authority: Authority) -> None:
    running = await host(with_starttls(authority[1]("next.test")))
    connection = await opened(running.target(tls="verify", host="next.test"), str(authority[0]))
    assert isinstance(connection, SmtpConnection)
    connection.quit()


@pytest.mark.parametrize("name", ["other.test", "next.test.evil.test"])
async def test_verify_refuses_another_hosts_certificate(host: HostFactory, authority: Authority, name: str) -> None:
    async def play(peer: Peer) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await with_starttls(authority[1](name))(peer)  # type: ignore[misc]

    running = await host(play)
    failure = await opened(running.target(tls="verify", host="next.test"), str(authority[0]))
    assert isinstance(failure, Failure)
    assert failure.phase == "starttls"
    assert failure.reply.is_transient
    assert not failure.permanent
    # No second connection in clear text.
    assert len(running.peers) == 1


async def test_verify_refuses_a_certificate_of_an_unknown_authority(host: HostFactory, authority: Authority) -> None:
    async def play(peer: Peer) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await with_starttls(authority[1]("next.test"))(peer)  # type: ignore[misc]

    running = await host(play)
    failure = await opened(running.target(tls="verify", host="next.test"))
    assert isinstance(failure, Failure)
    assert failure.phase == "starttls"


async def test_verify_without_an_offer_is_a_failure(host: HostFactory) -> None:
    running = await host(good)
    failure = await opened(running.target(tls="verify", host="next.test"))
    assert isinstance(failure, Failure)
    assert str(failure.reply).startswith("451 4.7.4")


async def test_clear_text_behind_the_reply_to_starttls_is_an_attack(host: HostFactory, authority: Authority) -> None:
    async def play(peer: Peer) -> None:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await with_starttls(authority[1]("next.test"), injected=True)(peer)  # type: ignore[misc]

    running = await host(play)
    failure = await opened(running.target(tls="verify", host="next.test"), str(authority[0]))
    assert isinstance(failure, Failure)
    assert failure.phase == "starttls"


async def test_the_other_address_is_used_when_one_refuses(host: HostFactory) -> None:
    # IPv6 comes first (RFC 8305 §4); the server listens on IPv4 only.
    running = await host(good)
    connection = await opened(running.target(host="both.test"))
    assert isinstance(connection, SmtpConnection)
    assert connection.relay == f"both.test[127.0.0.1]:{running.port}"
    connection.quit()


async def test_an_address_that_does_not_answer_is_overtaken(host: HostFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await host(good)
    target = running.target(host="both.test")
    loop = asyncio.get_running_loop()
    real = loop.create_connection

    async def slow_v6(factory: object, address: str, port: int) -> object:
        if ":" in address:
            await asyncio.Event().wait()
        return await real(factory, address, port)  # type: ignore[arg-type]

    class Loop:
        def __getattr__(self, name: str) -> object:
            return slow_v6 if name == "create_connection" else getattr(loop, name)

    monkeypatch.setattr("gateway.delivery.connector.STAGGER_SECONDS", 0.01)
    monkeypatch.setattr("gateway.delivery.connector.running_loop", Loop)
    connection = await opened(target)
    assert isinstance(connection, SmtpConnection)
    connection.quit()


@pytest.mark.parametrize(
    ("number", "whose"),
    [(errno.EMFILE, "ours"), (errno.ENOMEM, "ours"), (errno.EADDRNOTAVAIL, "ours"), (errno.ECONNREFUSED, "theirs")],
)
async def test_what_is_used_up_here_is_not_the_next_hops_fault(
    monkeypatch: pytest.MonkeyPatch, number: int, whose: str
) -> None:
    """The delay clause excludes what others' servers cause, on this evidence (contract.md §2)."""

    async def fail(*given: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("gateway.delivery.connector._Attempt.connect", fail)
    failure = await opened(Target(scheme="smtp", host="127.0.0.1", port=25, tls="none"))
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.own_fault) == ("connect", whose == "ours")


async def test_a_host_without_addresses_waits_for_the_administrator() -> None:
    failure = await opened(Target(scheme="smtp", host="none.test", port=25, tls="none"))
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.own_fault, failure.permanent) == ("lookup", True, False)


async def test_a_host_whose_dns_is_broken_waits() -> None:
    failure = await opened(Target(scheme="smtp", host="broken.test", port=25, tls="none"))
    assert isinstance(failure, Failure)
    assert (failure.phase, failure.own_fault, str(failure.reply)[:9]) == ("lookup", False, "451 4.4.3")


async def test_lmtp_over_a_local_socket(host: HostFactory, tmp_path: Path) -> None:
    heard = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here LMTP\r\n")
        heard.append(await reader.readline())
        writer.write(b"250-here\r\n250 PIPELINING\r\n")
        await reader.read()
        writer.close()

    path = str(tmp_path / "lmtp")
    server = await asyncio.start_unix_server(serve, path)
    connection = await opened(Target(scheme="lmtp", host="", port=0, tls="may", path=path))
    assert isinstance(connection, SmtpConnection)
    assert heard == [b"LHLO mx.ours.test\r\n"]
    connection.quit()
    server.close()
