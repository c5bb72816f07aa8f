"""Senders of ours: suspended by hand or at once, restored on a written guarantee that fits, once (contract.md §4 f, h).

What breaks if these fail: an account is restored without the letter that the contract wants, or cannot be restored.
"""

import hashlib
import json

import pytest

from gateway.abuse.guarantee import LANGUAGES, Customer, Provider, letter
from gateway.abuse.suspending import NotRestoredError, publish, restore, suspend
from gateway.incidents import Source, SourceKind, State
from gateway.incidents.guarantees import DOMAIN, MAILBOX, Guarantee, Letters, record_guarantee
from gateway.incidents.suspended import FILE, SuspendedSenders
from gateway.incidents.suspensions import standing, suspensions, suspensions_of

ANNA = Source(SourceKind.ACCOUNT, "anna@box.test")
ALL = Source(SourceKind.ACCOUNT, "@box.test")
CLIENT = Source.at("10.0.0.7", SourceKind.CLIENT)
LETTER, LICENCE = b"%PDF the letter", b"%PDF the licence"


def promise(incident: int = 1, scope: str = MAILBOX, subject: str = "anna@box.test", client: str = "") -> Guarantee:
    return Guarantee(
        id=0,
        incident=incident,
        company="某某有限公司",
        manager="张三",
        scope=scope,
        subject=subject,
        contact="李四",
        telephone="+86 10 1",
        signed_on="2026-11-20",
        letter_sha256=hashlib.sha256(LETTER).hexdigest(),
        letter_octets=len(LETTER),
        licence_sha256=hashlib.sha256(LICENCE).hexdigest(),
        licence_octets=len(LICENCE),
        accepted_by="",
        recorded_at=0.0,
        client=client,
    )


def suspended(world, source: Source = ANNA) -> int:
    with world.book.change("anna", "account suspend") as change:
        suspend(change, source, how="hand", reason="pills")
        return change.active(source).id


def scans(world) -> Letters:
    return Letters(world.data / "incidents")


def recorded(world, given: Guarantee) -> Guarantee:
    letters = scans(world)
    letters.keep(LETTER)
    letters.keep(LICENCE)
    with world.book.change("bert", "guarantee record") as change:
        return record_guarantee(change, given)


def restored(world, source: Source = ANNA, **how) -> None:
    with world.book.change("anna", "account restore") as change:
        restore(change, source, scans(world), **how)


def test_a_suspension_opens_and_blocks_an_incident_of_its_own(world):
    suspended(world)
    assert world.incident().state is State.BLOCKED
    suspended(world)
    with world.reader() as reader:
        assert len(suspensions(reader.rows)) == 1, "a second time changes nothing"


def test_whoever_is_suspended_for_one_incident_blocks_no_other_that_nothing_would_lift(world):
    world.spam(2, "10.0.0.7", role="relay", reverse_path="anna@box.test")
    with world.book.change("anna", "account suspend") as change:
        case = change.open(CLIENT, "broken into")
        suspend(change, ANNA, how="hand", reason="pills", incident=case)
        suspend(change, ANNA, how="hand", reason="pills again")
    assert (world.incident(1).state, world.incident(1).suspending) == (State.OPEN, False)
    assert (world.incident(2).state, world.incident(2).suspending) == (State.BLOCKED, True)


def test_blanks_are_no_reason_to_restore_without_a_guarantee(world):
    suspended(world)
    with pytest.raises(NotRestoredError, match="no written guarantee"), world.book.change("anna", "restore") as change:
        restore(change, ANNA, scans(world), override="  ")


def test_the_workers_file_is_made_again_where_a_command_died_before_it_wrote(world):
    suspended(world)
    path = world.data / "incidents" / FILE
    assert not path.exists()
    world.clock.advance(31)
    world.rounds()
    assert "anna@box.test" in path.read_text(encoding="utf-8")


