"""Parts and their offsets: what is wrong here, no rule sees, no scanner scans, and the cutter cuts wrongly."""

import pytest

from gateway.mail.mime import MimeLimits
from tests.mime.mails import bodies, message, outline, scanned

# RFC 2046 §5.1.1, the example.
EXAMPLE = (
    b"From: Nathaniel Borenstein <nsb@bellcore.com>\r\nMIME-Version: 1.0\r\n"
    b'Content-type: multipart/mixed; boundary="simple\r\n boundary"\r\n\r\n'
    b"This is the preamble.\r\n"
    b"--simple boundary\r\n\r\nimplicitly typed\r\nDoes NOT end with a linebreak."
    b"\r\n--simple boundary\r\nContent-type: text/plain; charset=us-ascii\r\n\r\n"
    b"explicitly typed\r\nDOES end with one.\r\n"
    b"\r\n--simple boundary--\r\n\r\nThis is the epilogue.\r\n"
)


def test_the_example_of_rfc_2046():
    tree = scanned(EXAMPLE)
    assert [part.media_type for part in tree.parts] == ["multipart/mixed", "text/plain", "text/plain"]
    assert bodies(EXAMPLE, tree) == [
        b"implicitly typed\r\nDoes NOT end with a linebreak.",
        b"explicitly typed\r\nDOES end with one.\r\n",
    ]
    assert (tree.ambiguities, tree.truncated) == ((), "")
    assert [
        (r.kind, EXAMPLE[r.start : r.end]) for r in tree.ranges() if r.kind in ("preamble", "delimiter", "epilogue")
    ] == [
        ("preamble", b"This is the preamble."),
        ("delimiter", b"\r\n--simple boundary\r\n"),
        ("delimiter", b"\r\n--simple boundary\r\n"),
        ("delimiter", b"\r\n--simple boundary--\r\n"),
        ("epilogue", b"\r\nThis is the epilogue.\r\n"),
    ]


HEAD = b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        pytest.param(b"", [b""], id="nothing"),
        pytest.param(b"\r\nbody", [b"body"], id="no header"),
        pytest.param(b"Subject: x", [b""], id="no body"),
        pytest.param(b"Subject: x\r\n\r\nbody", [b"body"], id="text"),
        pytest.param(HEAD + b"no delimiter", [b"no delimiter"], id="a multipart without delimiters is data"),
        pytest.param(HEAD + b"--a\r\n\r\n1\r\n--a--", [b"1"], id="no line end after the close-delimiter"),
        pytest.param(HEAD + b"--a\r\n\r\n1\r\n--a", [b"1"], id="a delimiter that ends the content begins nothing"),
        pytest.param(HEAD + b"--a\r\n\r\n1", [b"1"], id="no close-delimiter"),
        pytest.param(HEAD + b"--a\r\n\r\n--a--\r\n", [b""], id="empty line and delimiter share a line end"),
        pytest.param(HEAD + b"--a\r\n--a\r\n\r\n2\r\n--a--\r\n", [b"", b"2"], id="a part without anything"),
        pytest.param(HEAD + b"--a \t\r\n\r\n1\r\n--a-- \r\n", [b"1"], id="transport-padding"),
        pytest.param(HEAD + b"--a\r\n\r\n1\r\n --a\r\nx--a\r\n--a--", [b"1\r\n --a\r\nx--a"], id="within a line"),
        pytest.param(HEAD + b"--a\r\n\r\n1\r\n--A\r\n--ab\r\n--a--", [b"1\r\n--A\r\n--ab"], id="almost the boundary"),
        pytest.param(HEAD + b"--a\r\n\r\n1\r\n--a--\r\n--a\r\n\r\n2", [b"1"], id="after the close-delimiter"),
        pytest.param(HEAD.replace(b"\r", b"") + b"--a\n\n1\n--a--\n", [b"1"], id="LF only"),
        pytest.param(HEAD + b"--a\nA: b\n\n1\r\n\r\n2\n--a--\r\n", [b"1\r\n\r\n2"], id="LF within CR LF"),
        pytest.param(b"From x\r\n" + HEAD + b"--a\r\n\r\n1\r\n--a--", [b"1"], id="an mbox line"),
        pytest.param(
            b'Content-Type: multipart/mixed; boundary="a b:c?d=(e)/f,g\'h_.+-"\r\n\r\n'
            b"--a b:c?d=(e)/f,g'h_.+-\r\n\r\n1\r\n--a b:c?d=(e)/f,g'h_.+---\r\n",
            [b"1"],
            id="every character a boundary may have",
        ),
        pytest.param(
            HEAD + b"--a\r\nContent-Type: multipart/x; boundary=b\r\n\r\n--b\r\n\r\n1\r\n--a\r\n\r\n2\r\n--a--",
            [b"1", b"2"],
            id="the enclosing delimiter ends the inner multipart (RFC 2046 5.1.2)",
        ),
        pytest.param(
            HEAD + b"--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\n1\r\n--a\r\n\r\n2\r\n--a--",
            [b"1", b"2"],
            id="an enclosed message ends with its part",
        ),
        pytest.param(
            b"Content-Type: multipart/digest; boundary=a\r\n\r\n--a\r\n\r\nSubject: y\r\n\r\n1\r\n--a--",
            [b"1"],
            id="a digest's parts are messages (RFC 2046 5.1.5)",
        ),
        pytest.param(b"Content-Type: message/rfc822\r\n\r\nSubject: y", [b""], id="a message that is a message"),
    ],
)
def test_what_the_leaves_hold(octets, expected):
    assert bodies(octets, scanned(octets)) == expected


