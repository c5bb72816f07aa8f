"""What breaks if these fail: mail is written outside its folder, half, or with other octets."""

import asyncio
from pathlib import Path

import pytest

from gateway.clock import FakeClock
from gateway.delivery.maildir import MaildirChannel, mailbox_folder
from gateway.delivery.transfer import Target, TransferResult
from tests.delivery.conftest import MAIL, Office, message, replies_of, to, transfer


async def deliver(root: Path, *addresses: str, **given: object) -> TransferResult:
    channel = MaildirChannel(Target(scheme="maildir", host="", port=0, tls="none", path=str(root)), FakeClock())
    future: asyncio.Future[TransferResult] = asyncio.get_running_loop().create_future()
    channel.begin(transfer(*addresses, **given), future.set_result)  # type: ignore[arg-type]
    return await future


async def test_a_mail_lies_in_new_with_its_final_fields_and_its_own_octets(tmp_path: Path) -> None:
    result = await deliver(tmp_path, "b@ours.test", "C@ours.test")
    assert [reply[:9] for reply in replies_of(result)] == ["250 2.0.0"] * 2
    for name, wire in (("b", "b"), ("c", "C")):
        [file] = (tmp_path / "ours.test" / name / "new").iterdir()
        # RFC 5321 §4.4: Return-Path at final delivery, in front.
        fields = f"Return-Path: <a@sender.test>\r\nDelivered-To: {wire}@ours.test\r\n"
        assert file.read_bytes() == fields.encode() + MAIL
        assert list((tmp_path / "ours.test" / name / "tmp").iterdir()) == []


async def test_a_repeated_attempt_makes_no_second_copy(tmp_path: Path) -> None:
    await deliver(tmp_path)
    await deliver(tmp_path)
    assert len(list((tmp_path / "ours.test" / "b" / "new").iterdir())) == 1


@pytest.mark.parametrize(
    "local_part",
    ['"../../../etc/passwd"', '".."', '"."', '"a/b"', '"a b"', '"-rf"', '"|sh"', '"new"', "用户", '"\\\\"', "x" * 64],
)
def test_no_local_part_leaves_the_folder(tmp_path: Path, local_part: str) -> None:
    folder = mailbox_folder(tmp_path, to(f"{local_part}@ours.test"))
    assert folder.parent == tmp_path / "ours.test"
    assert folder.resolve() == folder
    assert folder.name.isascii()
    assert "/" not in folder.name


def test_different_mailboxes_have_different_folders(tmp_path: Path) -> None:
    addresses = ['"a/b"@ours.test', '"a%2Fb"@ours.test', "a.b@ours.test", "postmaster", "ab@ours.test"]
    assert len({mailbox_folder(tmp_path, to(address)) for address in addresses}) == len(addresses)


async def test_what_cannot_be_written_waits_and_is_our_fault(tmp_path: Path) -> None:
    (tmp_path / "ours.test").write_text("a file where the folder should be")
    result = await deliver(tmp_path)
    assert result.outcomes[0].reply.is_transient
    assert result.outcomes[0].own_fault


async def test_as_a_next_hop(office: object, tmp_path: Path) -> None:
    place: Office = await office([f"maildir:{tmp_path}/mail"])  # type: ignore[operator]
    await place.post(message(route=f"maildir:{tmp_path}/mail"))
    await place.written()
    assert place.statuses() == [("b@ours.test", "sent")]
    assert len(list((tmp_path / "mail" / "ours.test" / "b" / "new").iterdir())) == 1
