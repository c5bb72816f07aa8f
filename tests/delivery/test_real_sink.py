"""What breaks if these fail: a real server (Postfix's smtp-sink) and this client do not understand each other."""

import pytest

from gateway.journal.events import DeliveryAttempted
from gateway.mail.trace_id import new_trace_id
from tests.delivery.conftest import MAIL, Office, message

pytestmark = pytest.mark.real


def attempts(place: Office) -> list[DeliveryAttempted]:
    return [event for event in place.events.events if isinstance(event, DeliveryAttempted)]


async def test_mail_arrives_with_its_octets(office, sink) -> None:
    running = await sink()
    place: Office = await office([running.url()])
    for number in range(50):
        trace_id = new_trace_id(1_790_000_000.0 + number, lambda n: b"\0" * n)
        await place.post(message("b@ours.test", "c@ours.test", trace_id=trace_id, route=running.url()))
    await place.written()
    assert {event.status for event in attempts(place)} == {"sent"}
    assert len(attempts(place)) == 100
    taken = running.messages()
    assert len(taken) == 50
    for dump in taken:
        # The sink writes its own fields, then what it received with LF line ends.
        assert dump.endswith(MAIL.replace(b"\r\n", b"\n") + b"\n") or MAIL.replace(b"\r\n", b"\n") in dump
        assert b"X-Mail-Args: <a@sender.test>" in dump
        assert b"X-Rcpt-Args: <c@ours.test>" in dump


@pytest.mark.parametrize("size", [1_000_000, 5_000_000])
async def test_a_large_mail_arrives_whole(office, sink, size: int) -> None:
    running = await sink()
    place: Office = await office([running.url()])
    body = b".dots and lines\r\n" * (size // 17)
    await place.post(message(octets=b"Subject: large\r\n\r\n" + body, route=running.url()))
    await place.until(lambda: len(attempts(place)) == 1)
    await place.written()
    assert attempts(place)[0].status == "sent"
    [dump] = running.messages()
    assert dump.count(b"\n.dots and lines") == size // 17


async def test_lmtp(office, sink) -> None:
    running = await sink("-L")
    place: Office = await office([running.url("lmtp")])
    await place.post(message("b@ours.test", "c@ours.test", route=running.url("lmtp")))
    await place.written()
    assert place.statuses() == [("b@ours.test", "sent"), ("c@ours.test", "sent")]


@pytest.mark.parametrize(
    ("options", "status", "phase", "duplicate"),
    [
        (("-r", "RCPT"), "deferred", "rcpt", False),
        (("-f", "RCPT"), "bounced", "rcpt", False),
        (("-r", "MAIL"), "deferred", "mail", False),
        (("-f", "DATA"), "bounced", "data", False),
        (("-r", "."), "deferred", "end-of-data", False),
        (("-f", "."), "bounced", "end-of-data", False),
        (("-q", "."), "deferred", "end-of-data", True),
        (("-q", "DATA"), "deferred", "data", False),
        (("-Q", "MAIL"), "deferred", "mail", False),
        (("-Q", "."), "deferred", "end-of-data", False),
        (("-f", "EHLO,HELO"), "deferred", "ehlo", False),
        (("-f", "CONNECT"), "deferred", "greeting", False),
        (("-q", "EHLO"), "deferred", "ehlo", False),
    ],
)
async def test_every_fault_ends_in_one_outcome(
    office, sink, options: tuple[str, ...], status: str, phase: str, duplicate: object
) -> None:
    running = await sink(*options)
    place: Office = await office([running.url()])
    await place.post(message(route=running.url(), reverse_path=""))
    await place.written()
    [event] = attempts(place)
    assert (event.status, event.phase, event.possible_duplicate) == (status, phase, duplicate)


@pytest.mark.parametrize("options", [("-e",), ("-p",), ("-8", "-N", "-E"), ("-P",)])
async def test_poorer_servers_are_served_too(office, sink, options: tuple[str, ...]) -> None:
    running = await sink(*options)
    place: Office = await office([running.url()])
    await place.post(message("b@ours.test", "c@ours.test", route=running.url()))
    await place.written()
    assert [status for _, status in place.statuses()] == ["sent", "sent"]
