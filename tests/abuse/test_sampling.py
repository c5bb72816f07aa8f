"""Evidence taken by a worker while it still has the content: bounded, whole, and nothing waits for it.

What breaks if these fail: a case without evidence, a full disk, or mail that is held up by spam.
"""

import asyncio
import hashlib
import json
import threading
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
import zstandard

from gateway.abuse.sampling import EvidenceSampler
from gateway.clock import FakeClock
from gateway.config.incidents import Incidents
from gateway.incidents.evidence import Inbox
from gateway.mail.connection import Connection, Role, TlsFacts
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.trace_id import new_trace_id
from gateway.mail.transaction import Transaction
from gateway.policy.action import Action, Ground
from gateway.policy.finding import Finding
from gateway.policy.verdict import Disposition, Judgement, Verdict
from gateway.smtp.path import parse_forward_path, parse_reverse_path
from gateway.storage import StorageFull

CLOCK = FakeClock()
OCTETS = b"Subject: pills\r\n\r\nbuy\r\n"
TO = Recipient(path=parse_forward_path(b"<me@box.test>", smtputf8=True)[0])
SPAM = Finding("rule", "cheap", "cheap: subject", (("subject", "pills"),))


def verdict(action: Action = Action.REJECT, ground: Ground | None = Ground.ADVERTISING, **facts) -> Verdict:
    judgement = Judgement(SPAM, 0, action=action, ground=ground)
    said = Disposition(recipient=TO, action=action, score=0.0, judgements=(judgement,), decisive=judgement)
    return Verdict(dispositions=(said,), reply=None, findings=(SPAM,), **facts)


_numbers = iter(range(1, 100_000))


def mail(client: str = "198.51.100.7", content: Content | None = None) -> Transaction:
    number = next(_numbers)
    return Transaction(
        trace_id=new_trace_id(CLOCK.stamp().utc, lambda octets: number.to_bytes(octets, "big")),
        connection=Connection(
            session_id="S",
            client_address=ip_address(client),
            client_port=40000,
            local_address="192.0.2.1",
            local_port=25,
            role=Role.MX,
            connected=CLOCK.stamp(),
            hostname="mx.gate.test",
            helo="bad.test",
            tls=TlsFacts(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", bits=256),
        ),
        envelope=Envelope(reverse_path=parse_reverse_path(b"<x@bad.test>", smtputf8=True)[0]),
        recipients=(TO,),
        content=content or Content(OCTETS),
        received=CLOCK.stamp(),
    )


@pytest.fixture
def make(tmp_path: Path):
    def made(inbox: Inbox | None = None, **settings) -> EvidenceSampler:
        found = Incidents(**settings)
        return EvidenceSampler(inbox or Inbox(tmp_path), lambda: found, clock=CLOCK, digest=lambda: "abc")

    return made


def kept(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "incidents/incoming").glob("*.json"))