def test_offsets_of_a_nest():
    octets = (
        b"Content-Type: multipart/mixed; boundary=a\r\n\r\n"  # 0..45
        b"--a\r\nContent-Type: message/rfc822\r\n\r\n"  # 45, header 50, its end 80
        b"Content-Type: multipart/alternative; boundary=b\r\n\r\n"  # 82..133
        b"--b\r\n\r\none\r\n--b\r\nContent-Type: text/html\r\n\r\ntwo\r\n--b--\r\n"
        b"--a--\r\n"
    )
    assert outline(scanned(octets)) == [
        (0, "multipart/mixed", 0, 45, len(octets)),
        (1, "message/rfc822", 50, 82, 187),
        (2, "multipart/alternative", 82, 133, 187),
        (3, "text/plain", 138, 140, 143),
        (3, "text/html", 150, 177, 180),
    ]


@pytest.mark.parametrize(
    ("line", "media_type"),
    [
        ("Content-Type: TEXT/Html", "text/html"),
        ("content-type:text/html;charset=x", "text/html"),
        ("Content-Type: text / html", "text/html"),
        ("Content-Type: (a comment) text/(and (another))html (third)", "text/html"),
        ("Content-Type:\r\n text/html", "text/html"),
        ('Content-Type: "text/html"', "text/html"),
        # RFC 2045 §5.2: what is missing or cannot be read is text/plain.
        ("Subject: x", "text/plain"),
        ("Content-Type: text", "text/plain"),
        ("Content-Type:", "text/plain"),
        ("Content-Type: /html", "text/plain"),
    ],
)
def test_media_types(line, media_type):
    assert message(line).media_type == media_type


@pytest.mark.parametrize(
    ("value", "boundary"),
    [
        ("; boundary=a", b"a"),
        (';boundary = "a"', b"a"),
        (' boundary="a"', b"a"),
        ("; BOUNDARY=a; charset=b", b"a"),
        ('; charset="; boundary=x"; boundary=a', b"a"),
        ('; boundary="a \\"b\\" \\\\c  "', b'a "b" \\c'),
        ("; boundary=a b", b"a"),
        ('; boundary="a', b"a"),
        ("; boundary*=us-ascii''a%20b", b"a b"),
        ('; boundary*0="a"; boundary*1=b', b"ab"),
    ],
)
def test_boundaries(value, boundary):
    assert message("Content-Type: multipart/mixed" + value).boundary == boundary


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        ("base64", "base64"),
        (" BaSe64 ", "base64"),
        ("base64;", "base64"),
        ("(x) quoted-printable (y)", "quoted-printable"),
        ('"base64"', "base64"),
        ("x-uuencode", "uuencode"),
        ("X-YENC", "yenc"),
        ("8Bit", "8bit"),
    ],
)
def test_transfer_encodings(value, encoding):
    part = message("Content-Transfer-Encoding: " + value)
    assert (part.encoding, part.defects) == (encoding, ())


