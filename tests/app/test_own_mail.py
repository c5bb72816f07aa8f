"""Mail that the gateway writes itself, as it is handed over: what is no mail is refused in words.

That it is signed, stored and delivered is shown in tests/senderauth/test_end_to_end.py.
"""

import pytest

from gateway.mail.own_mail import OwnMail

MAIL = OwnMail(
    sender="reports@own.test",
    recipients=("owner@there.test",),
    octets=b"From: reports@own.test\r\nTo: owner@there.test\r\nSubject: A report\r\n"
    b"Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@own.test>\r\n\r\nHere it is.\r\n",
    purpose="test-report",
)


def test_what_is_handed_over_is_what_is_taken():
    assert OwnMail.read(MAIL.arguments()) == MAIL


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sender": None}, "sender is missing"),
        ({"recipients": []}, "1 to 100 recipients"),
        ({"recipients": "a@b.test"}, "recipients is no list"),
        ({"recipients": ["a@b.test"] * 101}, "1 to 100 recipients"),
        ({"content": "?"}, "not base 64"),
        ({"content": ""}, "content is empty"),
        ({"purpose": "Anything at all"}, "purpose"),
        ({"notify": ["ALWAYS"]}, "notify"),
    ],
)
def test_what_is_no_mail_is_refused_with_the_reason(changed, said):
    with pytest.raises(ValueError, match=said):
        OwnMail.read(MAIL.arguments() | changed)
