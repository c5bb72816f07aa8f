"""If one of these fails, an archive stays shut though its password stands in the mail."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.antivirus.mail_text import passwords_in
from gateway.antivirus.passwords import MAX_CANDIDATES, candidates
from gateway.mail.content import Content


@pytest.mark.parametrize(
    ("text", "password"),
    [
        ("Password: 1234", "1234"),
        ("The password is infected.", "infected"),
        ("PASSWORD=S3cret!", "S3cret!"),
        ("pwd:abc", "abc"),
        ("Das Passwort lautet Sommer2024", "Sommer2024"),
        ("解压密码：abc123", "abc123"),
        ("密码是9527，请查收附件", "9527"),
        ("密码为【xyz】", "xyz"),
        ("請使用解壓密碼「8888」", "8888"),
        ("口令: 发财", "发财"),
        ("It is protected; use “open sesame” as the password", "open sesame"),
    ],
)
def test_what_people_write_is_found(text, password):
    assert password in candidates(text)


def test_a_text_without_such_a_word_has_none():
    assert candidates('Please see the "attachment" of 12:30, compass, bypass route') == ()


@given(st.text(max_size=400))
def test_never_too_many_and_never_empty(text):
    found = candidates("password: " + text + " 密码" + text)
    assert len(found) <= MAX_CANDIDATES
    assert all(found)


def test_a_hostile_text_takes_no_time():
    begun = time.process_time()
    for text in ("password" * 3000, "password" + " " * 20_000, "密码" + "“" * 20_000, "pw is " * 4000):
        candidates(text)
    assert time.process_time() - begun < 2


def test_subject_text_and_html_are_read():
    def mail(subject: str, kind: str, body: str) -> Content:
        head = f"Subject: {subject}\r\nContent-Type: {kind}; charset=utf-8\r\n\r\n"
        return Content((head + body).encode())

    assert "one" in passwords_in(mail("password: one", "text/plain", "hello"))
    assert "two" in passwords_in(mail("x", "text/plain", "密码：two"))
    assert "three" in passwords_in(mail("x", "text/html", "<p>pass<b>word</b>:&nbsp;<i>three</i></p>"))