def test_without_a_guarantee_a_sender_stays_suspended(world):
    suspended(world)
    with pytest.raises(NotRestoredError, match="no written guarantee is on record for incident 1"):
        restored(world)
    with world.reader() as reader:
        assert standing(reader.rows, ANNA)
    assert world.incident().state is State.BLOCKED


def test_a_guarantee_restores_and_who_took_it_is_on_record(world):
    suspended(world)
    given = recorded(world, promise())
    assert (given.accepted_by, given.recorded_at) == ("bert", world.now)
    restored(world)
    assert world.incident().state is State.LIFTED
    with world.reader() as reader:
        (found,) = suspensions_of(reader.rows, 1)
    assert (found.guarantee, found.ended_by, found.override) == (given.id, "anna", "")


@pytest.mark.parametrize(
    ("source", "given", "why"),
    [
        (ANNA, promise(subject="bert@box.test"), "reopens the mailbox bert@box.test, not anna@box.test"),
        (ANNA, promise(scope=DOMAIN, subject="other.test"), "reopens the domain other.test, not box.test"),
        (ALL, promise(), "reopens the mailbox anna@box.test, not @box.test"),
        (CLIENT, promise(), "reopens the mailbox anna@box.test, and a relay client may send as anybody"),
        (CLIENT, promise(scope=DOMAIN, subject="box.test"), "reopens the domain box.test, and names no relay client"),
        (
            CLIENT,
            promise(scope=DOMAIN, subject="box.test", client="10.0.0.8/32"),
            "names the relay client 10.0.0.8/32, not 10.0.0.7/32",
        ),
    ],
)
def test_a_guarantee_for_something_else_does_not_restore(world, source, given, why):
    suspended(world, source)
    recorded(world, given)
    with pytest.raises(NotRestoredError, match=why):
        restored(world, source)


def test_a_guarantee_from_before_the_suspension_does_not_restore(world):
    """Restored by an override, a sender would else go on with the promise that it broke since."""
    suspended(world)
    recorded(world, promise())
    restored(world, override="the letter is on its way")
    world.clock.advance(3600)
    suspended(world)
    with pytest.raises(NotRestoredError, match="guarantee 1 was given before anna"):
        restored(world)
    recorded(world, promise())
    restored(world)


def test_a_guarantee_of_another_incident_does_not_restore(world):
    suspended(world)
    suspended(world, CLIENT)
    other = recorded(world, promise(incident=2))
    with pytest.raises(NotRestoredError, match="is for incident 2, not 1"):
        restored(world, on=other.id)
    with pytest.raises(NotRestoredError, match="there is no guarantee 99"):
        restored(world, on=99)


@pytest.mark.parametrize(
    ("source", "given"),
    [
        (ANNA, promise(scope=DOMAIN, subject="box.test")),
        (ALL, promise(scope=DOMAIN, subject="box.test")),
        (CLIENT, promise(scope=DOMAIN, subject="box.test", client="10.0.0.7/32")),
        (CLIENT, promise(scope=DOMAIN, subject="box.test", client="10.0.0.0/24")),
    ],
)
def test_a_guarantee_for_the_whole_domain_covers_its_mailboxes_and_the_client_that_it_names(world, source, given):
    suspended(world, source)
    recorded(world, given)
    restored(world, source)


@pytest.mark.parametrize(("gone", "what"), [(LETTER, "letter"), (LICENCE, "licence")])
def test_a_guarantee_whose_papers_are_gone_does_not_restore(world, gone, what):
    suspended(world)
    recorded(world, promise())
    scans(world).path(hashlib.sha256(gone).hexdigest()).unlink()
    wanted = f"guarantee 1 stands on a {what} that cannot be read.*wanted is a guarantee for anna@box.test or"
    with pytest.raises(NotRestoredError, match=wanted):
        restored(world)


