"""Contents to scan: built from the words of MIME, or from files that others wrote."""

from hypothesis import strategies as st

from gateway.mail.content import Content
from gateway.mail.mime import MimePart, MimeTree, parse

# What decides something for the scanner, so that chance meets it often.
WORDS = [
    *(
        b"--a",
        b"--a--",
        b"--ab",
        b"--ab--",
        b"--b",
        b"--b--",
        b"--",
        b"-",
        b"a",
        b"b",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
    ),
    *(b"Content-Type: multipart/mixed; boundary=a\r\n", b'Content-Type: multipart/mixed;\r\n boundary="ab"\r\n'),
    *(
        b"Content-Type: multipart/digest; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Type: text/plain\n",
    ),
    *(b"Content-Type : multipart/mixed; boundary*0=a; boundary=b\r\n", b"Content-Type: multipart/mixed\r\n"),
    *(b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n"),
    *(
        b"Content-Transfer-Encoding: x-uuencode\r\n",
        b"Content-Transfer-Encoding: foo\r\n",
        b"Content-Type: text; boundary=a\n",
    ),
    *(b"Content-Disposition: attachment; filename*=utf-8''%e5%8f%91\r\n", b"filename==?gbk?B?t6LGsQ==?=;", b"X: y\r\n"),
    *(
        b"begin 644 x.exe\r\n#0V%T\r\n`\r\nend\r\n",
        b"begin 644 y\n",
        b"=ybegin line=128 size=3 name=z\r\nabc\r\n=yend\r\n",
    ),
    *(
        b"(This file must be converted with BinHex 4.0)\r\n:$f*TEQKPH#jdH5j:\r\n",
        b"end\r\n",
        b"aGVsbG8=",
        b"=3D=\r\n",
        b"\0",
    ),
    *(b" ", b"\t", b" \r\n", b"From x\r\n", b"junk\r\n", b"\xb7\xa2\xc6\xb1", b"\xff"),
]
contents = st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=40).map(b"".join)


def outline(tree: MimeTree) -> list[tuple[int, str, int, int, int]]:
    """Return depth, type, start, beginning of the body and end of every part."""
    return [(p.depth, p.media_type, p.start, p.body_start, p.body_end) for p in tree.parts]


def scanned(octets: bytes, **options: object) -> MimeTree:
    return parse(Content(octets), **options)


def bodies(octets: bytes, tree: MimeTree) -> list[bytes]:
    """Return the octets of every leaf's body."""
    return [octets[part.body_start : part.body_end] for part in tree.leaves]


def message(*lines: str | bytes, body: bytes = b"") -> MimePart:
    """Return the message itself of a header section's lines and a body."""
    octets = [line.encode() if isinstance(line, str) else line for line in lines]
    return scanned(b"".join(line + b"\r\n" for line in octets) + b"\r\n" + body).parts[0]
