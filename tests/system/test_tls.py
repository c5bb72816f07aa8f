"""What breaks if these fail: encryption on the wire, and a certificate renewed without a restart."""

import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.system.parts import Gateway, Sink, message, received, settings, swaks, to_maildir, to_server, trace_id, until

NAME = "mx.gate.test"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def authority_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def issue(authority: trustme.CA, folder: Path) -> None:
    """Write a new certificate and its key, as a renewal does."""
    certificate = authority.issue_cert(NAME, "127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(folder / "chain.pem"))


@pytest.fixture(scope="module")
def gateway(shared_gateway: Callable[[], Gateway], authority: trustme.CA) -> Gateway:
    """STARTTLS on the first listener, TLS from the first octet on the second, none on the third."""
    found = shared_gateway()
    issue(authority, found.folder)
    tls = 'tls = { certificate = "chain.pem", key = "key.pem" }'
    implicit = 'tls = { certificate = "chain.pem", key = "key.pem", implicit = true }'
    found.configure(settings(tls, implicit, 'role = "mx"', workers=2), {"box": to_maildir("box.test")})
    return found.start()


def serial(gateway: Gateway, authority_file: Path) -> int:
    """Return the serial number of the certificate that is served now, verified."""
    context = ssl.create_default_context(cafile=str(authority_file))
    with gateway.connect(number=0) as wire:
        wire.hello()
        assert wire.say("STARTTLS").startswith("220")
        with context.wrap_socket(wire.socket, server_hostname=NAME) as encrypted:
            return int(str(encrypted.getpeercert()["serialNumber"]), 16)


@pytest.mark.real
@pytest.mark.parametrize(("listener", "option"), [(0, "--tls"), (1, "--tls-on-connect")])
def test_swaks_over_tls_with_a_verified_certificate(
    gateway: Gateway, authority_file: Path, listener: int, option: str
) -> None:
    address = f"tls{listener}@box.test"
    told = swaks(
        gateway.port(number=listener), option, "--tls-verify", "--tls-ca-path", str(authority_file),
        "--tls-sni", NAME, "--from", "anna@senders.test", "--to", address,
    )  # fmt: skip
    assert "TLSv1.3" in told
    [stored] = gateway.await_maildir(address)
    trace = " ".join(str(received(stored)["Received"]).split())
    # RFC 3848: ESMTPS after STARTTLS or implicit TLS.
    assert re.search(r"\(using TLSv1\.3 with cipher \S+ \(256/256 bits\)\).* with ESMTPS id", trace), trace
    until(lambda: "TLSv1.3" in gateway.ask("trace", trace_id(told)).out, what="the journal's word of TLS")


def test_starttls_is_offered_where_there_is_a_certificate_and_only_before_tls(
    gateway: Gateway, authority_file: Path
) -> None:
    with gateway.connect(number=0) as wire:
        assert "STARTTLS" in wire.hello()
    with gateway.connect(number=2) as wire:
        assert "STARTTLS" not in wire.hello()
        assert wire.say("STARTTLS").startswith("502 5.5.1")
    context = ssl.create_default_context(cafile=str(authority_file))
    with gateway.connect(number=0) as wire:
        wire.hello()
        wire.say("STARTTLS")
        wire.socket = context.wrap_socket(wire.socket, server_hostname=NAME)
        wire._file = wire.socket.makefile("rb")
        assert "STARTTLS" not in wire.hello()
        assert wire.say("STARTTLS").startswith("503 5.5.1")


def test_commands_smuggled_behind_starttls_are_refused(gateway: Gateway) -> None:
    with gateway.connect(number=0) as wire:
        wire.hello()
        wire.send(b"STARTTLS\r\nMAIL FROM:<evil@senders.test>\r\n")
        assert wire.reply().startswith("554 5.5.1")


def test_a_failed_handshake_ends_one_session_and_nothing_else(gateway: Gateway) -> None:
    with gateway.connect(number=0) as wire:
        wire.hello()
        assert wire.say("STARTTLS").startswith("220")
        wire.send(b"EHLO in the clear\r\n")
        wire.rest()
    gateway.await_line("session_closed", "end=tls")
    assert gateway.mail("after@box.test").startswith("250")


def test_a_renewed_certificate_is_served_after_a_reload_and_open_sessions_go_on(
    gateway: Gateway, authority: trustme.CA, authority_file: Path
) -> None:
    before = serial(gateway, authority_file)
    with gateway.connect(number=0) as wire:
        wire.hello()
        wire.begin("renewal@box.test")
        issue(authority, gateway.folder)
        answer = gateway.ask("reload")
        assert answer.status == 0, answer
        # The kernel chooses the worker: each must have the new one.
        assert all(serial(gateway, authority_file) != before for _ in range(10))
        assert wire.finish(message()).startswith("250")
    assert len(set(gateway.workers())) == 2


def test_a_certificate_that_does_not_fit_its_key_is_refused_and_the_old_one_stays(
    gateway: Gateway, authority: trustme.CA, authority_file: Path
) -> None:
    before = serial(gateway, authority_file)
    chain = gateway.folder / "chain.pem"
    good = chain.read_bytes()
    chain.write_bytes(b"-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n")
    try:
        answer = gateway.ask("reload")
        assert answer.status == 78, answer
        assert re.search(r"tidegate\.toml:\d+: listen\[1\]\.tls\.certificate: OpenSSL cannot use", answer.err), answer
        assert "goes on serving" in answer.err
        assert serial(gateway, authority_file) == before
    finally:
        chain.write_bytes(good)


def test_mail_goes_to_a_next_hop_over_verified_tls_or_waits(
    new_gateway: Callable[[], Gateway], gateway: Gateway, authority_file: Path
) -> None:
    """One gateway relays to another: ``tls=verify`` delivers only to a certificate that is valid for the host."""
    first = new_gateway()
    port = gateway.port(number=0)
    first.configure(settings(), {"secure": to_server("box.test", url=f"smtp://127.0.0.1:{port}?tls=verify")})
    first.start()
    assert first.mail("verified@box.test").startswith("250")
    [line, *_] = first.await_line("delivery_attempted", "verified@box.test", "status=deferred")
    assert "certificate" in line, line
    assert not gateway.maildir("verified@box.test")
    first.stop()
    first.start(environment={"SSL_CERT_FILE": str(authority_file)})
    [stored] = gateway.await_maildir("verified@box.test")
    assert "with ESMTPS" in " ".join(stored.decode().split())


@pytest.mark.real
def test_opportunistic_tls_falls_back_where_none_is_offered(
    new_gateway: Callable[[], Gateway], new_sink: Callable[..., Sink]
) -> None:
    sink, found = new_sink(), new_gateway()
    found.configure(settings(), {"sink": to_server("sink.test", url=sink.url(tls="may"))})
    found.start()
    identity = trace_id(found.mail("bob@sink.test"))
    sink.await_message(identity)
    until(lambda: not found.queue())
