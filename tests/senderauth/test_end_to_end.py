"""Over SMTP with a real DNS server: what a sender hears, and what the mailbox's owner can read of it.

The client's address comes by XCLIENT; Unbound has the zones, and is stopped for what happens without it.
"""

import asyncio
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import dkim
import pytest

from gateway.admin.control import ControlClient
from gateway.admin.protocol import Failed
from gateway.clock import FakeClock
from gateway.journal.sinks import Recorded
from gateway.journal.store import Journal
from gateway.mail.content import Content
from gateway.mail.own_mail import COMMAND as OWN_MAIL
from gateway.mail.own_mail import OwnMail
from gateway.policy.signing import SigningKey, generate_key, read_signing_key
from gateway.senderauth.arc.validate import validate_arc
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.signing import sign_dkim
from gateway.senderauth.dmarc.facts import DmarcFacts
from gateway.senderauth.dmarc.ingest import read_reports
from tests.antivirus.conftest import MATERIAL as ANTIVIRUS
from tests.antivirus.conftest import Clamd
from tests.senderauth.material import TextZone
from tests.senderauth.test_reports import event
from tests.system.parts import Gateway, free_port, message, received, settings, to_maildir, trace_id, until
from tests.system.test_antivirus import infected

pytestmark = pytest.mark.real

CLIENT = "198.51.100.7"
# Of this file, whatever midnight falls into it.
YESTERDAY = datetime.combine(datetime.now(UTC).date() - timedelta(days=1), time(12), UTC)
REPORTED = "v=DMARC1; p=none; rua=mailto:reports@plain.test,mailto:somebody@victim.test"
CONFIGURATION = """\
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  interface: 127.0.0.1@{port}
  do-ip6: no
  num-threads: 1
  module-config: "iterator"
  local-zone: "." static
{data}
remote-control:
  control-enable: no
"""


