"""What leaves under our name: which renditions are signed or sealed, by whose key, and what our trace fields say."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from gateway.clock import FakeClock
from gateway.config.loader import load
from gateway.dns.zone import ZoneResolver
from gateway.filters import catalogue
from gateway.journal.sinks import Recorded
from gateway.mail.connection import Role
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.transaction import Transaction
from gateway.pipeline.gate import Gate
from gateway.pipeline.verifier import Verification
from gateway.policy.signing import generate_key, read_signing_key
from gateway.senderauth.arc.validate import validate_arc
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.verify import verify_dkim
from gateway.smtp.path import parse_forward_path, parse_reverse_path
from tests.senderauth.test_message import transaction

NODE = 'hostname = "mx.ours.test"\n[[listen]]\naddress = "127.0.0.1:0"\n'
MAIL = (
    b"From: Alice <alice@ours.test>\r\nTo: bob@there.test\r\nSubject: Hello\r\n"
    b"Date: Tue, 01 Sep 2026 10:00:00 +0000\r\nMessage-ID: <1@ours.test>\r\n\r\nGood day.\r\n"
)
TAGGED = '[scores]\ntag = 1.0\nsubject_tag = "[odd]"\n[filters.helo]\non = { bare-ip = 2.0 }\n'


class Everyone:
    """A recipient verifier to whom everybody exists."""

    async def verify(self, mailbox, policy) -> Verification:  # noqa: ARG002 - the protocol's
        return Verification(outcome="exists", reply="")


@pytest.fixture
def gate(tmp_path):
    """Return a gate for policies given as domain → what follows, with keys "rsa.pem" and "ed25519.pem" beside them."""
    folder = tmp_path / "policies"
    folder.mkdir()
    keys = {kind: generate_key(kind) for kind in ("rsa", "ed25519")}
    for kind, pem in keys.items():
        (folder / f"{kind}.pem").write_bytes(pem)
    (tmp_path / "tidegate.toml").write_text(NODE, encoding="utf-8")

    def build(zone: str = "", **policies: str):
        records = [zone]
        for name, more in policies.items():
            text = f'domains = ["{name}.test"]\nnext_hop = "smtp://192.0.2.25"\n{more}'
            (folder / f"{name}.toml").write_text(text, encoding="utf-8")
            records += [
                f"{key.name} TXT {key.record}"
                for kind, pem in keys.items()
                for key in [read_signing_key(pem, f"{name}.test", kind)]
            ]
        resolver = ZoneResolver("\n".join(records))
        snapshot = load(tmp_path / "tidegate.toml", catalogue())
        made = Gate(
            snapshot, filters=catalogue(), resolver=resolver, clock=FakeClock(), verifier=Everyone(), events=Recorded()
        )
        return made, resolver

    return build


def signing(*kinds: str, seal: str = "never") -> str:
    keys = ", ".join(f'{{ selector = "{kind}", file = "{kind}.pem" }}' for kind in kinds)
    return f'[signing]\nkeys = [{keys}]\nseal = "{seal}"\n'


def mail(*to: str, role: Role = Role.MX, octets: bytes = MAIL, **connection) -> Transaction:
    tx = transaction(octets)
    path, _ = parse_reverse_path(b"<alice@ours.test>", smtputf8=False)
    recipients = tuple(_recipient(address) for address in to)
    facts = {"role": role, "hostname": "mx.ours.test", "trusted": role is not Role.MX} | connection
    return replace(
        tx, connection=replace(tx.connection, **facts), envelope=Envelope(reverse_path=path), recipients=recipients
    )


def _recipient(address: str):
    return Recipient(path=parse_forward_path(f"<{address}>".encode(), smtputf8=False)[0])


async def leaving(gate: Gate, tx: Transaction) -> list[bytes]:
    """Return what leaves to each recipient."""
    verdict = await gate.judge_content(tx)
    assert verdict.reply is None, verdict.reply
    message = await gate.signed(tx, gate.entry(tx, verdict, FakeClock().stamp()))
    return [b"".join(message.renditions[r.rendition].chunks(message.content)) for r in message.recipients]


def seen(octets: bytes) -> SignedMessage:
    return SignedMessage.of(Content(octets))


async def test_our_users_mail_has_a_signature_for_each_kind_of_key(gate):
    made, dns = gate(ours=signing("rsa", "ed25519"))
    [out] = await leaving(made, mail("bob@there.test", role=Role.RELAY))
    results = await verify_dkim(dns, seen(out), 1_700_000_000)
    assert [(r.result.value, r.domain, r.algorithm) for r in results] == [
        ("pass", "ours.test", "rsa-sha256"),
        ("pass", "ours.test", "ed25519-sha256"),
    ]
    assert out.endswith(MAIL)
    assert b"Authentication-Results" not in out
    assert b"ARC-" not in out


async def test_only_authors_of_ours_are_signed_for(gate):
    made, _ = gate(ours=signing("rsa"), nokeys="")
    for author in (b"x@elsewhere.test", b"x@sub.ours.test", b"x@nokeys.test", b"a@ours.test, b@elsewhere.test"):
        octets = MAIL.replace(b"Alice <alice@ours.test>", author)
        [out] = await leaving(made, mail("bob@there.test", role=Role.RELAY, octets=octets))
        assert b"DKIM-Signature" not in out


async def test_mail_to_us_is_not_signed(gate):
    made, _ = gate(ours=signing("rsa"))
    [out] = await leaving(made, mail("bob@ours.test"))
    assert b"DKIM-Signature" not in out
    assert b"ARC-" not in out


async def test_what_we_alter_is_sealed_and_the_rest_is_not(gate):
    made, dns = gate(ours=signing("rsa", seal="altered") + TAGGED, other=signing("rsa", seal="altered"))
    tagged, plain = await leaving(made, mail("bob@ours.test", "bob@other.test", helo="192.0.2.1"))
    assert b"Subject: [odd]" in tagged
    chain = await validate_arc(dns, seen(tagged))
    assert (chain.result, [sealer.domain for sealer in chain.sealers]) == ("pass", ["ours.test"])
    assert "spf=none" in chain.sealers[0].results
    assert b"ARC-" not in plain


async def test_each_domain_seals_with_its_own_key(gate):
    made, dns = gate(ours=signing("rsa", seal="always"), other=signing("ed25519", seal="always"), none="")
    first, second, third = await leaving(made, mail("a@ours.test", "b@other.test", "c@none.test"))
    for out, domain in ((first, "ours.test"), (second, "other.test")):
        chain = await validate_arc(dns, seen(out))
        assert (chain.result, chain.sealers[-1].domain) == ("pass", domain), chain.reason
    assert b"ARC-" not in third


async def test_a_chain_grows_a_failed_one_is_sealed_once_and_an_unknown_one_not_at_all(gate):
    made, dns = gate(ours=signing("rsa", seal="always"))
    [sealed] = await leaving(made, mail("a@ours.test"))
    [again] = await leaving(made, mail("a@ours.test", octets=sealed))
    chain = await validate_arc(dns, seen(again))
    assert (chain.result, len(chain.sealers)) == ("pass", 2)
    broken = sealed.replace(b"Good day", b"Bad day")
    [condemned] = await leaving(made, mail("a@ours.test", octets=broken))
    assert b"cv=fail" in condemned
    assert condemned.count(b"ARC-Seal:") == 2
    [left] = await leaving(made, mail("a@ours.test", octets=condemned))
    assert left.count(b"ARC-Seal:") == 2
    blind, _ = gate("rsa._domainkey.gone.test TXT !SERVFAIL", ours=signing("rsa", seal="always"))
    unknown = sealed.replace(b"d=ours.test", b"d=gone.test")
    [left] = await leaving(blind, mail("a@ours.test", octets=unknown))
    assert left.count(b"ARC-Seal:") == 1


async def test_this_machines_mail_is_neither_judged_nor_sealed(gate):
    made, dns = gate(ours=signing("rsa", seal="always"))
    [out] = await leaving(made, mail("a@ours.test", client_address=ip_address("127.0.0.1")))
    assert b"ARC-" not in out
    assert b"Authentication-Results" not in out
    assert dns.asked == []


async def test_a_key_that_is_not_yet_to_be_used_is_not(gate):
    future = '[signing]\nkeys = [{ selector = "rsa", file = "rsa.pem", since = "2099-01-01" }]\n'
    made, _ = gate(ours=future)
    [out] = await leaving(made, mail("bob@there.test", role=Role.RELAY))
    assert b"DKIM-Signature" not in out


async def test_a_named_client_stands_in_received(gate):
    zone = "1.2.0.192.in-addr.arpa PTR mail.author.example\nmail.author.example A 192.0.2.1"
    made, _ = gate(zone, ours="[filters.iprev]\nenabled = true\n")
    tx = mail("a@ours.test")
    await made.admit(tx.connection)
    [out] = await leaving(made, tx)
    assert b"(mail.author.example [192.0.2.1])" in out
    assert b"iprev=pass" in out