@pytest.mark.parametrize(
    ("standing_for", "asked", "told"),
    [
        (ALL, ANNA, "by itself: the whole domain is, as @box.test"),
        (Source(SourceKind.CLIENT, "10.0.0.0/24"), CLIENT, "by itself: its network is, as 10.0.0.0/24"),
        (ANNA, Source(SourceKind.ACCOUNT, "bert@box.test"), "account bert@box.test is not suspended$"),
    ],
)
def test_who_is_kept_out_with_others_hears_with_whom(world, standing_for, asked, told):
    suspended(world, standing_for)
    with pytest.raises(NotRestoredError, match=told):
        restored(world, asked)


def test_who_spams_again_after_a_guarantee_is_terminated(world):
    suspended(world)
    recorded(world, promise())
    restored(world)
    suspended(world)
    recorded(world, promise())
    with pytest.raises(NotRestoredError, match="permanent termination"):
        restored(world)
    restored(world, override="the court says so")
    with world.reader() as reader:
        (last, *_) = suspensions(reader.rows, ended=True)[::-1]
    assert (last.guarantee, last.override) == (None, "the court says so")


def test_a_confirmed_local_sender_is_suspended_at_once_where_that_is_wanted(world):
    local = world.snapshot.config.incidents.local
    world.set(local=local.model_copy(update={"suspend": True}))
    world.journal([world.mail("10.0.0.7", "me@far.test", role="relay", reverse_path="anna@box.test") for _ in range(5)])
    done = world.rounds()
    assert [source for each in done for source in each.suspended] == [ANNA]
    assert world.incident().state is State.BLOCKED
    senders = SuspendedSenders(world.data / "incidents", str)
    senders.refresh()
    assert senders.account("anna@box.test").incident == 1


def test_the_workers_file_follows_the_record_and_damage_changes_nothing(world):
    suspended(world)
    suspended(world, CLIENT)
    folder = world.data / "incidents"
    senders = SuspendedSenders(folder, str)
    with world.reader() as reader:
        publish(reader.rows, folder)
    assert senders.is_behind
    assert senders.refresh()
    assert senders.account("anna@box.test")
    (folder / FILE).write_text("{", encoding="utf-8")
    assert senders.is_behind
    assert not senders.refresh()
    assert senders.account("anna@box.test"), "what is damaged lets nobody go"
    restored(world, override="x")
    with world.reader() as reader:
        publish(reader.rows, folder)
    senders.refresh()
    assert senders.account("anna@box.test") is None
    assert json.loads((folder / FILE).read_text())["senders"][0]["sender"] == "10.0.0.7/32"


# The letter -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_letter_says_what_the_contract_wants(world, language):
    world.spam(3, "10.0.0.7", role="relay", reverse_path="anna@box.test", to="me@far.test", grounds=())
    with world.book.change("anna", "account suspend") as change:
        suspend(change, ANNA, how="hand", reason="pills since ten")
    with world.reader() as reader:
        incident, suspension = reader.incident(1), suspensions_of(reader.rows, 1)[0]
    provider = Provider(name="mx.gate.test", abuse="abuse@gate.test", telephone="+86 10 2")
    text = letter(incident, suspension, language, provider=provider, customer=Customer(company="某某有限公司"))
    wanted = {
        "zh": (
            "保证书",
            "封锁情况说明",
            "营业执照",
            "公章",
            "永久终止",
            "负责管理",
            "联系电话",
            "日期",
            "2026年11月20日 10:00",
        ),
        "en": ("PART 1", "PART 2", "PART 3", "licence", "seal", "terminated permanently", "managed by", "Date"),
    }
    for part in (*wanted[language], "某某有限公司", "anna@box.test", "pills since ten", "abuse@gate.test", "[x]"):
        assert part in text, part
    assert "$" not in text


def test_a_scan_that_was_exchanged_is_found_out(tmp_path):
    letters = Letters(tmp_path)
    sha256 = letters.keep(b"the letter")
    assert letters.fault(sha256) == ""
    letters.path(sha256).write_bytes(b"another")
    assert letters.fault(sha256) == "is not what was recorded"
    letters.path(sha256).unlink()
    assert "cannot be read" in letters.fault(sha256)