class Unbound:
    """A name server that knows the records given and says NXDOMAIN to the rest."""

    def __init__(self, folder: Path, records: Sequence[tuple[str, str, str]]) -> None:
        self.port = free_port()
        lines = [f"  local-data: '{name}. 60 IN {kind} {_value(kind, value)}'" for name, kind, value in records]
        self._file = folder / "unbound.conf"
        self._file.write_text(CONFIGURATION.format(folder=folder, port=self.port, data="\n".join(lines)))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Unbound":
        program = shutil.which("unbound", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        if program is None:
            pytest.skip("unbound (package unbound) is not installed")
        self._process = subprocess.Popen([program, "-d", "-c", self._file], stderr=subprocess.PIPE)
        said = []
        for line in self._process.stderr:
            said.append(line.decode(errors="replace"))
            if "start of service" in said[-1]:
                return self
        pytest.fail(f"unbound ended: {''.join(said)}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate(timeout=10)
            self._process = None


def _value(kind: str, value: str) -> str:
    if kind != "TXT":
        return value
    return " ".join(f'"{value[at : at + 200]}"' for at in range(0, len(value), 200))


@pytest.fixture(scope="module")
def keys() -> dict[str, SigningKey]:
    """Return the senders' keys and ours, by domain."""
    return {
        domain: read_signing_key(generate_key("rsa"), domain, "s1")
        for domain in ("honest.test", "later.test", "box.test", "tag.test", "cut.test", "out.test")
    }


@pytest.fixture(scope="module")
def records(keys) -> list[tuple[str, str, str]]:
    return [
        ("honest.test", "TXT", f"v=spf1 ip4:{CLIENT} -all"),
        ("_dmarc.honest.test", "TXT", "v=DMARC1; p=reject; rua=mailto:reports@honest.test"),
        # Nothing asks for these before the server is stopped.
        ("later.test", "TXT", f"v=spf1 ip4:{CLIENT} -all"),
        ("_dmarc.later.test", "TXT", "v=DMARC1; p=reject"),
        ("strict.test", "TXT", "v=spf1 ip4:192.0.2.1 exp=why.strict.test -all"),
        ("why.strict.test", "TXT", "%{i} is none of ours"),
        ("_dmarc.forged.test", "TXT", "v=DMARC1; p=reject"),
        ("_dmarc.reported.test", "TXT", REPORTED),
        ("reported.test._report._dmarc.plain.test", "TXT", "v=DMARC1"),
        ("7.100.51.198.in-addr.arpa", "PTR", "mail.honest.test."),
        ("mail.honest.test", "A", CLIENT),
        *((key.name, "TXT", key.record) for key in keys.values()),
    ]


@pytest.fixture(scope="module")
def dns(tmp_path_factory, records) -> Iterator[Unbound]:
    server = Unbound(tmp_path_factory.mktemp("unbound"), records).start()
    yield server
    server.stop()


LISTENERS = ('role = "mx"\nxclient_from = ["127.0.0.1"]', 'role = "relay"\nnetworks = ["127.0.0.0/8"]')
STRICT = '[filters.spf]\non = { fail = "reject" }\n[filters.dmarc]\nhonour = true\n[filters.iprev]\nenabled = true\n'


def signing(domain: str, seal: str) -> str:
    key = f'{{ selector = "s1", file = "../{domain}.pem" }}'
    return f'[signing]\nkeys = [{key}]\nseal = "{seal}"\n'


@pytest.fixture(scope="module")
def scanner() -> Iterator[Clamd | None]:
    """Return a clamd, None where there is none to be had: only the test that has something cut needs it."""
    if not (ANTIVIRUS / "start_clamd.sh").exists() or shutil.which("clamd", path="/usr/sbin:/usr/bin") is None:
        yield None
        return
    # A socket's name has 108 octets at most.
    with tempfile.TemporaryDirectory(prefix="av-") as folder:
        clamd = Clamd(Path(folder))
        clamd.start()
        yield clamd
        clamd.kill()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, dns: Unbound, keys: dict[str, SigningKey], scanner: Clamd | None) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    for domain, key in keys.items():
        (gateway.folder / f"{domain}.pem").write_bytes(_pem(key))
    more = f'[dns]\nservers = ["127.0.0.1:{dns.port}"]\ntimeout = "1s"\n'
    more += '[dmarc_reports]\nsend = true\nat = "00:00"\nauthor = "dmarc@out.test"\norganisation = "The Gate"\n'
    more += f'[clamd]\naddress = "{scanner.unix}"\n' if scanner else ""
    subject = '[scores]\nsubject_tag = "[list]"\ntag = 0.1\n[[rule]]\nname = "all"\nscore = 1.0\n'
    everything = 'when = { subject = { contains = "message" } }\n'
    off = '[antivirus]\nmode = "off"\n'
    policies = {
        "box": to_maildir("box.test", more=off + STRICT + signing("box.test", "always")),
        "tag": to_maildir("tag.test", more=off + signing("tag.test", "altered") + subject + everything),
        "cut": to_maildir("cut.test", more='[antivirus]\nmode = "clean"\n' + signing("cut.test", "altered")),
        "plain": to_maildir("plain.test", more=off),
        "out": to_maildir("out.test", more=off + signing("out.test", "never")),
    }
    gateway.configure(settings(*LISTENERS, more=more), policies)
    asyncio.run(judged_yesterday(gateway))
    try:
        yield gateway.start()
    finally:
        gateway.destroy()


def _pem(key: SigningKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - for this line
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    return key.material.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def send(gateway: Gateway, to: str, content: bytes, sender: str = "anna@honest.test", client: str = CLIENT) -> str:
    """Send one mail from ``client``; return the last reply."""
    with gateway.connect() as wire:
        wire.hello()
        assert wire.say(f"XCLIENT ADDR={client}").startswith("220")
        wire.hello("mail.honest.test")
        return wire.mail(to, sender=sender, content=content)


def results(stored: bytes) -> str:
    """Return our Authentication-Results, unfolded."""
    fields = [str(value) for value in received(stored).get_all("Authentication-Results", [])]
    ours = [" ".join(value.split()) for value in fields if value.startswith("mx.gate.test;")]
    assert len(ours) == 1, fields
    return ours[0]


def words(stored: bytes) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\w+)(?= reason| smtp| header| policy|;|$)", results(stored)))


async def honest(keys, **more) -> bytes:
    content = message(author="anna@honest.test", **more)
    return await sign_dkim(SignedMessage.of(Content(content)), keys["honest.test"], 1_750_000_000) + content


async def test_honest_mail_passes_and_says_so(gateway, keys):
    assert send(gateway, "honest@box.test", await honest(keys)).startswith("250")
    [stored] = gateway.await_maildir("honest@box.test")
    said = results(stored)
    for part in (
        "iprev=pass",
        "spf=pass",
        "smtp.mailfrom=anna@honest.test",
        "dkim=pass",
        "header.d=honest.test",
        "dmarc=pass",
        "header.from=honest.test",
    ):
        assert part in said, said
    assert stored.index(b"Authentication-Results:") < stored.index(b"Received: from")
    assert b"Received-SPF: pass" in stored


async def test_a_client_that_spf_denies_hears_why(gateway):
    reply = send(gateway, "denied@box.test", message(), sender="anna@strict.test")
    assert reply.startswith("550 5.7.23 "), reply
    assert "strict.test explains: 198.51.100.7 is none of ours" in reply


async def test_a_forged_author_is_refused_where_its_domain_wants_that(gateway):
    forged = message(author="ceo@forged.test")
    assert send(gateway, "forged@box.test", forged).startswith("550 5.7.26 ")
    # Where honour is off it is a score.
    assert send(gateway, "forged@plain.test", forged).startswith("250")
    [stored] = gateway.await_maildir("forged@plain.test")
    assert "dmarc=fail" in results(stored)
    assert "dmarc.reject=6" in str(received(stored)["X-Spam-Status"]).replace("\n", " ")


async def test_mail_of_domains_that_publish_nothing_says_none(gateway):
    assert send(gateway, "none@plain.test", message(author="a@nothing.test"), sender="a@nothing.test").startswith("250")
    [stored] = gateway.await_maildir("none@plain.test")
    assert words(stored)["spf"] == "none"
    assert words(stored)["dmarc"] == "none"


async def test_forged_results_of_ours_are_gone_and_others_stay(gateway, keys):
    forged = b"Authentication-Results: mx.gate.test; spf=pass\r\nAuthentication-Results: other.test; spf=fail\r\n"
    assert send(gateway, "trace@plain.test", forged + message(author="a@nothing.test")).startswith("250")
    [stored] = gateway.await_maildir("trace@plain.test")
    assert "spf=pass smtp.mailfrom" not in results(stored).replace("reason", "")[:40]
    assert b"Authentication-Results: other.test; spf=fail" in stored


FROM_TRICKS = {
    "two fields": b"From: anna@honest.test\r\nFrom: ceo@forged.test\r\n",
    "two authors": b"From: anna@honest.test, ceo@forged.test\r\n",
    "two brackets": b"From: <anna@honest.test> <ceo@forged.test>\r\n",
    "an address for a name": b"From: ceo@forged.test <anna@honest.test>\r\n",
    "no end": b'From: "ceo@forged.test <anna@honest.test>\r\n',
}


@pytest.mark.parametrize("trick", FROM_TRICKS)
async def test_five_from_tricks_never_pass(gateway, trick):
    content = FROM_TRICKS[trick] + b"Date: Sun, 22 Nov 2026 17:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nHello.\r\n"
    address = f"{trick.replace(' ', '')}@plain.test"
    assert send(gateway, address, content).startswith("250")
    [stored] = gateway.await_maildir(address)
    assert words(stored)["dmarc"] == "permerror"


def dns_of(records):
    texts = {name: value for name, kind, value in records if kind == "TXT"}
    return lambda name, **_: texts[name.decode().rstrip(".")].encode()


async def test_mail_that_our_tag_broke_is_sealed_with_what_we_found(gateway, keys, records):
    assert send(gateway, "tagged@tag.test", await honest(keys)).startswith("250")
    [stored] = gateway.await_maildir("tagged@tag.test")
    stored = stored[stored.index(b"ARC-Seal:") :]
    assert b"Subject: [list]" in stored
    look_up = dns_of(records)
    assert not dkim.verify(stored, dnsfunc=look_up)
    status, _, reason = dkim.arc_verify(stored, dnsfunc=look_up)
    assert status == dkim.CV_Pass, reason
    ours = await validate_arc(
        TextZone({k: v for k, kind, v in records if kind == "TXT"}), SignedMessage.of(Content(stored))
    )
    assert ours.result == "pass"
    assert "dkim=pass" in ours.sealers[0].results
    assert ours.sealers[0].domain == "tag.test"


async def test_what_is_sealed_always_is_sealed_unaltered(gateway, keys, records):
    assert send(gateway, "sealed@box.test", await honest(keys)).startswith("250")
    [stored] = gateway.await_maildir("sealed@box.test")
    stored = stored[stored.index(b"ARC-Seal:") :]
    assert dkim.arc_verify(stored, dnsfunc=dns_of(records))[0] == dkim.CV_Pass
    assert dkim.verify(stored, dnsfunc=dns_of(records))


async def test_our_users_mail_is_signed_on_its_way_out(gateway, records):
    with gateway.connect("relay") as wire:
        wire.hello()
        content = message(author="bob@out.test")
        assert wire.mail("friend@plain.test", sender="bob@out.test", content=content).startswith("250")
    [stored] = gateway.await_maildir("friend@plain.test")
    stored = stored[stored.index(b"DKIM-Signature:") :]
    assert dkim.verify(stored, dnsfunc=dns_of(records))
    assert b"d=out.test" in stored


async def test_authors_that_are_not_ours_are_not_signed_for(gateway):
    with gateway.connect("relay") as wire:
        wire.hello()
        assert wire.mail("stranger@plain.test", content=message(author="x@elsewhere.test")).startswith("250")
    [stored] = gateway.await_maildir("stranger@plain.test")
    assert b"DKIM-Signature:" not in stored


PERL = r"""
use JSON::PP; use Mail::DKIM::ARC::Verifier; use Mail::DKIM::DNS; use Net::DNS;
open my $f, '<', $ARGV[0]; local $/; my $dns = decode_json(<$f>);
no warnings 'redefine';
*Mail::DKIM::DNS::query = sub {
  my ($name, $type) = @_; my $text = $dns->{$name}; return unless defined $text;
  return map { Net::DNS::RR->new(name => $name, type => 'TXT', txtdata => [unpack('(a200)*', $text)]) } 1;
};
my $arc = Mail::DKIM::ARC::Verifier->new(); $arc->PRINT(<STDIN>); $arc->CLOSE; print $arc->result_detail;
"""


def debian_says(sealed: bytes, records, folder: Path) -> bytes:
    """Return what Mail::DKIM, a verifier in another language, says of a chain."""
    probe = subprocess.run(["perl", "-MMail::DKIM::ARC::Verifier", "-e1"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("Mail::DKIM (package libmail-dkim-perl) is not installed")
    texts = folder / "dns.json"
    texts.write_text(json.dumps({name: value for name, kind, value in records if kind == "TXT"}))
    done = subprocess.run(["perl", "-e", PERL, str(texts)], input=sealed, capture_output=True, check=False)
    return done.stdout + done.stderr


async def test_debians_verifier_agrees(gateway, keys, records, tmp_path):
    assert send(gateway, "perl@tag.test", await honest(keys)).startswith("250")
    [stored] = gateway.await_maildir("perl@tag.test")
    said = debian_says(stored[stored.index(b"ARC-Seal:") :], records, tmp_path)
    assert said.startswith(b"pass"), said


async def test_mail_that_our_own_cut_broke_is_sealed_for_those_behind_us(gateway, scanner, keys, records, tmp_path):
    if scanner is None:
        pytest.skip("clamd (package clamav-daemon) is not installed, or the material is not there")
    content = infected()
    signature = await sign_dkim(SignedMessage.of(Content(content)), keys["honest.test"], 1_750_000_000)
    assert dkim.verify(signature + content, dnsfunc=dns_of(records))
    reply = send(gateway, "cut@cut.test", signature + content)
    assert reply.startswith("250")
    [stored] = gateway.await_maildir("cut@cut.test")
    assert b"Eicar-Test-Signature.UNOFFICIAL removed" in stored
    sealed = stored[stored.index(b"ARC-Seal:") :]
    assert not dkim.verify(sealed, dnsfunc=dns_of(records))
    status, _, reason = dkim.arc_verify(sealed, dnsfunc=dns_of(records))
    assert status == dkim.CV_Pass, reason
    said = debian_says(sealed, records, tmp_path)
    assert said.startswith(b"pass"), said
    # What the seal vouches for: the signature held when the mail came.
    assert b"dkim=pass" in sealed[sealed.index(b"ARC-Authentication-Results:") :]
    # So say our own field and the trace, of what was received and not of what is left of it.
    assert words(stored)["dkim"] == "pass"
    until(lambda: "dkim pass: honest.test" in gateway.ask("trace", trace_id(reply)).out, what="the journal's word")


async def test_a_days_report_can_be_written(gateway, keys):
    assert send(gateway, "reported@box.test", await honest(keys)).startswith("250")
    command = ("dmarc", "report", "--domain", "honest.test", "--date", f"{datetime.now(UTC):%Y-%m-%d}")
    xml = until(lambda: (answer := gateway.ask(*command)).status == 0 and answer.out, what="a report")
    [report] = read_reports(xml.encode())
    assert (report.domain, {(row.client, row.passes) for row in report.rows}) == ("honest.test", {(CLIENT, True)})


def test_a_gateway_that_is_asked_prints_what_dns_lacks(gateway, dns, keys):
    answer = gateway.ask("dkim", "check", "out.test", "--json")
    assert answer.status == 0, answer
    assert [one["state"] for one in answer.json()["keys"]] == ["published"]


# Reports, sent and received -------------------------------------------------------------------------------------------


async def judged_yesterday(gateway: Gateway) -> None:
    """Put a mail under reported.test's policy into yesterday's journal."""
    noon = YESTERDAY.timestamp()
    facts = replace(
        DmarcFacts.read((await event()).dmarc), policy_domain="reported.test", record=REPORTED, author="reported.test"
    )
    journal = Journal(gateway.data / "journal", 77, clock=FakeClock(noon), failures=Recorded())
    journal.emit(replace(await event(), at=noon, dmarc=facts.texts))
    await journal.close()


async def test_a_days_reports_leave_signed_to_who_wants_them_and_come_back_as_a_table(gateway, records, tmp_path):
    # The gateway sends them by itself, once it serves.
    [told] = gateway.await_line("dmarc_reported", f"day={YESTERDAY:%Y-%m-%d}")
    assert "domains=1" in told
    assert "sent=1 withheld=1 failed=0" in told
    day = re.search(r"day=(\S+)", told)[1]
    # By hand, nothing is left to send. The command has a loop of its own, so it is asked from a thread.
    answer = await asyncio.to_thread(gateway.ask, "dmarc", "send", "--date", day, "--json")
    assert answer.status == 0, answer
    sent, withheld = answer.json()
    assert [(row["address"], row["state"]) for row in (sent, withheld)] == [
        ("reports@plain.test", "sent"),
        ("somebody@victim.test", "withheld"),
    ]
    preview = await asyncio.to_thread(gateway.ask, "dmarc", "send", "--date", day, "--dry-run", "--json")
    assert [(row["address"], row["state"]) for row in preview.json()] == [
        ("reports@plain.test", "sent"),
        ("somebody@victim.test", "withheld"),
    ]
    assert "does not say" in withheld["reason"]
    [stored] = gateway.await_maildir("reports@plain.test")
    gateway.await_line("notice_queued", sent["trace_id"], "notice=dmarc-report")
    signed = stored[stored.index(b"DKIM-Signature:") :]
    # RFC 9990 §3.5.2: a report passes DMARC itself.
    assert dkim.verify(signed, dnsfunc=dns_of(records))
    assert b"d=out.test" in signed
    assert received(stored)["From"] == "The Gate <dmarc@out.test>"
    assert len(gateway.ask("dmarc", "sent", "--json").json()) == 2
    mail = tmp_path / "report.eml"
    mail.write_bytes(stored)
    taken = await asyncio.to_thread(gateway.ask, "dmarc", "ingest", str(mail), "--any-domain", "--json")
    assert [(row["state"], row["reporter"], row["messages"]) for row in taken.json()] == [("taken", "The Gate", 1)]
    [sender] = gateway.ask("dmarc", "senders", "--domain", "reported.test", "--json").json()
    assert (sender["client"], sender["messages"], sender["passing"]) == ("192.0.2.1", 1, 1)


@pytest.mark.parametrize("changed", [{"recipients": ("nobody",)}, {"sender": "a b@own.test"}])
async def test_mail_of_our_own_without_an_address_is_refused_in_words(gateway, changed):
    mail = OwnMail(sender="", recipients=("a@plain.test",), octets=message(), purpose="test-report")
    client = ControlClient(gateway.data / "control.sock")
    answer = await client.call(OWN_MAIL, **replace(mail, **changed).arguments())
    assert isinstance(answer, Failed)
    assert (answer.code, "no address" in answer.message) == ("refused", True), answer


async def test_without_dns_nothing_is_called_clean_or_forged(gateway, dns, keys):
    content = message(author="anna@later.test")
    signature = await sign_dkim(SignedMessage.of(Content(content)), keys["later.test"], 1_750_000_000)
    dns.stop()
    try:
        reply = send(gateway, "blind@box.test", signature + content, sender="anna@later.test")
        assert reply.startswith("250"), reply
        [stored] = gateway.await_maildir("blind@box.test")
    finally:
        dns.start()
    said = words(stored)
    assert {said["spf"], said["dkim"], said["dmarc"]} == {"temperror"}
    told = " ".join(str(received(stored)["X-Tidegate-Reason"]).split())
    assert "undetermined" in told
    assert "dkim later.test" in told
    gateway.await_line("message_judged", trace_id(reply))