@pytest.mark.parametrize(
    ("octets", "ambiguity"),
    [
        (b"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n", "content-type-conflict"),
        (b"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 7bit\r\n\r\n", "transfer-encoding-conflict"),
        (b"Content-Type: multipart/mixed; boundary=a; boundary=b\r\n\r\n", "boundary-conflict"),
        (b"Content-Type: multipart/mixed; boundary=a; boundary*=utf-8''b\r\n\r\n", "boundary-conflict"),
        (b"Content-Type : multipart/mixed; boundary=a\r\n\r\n", "field-name-space"),
        (b"Content-Type: multipart/mixed\r\n\r\n", "boundary-missing"),
        (b"Content-Type: text/plain; boundary=a\r\n\r\n", "boundary-in-leaf"),
        (b"Content-Type: multipart; boundary=a\r\n\r\n", "boundary-in-leaf"),
        (b"Content-Transfer-Encoding: rot13\r\n\r\n", "transfer-encoding-unknown"),
        (b"Content-Transfer-Encoding: base64\r\n" + HEAD, "multipart-encoded"),
        (b"Content-Transfer-Encoding: base64\r\nContent-Type: message/rfc822\r\n\r\n", "message-encoded"),
        (b"Subject: x\r\njunk\r\nFrom: y\r\n\r\n", "not-a-field"),
        (b"Subject: x\r\n \t\r\nFrom: y\r\n\r\n", "white-line"),
        (b"Subject: x\rFrom: y\r\n\r\n", "bare-cr"),
        (b"Subject: x\0\r\n\r\n", "nul"),
        (HEAD + b"x\r--a\r\n\r\n", "bare-cr"),
        (HEAD + b"x--a\r\n\r\n", "delimiter-in-line"),
        (HEAD + b"--ab\r\n", "boundary-prefix"),
        (HEAD + b"--a-\r\n", "boundary-prefix"),
        (HEAD + b"--a--\r\n\r\n--a\r\n\r\n", "delimiter-in-epilogue"),
        (HEAD + b"--a\r\n" + HEAD, "boundary-reused"),
        (HEAD + b"--a\r\n" + HEAD.replace(b"=a", b"=b") + b"--b\r\n\r\n1\r\n--a--\r\n", "unclosed-multipart"),
        (HEAD + b"--a\r\nSubject: x\r\n--a--\r\n", "delimiter-in-header"),
    ],
)
def test_what_readers_take_differently_has_a_name(octets, ambiguity):
    assert ambiguity in scanned(octets).ambiguities


@pytest.mark.parametrize(
    "octets",
    [
        EXAMPLE,
        b"Content-Type: text/plain\r\nContent-Type: TEXT/plain\r\n\r\n",
        HEAD
        + b"--a\r\nContent-Transfer-Encoding: 8bit\r\n"
        + HEAD.replace(b"=a", b"=b")
        + b"--b\r\n\r\n1\r\n--b--\r\n--a--",
        b"Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA==",
    ],
)
def test_ordinary_mail_is_not_ambiguous(octets):
    assert scanned(octets).ambiguities == ()


@pytest.mark.parametrize(
    ("limits", "octets", "truncated", "parts"),
    [
        (MimeLimits(max_depth=1), (HEAD + b"--a\r\n") * 3, "depth", 3),
        (MimeLimits(max_depth=1), b"Content-Type: message/rfc822\r\n\r\n" * 3, "depth", 2),
        (MimeLimits(max_parts=2), HEAD + b"--a\r\n\r\n1\r\n" * 3, "parts", 2),
        (MimeLimits(max_near_delimiters=2), HEAD + b"--ab\r\n" * 3, "delimiters", 1),
        (MimeLimits(max_header_octets=10), b"Subject: a subject\r\n\r\n", "header", 1),
        (MimeLimits(), b"Content-Type: multipart/mixed; boundary=" + b"a" * 9000 + b"\r\n\r\n", "boundary", 1),
        (MimeLimits(), b"\r\n" + b"begin 644 x\r\n`\r\nend\r\n" * 300, "blocks", 202),
    ],
)
def test_a_limit_that_is_reached_shows(limits, octets, truncated, parts):
    tree = scanned(octets, limits=limits)
    assert (tree.truncated, len(tree.parts)) == (truncated, parts)
