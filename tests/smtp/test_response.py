"""A next hop's replies: a misread one loses mail, sends it twice, or hangs a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.reply import EnhancedStatus, Reply
from gateway.smtp.response import NO_EXTENSIONS, Extensions, ProtocolError, ReplyParser, parse_ehlo


def outcome(chunks):
    """The replies in order and whether the stream broke, whatever the split."""
    parser = ReplyParser()
    got = []
    for chunk in chunks:
        if parser.error is not None:
            break
        try:
            got += parser.feed(chunk)
        except ProtocolError:
            break
    return got, str(parser.error or ""), parser.is_idle or parser.error is not None


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (b"220 mx.example.com ESMTP\r\n", [Reply(220, None, "mx.example.com ESMTP")]),
        (b"250 2.1.0 Ok\r\n", [Reply(250, EnhancedStatus(2, 1, 0), "Ok")]),
        (b"250 2.0.0 Ok: queued as 4ABC\r\n", [Reply(250, EnhancedStatus(2, 0, 0), "Ok: queued as 4ABC")]),
        (b"550 5.1.1\r\n", [Reply(550, EnhancedStatus(5, 1, 1), "")]),
        (b"250\r\n", [Reply(250, None, "")]),
        (b"250 \r\n", [Reply(250, None, "")]),
        (b"250-one\r\n250-two\r\n250 three\r\n", [Reply(250, None, "one\ntwo\nthree")]),
        (b"250-one\r\n250\r\n", [Reply(250, None, "one\n")]),
        (b"250-\r\n250 two\r\n", [Reply(250, None, "\ntwo")]),
        (
            b"550-5.7.1 Your host\r\n550-5.7.1\r\n550 5.7.1 is listed\r\n",
            [Reply(550, EnhancedStatus(5, 7, 1), "Your host\n\nis listed")],
        ),
        # a batch of pipelined replies
        (
            b"250 2.1.0 a\r\n550 5.1.1 b\r\n354 go\r\n",
            [
                Reply(250, EnhancedStatus(2, 1, 0), "a"),
                Reply(550, EnhancedStatus(5, 1, 1), "b"),
                Reply(354, None, "go"),
            ],
        ),
        # a status whose class disagrees with the code (RFC 2034 §4) is text
        (b"250 5.1.1 odd\r\n", [Reply(250, None, "5.1.1 odd")]),
        (b"250 2.1.0x\r\n", [Reply(250, None, "2.1.0x")]),
        (b"550 5.7.1234 x\r\n", [Reply(550, None, "5.7.1234 x")]),
        # LF alone, CRs in a row, as Postfix takes them
        (b"250-a\n250 b\n", [Reply(250, None, "a\nb")]),
        (b"250 a\r\r\n", [Reply(250, None, "a")]),
        # codes of one class: the last line's counts
        (b"451-a\r\n450 b\r\n", [Reply(450, None, "a\nb")]),
        (b"571 5.7.1 no\r\n", [Reply(571, EnhancedStatus(5, 7, 1), "no")]),
        # what is not printable ASCII is escaped
        (b"550 a\x00\x1b[2J\rb\r\n", [Reply(550, None, "a\\x00\\x1b[2J\\rb")]),
        ("550 例\r\n".encode(), [Reply(550, None, "\\u4f8b")]),
        (b"550 \xff\r\n", [Reply(550, None, "\\xff")]),
        (b"250 " + b"a" * 2042 + b"\r\n", [Reply(250, None, "a" * 2042)]),
        (b"250-a\r\n" * 99 + b"250 z\r\n", [Reply(250, None, "a\n" * 99 + "z")]),
    ],
)
def test_replies_are_read_alike_however_they_are_split(octets, expected):
    assert outcome([octets]) == (expected, "", True)
    assert outcome([octets[i : i + 1] for i in range(len(octets))]) == (expected, "", True)
    if len(octets) < 200:
        for at in range(len(octets)):
            assert outcome([octets[:at], octets[at:]]) == (expected, "", True)


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n",
        b"hello\r\n",
        b"25\r\n",
        b"250x\r\n",
        b"2500 a\r\n",
        b"150 a\r\n",
        b"650 a\r\n",
        b"099 a\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\n",
        "２50 a\r\n".encode(),
        b"250-a\r\nb\r\n",
        b"250-a\r\n550 b\r\n",
        b"250-a\r\n\r\n",
        b"250 " + b"a" * 2043 + b"\r\n",
        b"2" * 2048,
        b"250-a\r\n" * 100 + b"250 z\r\n",
        (b"250-" + b"a" * 1000 + b"\r\n") * 70,
    ],
)
def test_what_is_no_reply_breaks_the_stream_within_bounds(octets):
    whole = outcome([octets])
    assert whole[0] == []
    assert whole[1]
    assert outcome([octets[i : i + 1] for i in range(len(octets))]) == whole


def test_a_reply_before_garbage_counts():
    """Losing the 250 to the final dot would send the message again."""
    parser = ReplyParser()
    assert parser.feed(b"250 2.0.0 queued\r\nrubbish\r\n") == [Reply(250, EnhancedStatus(2, 0, 0), "queued")]
    assert parser.error is not None
    for data in (b"", b"250 ok\r\n"):
        with pytest.raises(ProtocolError):
            parser.feed(data)


def test_an_unfinished_reply_is_told():
    parser = ReplyParser()
    assert parser.is_idle
    assert parser.feed(b"250-a\r\n") == []
    assert not parser.is_idle
    assert parser.feed(b"250 b\r\n25") == [Reply(250, None, "a\nb")]
    assert not parser.is_idle


STREAM = st.lists(
    st.one_of(
        st.sampled_from(
            [b"250", b"-", b" ", b"\r\n", b"\n", b"\r", b"5.1.1 ", b"550", b"2.0.0 ", b"ok", b"\xff", b"4"]
        ),
        st.binary(max_size=4),
        st.just(b"250-" + b"x" * 700),
    ),
    max_size=60,
).map(b"".join)


@given(STREAM, st.data())
def test_any_octets_give_the_same_result_however_they_are_split(octets, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=12)))
    chunks = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    assert outcome(chunks) == outcome([octets])
    for reply in outcome([octets])[0]:
        assert reply.text.replace("\n", "").isprintable()
        assert reply.text.isascii()


def test_ehlo_extensions_are_read():
    octets = (
        b"250-mx.example.com greets you\r\n250-pipelining\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
        b"250-DSN\r\n250-STARTTLS\r\n250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH=LOGIN PLAIN\r\n"
        b"250 LIMITS MAILMAX=100 RCPTMAX=20 foo=1 RCPTDOMAINMAX=x\r\n"
    )
    (reply,) = ReplyParser().feed(octets)
    assert parse_ehlo(reply) == Extensions(
        pipelining=True, size=True, size_limit=52428800, eightbitmime=True, smtputf8=True, dsn=True, starttls=True,
        chunking=True, enhancedstatuscodes=True, limits={"MAILMAX": 100, "RCPTMAX": 20},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mx.example.com", NO_EXTENSIONS),
        # the greeting line is a name, not an extension
        ("DSN", NO_EXTENSIONS),
        # RFC 1870 §4: no number, or 0, is no fixed maximum
        ("mx\nSIZE", Extensions(size=True)),
        ("mx\nSIZE 0", Extensions(size=True)),
        ("mx\nSIZE lots", Extensions(size=True)),
        ("mx\nX-DSN\nDSNX", NO_EXTENSIONS),
        ("mx\n\n", NO_EXTENSIONS),
        ("mx\nLIMITS MAILMAX=0 RCPTMAX=9999999", NO_EXTENSIONS),
    ],
)
def test_odd_ehlo_replies_offer_only_what_they_say(text, expected):
    assert parse_ehlo(Reply(250, None, text)) == expected


def test_a_refused_ehlo_offers_nothing():
    assert parse_ehlo(Reply(502, None, "mx\nDSN")) == NO_EXTENSIONS
