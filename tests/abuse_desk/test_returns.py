"""What comes back to our mail is on record: bounced, answered, or nothing for what a machine says."""

import pytest

from gateway.abuse.newness import STILL_SECONDS
from gateway.abuse.post import NotTakenError, Post, RefusedError
from gateway.config.abuse_desk import DESK_FOLDER
from gateway.mail.own_mail import OwnMail
from tests.abuse_desk.conftest import HOSTNAME, Desk
from tests.abuse_desk.test_reports import SETTINGS, reports, spam

DSN = (
    "From: MAILER-DAEMON@hoster.test\r\nSubject: Undelivered\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: text/plain\r\n\r\nNo.\r\n"
    "--b\r\nContent-Type: message/delivery-status\r\n\r\n"
    "Reporting-MTA: dns; mx.hoster.test\r\n\r\n"
    "Final-Recipient: rfc822; abuse@hoster.test\r\nAction: {action}\r\nStatus: 5.1.1\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 no such\r\n user here\r\n\r\n--b--\r\n"
)


@pytest.fixture
def room(desk) -> Desk:
    made: Desk = desk(SETTINGS)
    spam(made)
    assert reports(made).operators(10) == 1
    return made


def comes_back(room: Desk, mail: str, sender: str = "") -> str:
    [(address,)] = room.rows("SELECT sender FROM desk_mail")
    return room.read(mail.encode(), sender=sender, to=address)


def test_a_notification_of_failure_makes_a_report_bounced(room: Desk):
    assert comes_back(room, DSN.format(action="failed")) == "bounced"
    [(state, bounce)] = room.rows("SELECT state, bounce FROM reports_sent")
    assert state == "bounced"
    assert bounce == "5.1.1 smtp; 550 5.1.1 no such user here"


@pytest.mark.parametrize("action", ["delayed", "delivered", "relayed", "expanded"])
def test_other_notifications_change_nothing(room: Desk, action):
    assert comes_back(room, DSN.format(action=action)) == "notice"
    assert room.rows("SELECT bounced_at FROM report") == [(None,)]


def test_a_notification_in_a_form_of_its_own_is_a_bounce_too(room: Desk):
    assert comes_back(room, "Subject: failure\r\n\r\nThe user moved.\r\n") == "bounced"
    assert room.rows("SELECT bounce FROM report") == [("The user moved.",)]


def test_a_persons_answer_makes_a_report_answered_and_no_ticket(room: Desk):
    [(message_id,)] = room.rows("SELECT message_id FROM desk_mail")
    mail = f"From: Ann <ann@hoster.test>\r\nSubject: Re: spam\r\nIn-Reply-To: {message_id}\r\n\r\nDone, thanks.\r\n"
    assert room.read(mail.encode(), sender="ann@hoster.test") == "answered"
    assert room.rows("SELECT state, answered_at IS NOT NULL FROM reports_sent") == [("answered", 1)]
    assert room.tickets() == []


def test_a_machines_answer_changes_nothing(room: Desk):
    mail = "From: ann@hoster.test\r\nSubject: away\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n"
    assert comes_back(room, mail, sender="ann@hoster.test") == "automatic"
    assert room.rows("SELECT answered_at, bounced_at FROM report") == [(None, None)]


def test_what_comes_to_no_mail_of_ours_is_set_aside(room: Desk):
    assert room.read(DSN.format(action="failed").encode(), sender="", to=f"report+0000@{HOSTNAME}") == "set-aside"
    # Anybody can send there: what nobody will ask for must not fill the disk.
    assert [path for path in (room.data / DESK_FOLDER).rglob("*") if path.is_file()] == []


# The post -------------------------------------------------------------------------------------------------------------


def test_mail_is_handed_over_once_with_its_bounces_asked_for(room: Desk):
    sent: list[OwnMail] = []

    def send(mail: OwnMail) -> str:
        sent.append(mail)
        return "01KAQ6WQ00000000000000000Y"

    post = Post(room.book, room.data, send, room.clock)
    assert [post.round().queued, post.round().queued] == [1, 0]
    [mail] = sent
    assert mail.notify == {"FAILURE"}
    assert mail.sender.startswith("report+")
    assert mail.octets == room.mails()[0]
    assert room.rows("SELECT state, trace_id FROM reports_sent") == [("queued", "01KAQ6WQ00000000000000000Y")]


def test_a_look_at_mail_that_waits_opens_the_record_only_when_it_was_written(room: Desk, monkeypatch):
    """An idle gateway looks each second; opening the record is nearly all of what that costs."""
    post = Post(room.book, room.data, lambda _: "01KAQ6WQ00000000000000000Y", room.clock)
    assert [post.round().queued, post.round().queued] == [1, 0]
    room.clock.advance(2 * STILL_SECONDS)
    assert post.round().queued == 0, "written within the same tick of the file system's clock, it would be missed"
    with monkeypatch.context() as patch:
        patch.setattr(f"{Post.__module__}.IncidentReader", None)
        assert post.round().queued == 0
    with room.book.change("test", "test") as change:
        change.execute("UPDATE desk_mail SET state = 'composed'")
    assert post.round().queued == 1


def test_what_cannot_be_handed_over_now_waits_and_what_is_refused_is_on_record(room: Desk):
    def not_now(_: OwnMail) -> str:
        raise NotTakenError("no worker takes mail now")

    assert Post(room.book, room.data, not_now, room.clock).round().problem == "no worker takes mail now"
    assert room.rows("SELECT state FROM reports_sent") == [("composed",)]

    def never(_: OwnMail) -> str:
        raise RefusedError("no address")

    assert Post(room.book, room.data, never, room.clock).round().refused == 1
    assert room.rows("SELECT state FROM reports_sent") == [("refused",)]