async def test_a_sample_is_the_whole_message_with_every_fact(make, tmp_path):
    sampler, tx = make(), mail()
    sampler.consider(tx, verdict())
    await sampler.settled()
    folder = tmp_path / "incidents/incoming"
    head = json.loads((folder / f"{tx.trace_id}.json").read_text())
    octets = zstandard.ZstdDecompressor().decompressobj().decompress((folder / f"{tx.trace_id}.zst").read_bytes())
    assert (octets, head["sha256"]) == (OCTETS, hashlib.sha256(OCTETS).hexdigest())
    facts = head["facts"]
    assert (facts["connection"]["client"], facts["connection"]["helo"]) == ("198.51.100.7", "bad.test")
    assert facts["tls"] == {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", "bits": 256}
    assert facts["envelope"]["reverse_path"] == "x@bad.test"
    assert facts["envelope"]["recipients"] == ["me@box.test"]
    assert facts["findings"][0]["detail"] == {"subject": "pills"}
    assert facts["policy"] == {"digest": "abc"}
    assert facts["verdict"]["action"] == "reject"
    assert facts["verdict"]["grounds"] == ["advertising"]
    assert sampler.kept == 1


@pytest.mark.parametrize(
    "said",
    [
        verdict(Action.ACCEPT, None),
        verdict(Action.DEFER),
        verdict(Action.REJECT, None),
        replace(verdict(Action.ACCEPT, None), findings=()),
    ],
)
async def test_mail_that_is_no_spam_is_not_kept(make, tmp_path, said):
    sampler = make()
    sampler.consider(mail(), said)
    await sampler.settled()
    assert kept(tmp_path) == []


async def test_a_virus_that_was_cut_out_is_kept(make, tmp_path):
    sampler, tx = make(), mail()
    sampler.consider(tx, replace(verdict(Action.ACCEPT, None), findings=(Finding("antivirus", "cleaned", "Eicar"),)))
    await sampler.settled()
    assert kept(tmp_path) == [tx.trace_id]


async def test_the_first_of_each_source_then_one_in_so_many(make, tmp_path):
    sampler = make(evidence_first=2, evidence_every=4)
    sent = [mail() for _ in range(12)]
    for tx in sent:
        sampler.consider(tx, verdict())
    another = mail("203.0.113.9")
    sampler.consider(another, verdict())
    await sampler.settled()
    assert kept(tmp_path) == sorted(tx.trace_id for tx in (*sent[:2], sent[3], sent[7], sent[11], another))


async def test_the_source_behind_a_forwarder_has_a_count_of_its_own(make, tmp_path):
    sampler = make(evidence_first=1, evidence_every=1000)
    for number in range(3):
        sampler.consider(mail(), verdict(origin=f"203.0.113.{number}"))
    await sampler.settled()
    assert sampler.kept == 3


async def test_a_spilled_content_is_read_although_its_name_is_gone(make, tmp_path):
    path = tmp_path / "spilled"
    path.write_bytes(OCTETS * 50_000)
    sampler, tx = make(), mail(content=Content(path=path, size=path.stat().st_size))
    sampler.consider(tx, verdict())
    # The refusal has removed it, before the thread has begun.
    path.unlink()
    await sampler.settled()
    head = json.loads((tmp_path / f"incidents/incoming/{tx.trace_id}.json").read_text())
    assert head["sha256"] == hashlib.sha256(OCTETS * 50_000).hexdigest()


async def test_what_does_not_fit_is_counted_and_not_kept(make, tmp_path):
    sampler = make(evidence_first=1000, evidence_backlog=4000)
    for _ in range(20):
        sampler.consider(mail(), verdict())
        await sampler.settled()
    assert 0 < sampler.kept < 20
    assert sampler.kept + sampler.over == 20
    assert sum(path.stat().st_size for path in (tmp_path / "incidents/incoming").iterdir()) < 8000


async def test_what_waits_to_be_written_is_bounded(make):
    gate = threading.Event()

    class Slow(Inbox):
        def put(self, *_):
            gate.wait(30)
            return 0

    sampler = make(Slow(Path("/nonexistent")), evidence_first=1000)
    large = Content(b"x" * 1024**2)
    for _ in range(20):
        sampler.consider(mail(content=large), verdict())
    assert sampler.over == 12
    gate.set()
    await sampler.settled()


async def test_a_full_disk_is_counted_and_nobody_hears_of_it(make):
    class Full(Inbox):
        def octets(self):
            return 0

        def put(self, *_):
            raise StorageFull("no space left")

    sampler = make(Full(Path("/nonexistent")))
    sampler.consider(mail(), verdict())
    await sampler.settled()
    assert (sampler.kept, sampler.failed) == (0, 1)


async def test_considering_takes_no_turn_of_the_loop(make):
    """The reply to the final dot waits for nothing of this."""
    sampler = make(evidence_first=1000)
    for _ in range(10):
        sampler.consider(mail(), verdict())
    assert sampler.kept == 0
    await asyncio.wait_for(sampler.settled(), 30)
    assert sampler.kept == 10
