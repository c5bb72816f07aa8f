"""The cutter: an octet too many breaks a mail, one too few leaves the virus in it."""

import base64
import binascii
from email import message_from_bytes
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.content import Content
from gateway.mail.cutter import NotSeparable, Removal, cut, holder
from gateway.mail.mime import MimeLimits, MimePart, parse
from gateway.mail.mime.readings import leaves
from gateway.mail.rendition import Edit, Rendition

NOTICE = "The attachment was removed.\n\nIt held a virus.\n"
CHINESE = "附件已删除：发票.exe\n"


def apply(octets: bytes, edits: tuple[Edit, ...]) -> bytes:
    return b"".join(Rendition.of(edits).chunks(Content(octets)))


def cut_octets(octets: bytes, *indices: int, text: str = NOTICE) -> bytes:
    content = Content(octets)
    edits = cut(content, content.mime, [Removal(index=index, text=text) for index in indices])
    assert isinstance(edits, tuple), edits
    return apply(octets, edits)


LEAVES = [
    b"Content-Type: text/plain\r\n\r\nplain",
    b"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=E5=8F=91</p>\r\n",
    b"Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(b"zip"),
    b"Content-Disposition: attachment; filename=b.exe\r\n\r\nMZ\0\xff",
    b"\r\nno header\r\n\r\n",
    b"Content-Type: image/png\r\n\r\n",
    b"Content-Type: text/plain\r\n\r\nHello\r\nbegin 644 c.com\r\n#0V%T\r\n`\r\nend\r\nBye\r\n",
]


def nests() -> st.SearchStrategy[bytes]:
    """Return parts: leaves, multiparts and messages of parts, the boundaries made distinct by their own content."""

    def multipart(children: list[bytes], preamble: bytes, epilogue: bytes) -> bytes:
        boundary = next(b for n in count() if (b := b"=_%d_%d_" % (len(children), n)) not in b"".join(children))
        body = b"".join(b"--%b\r\n%b\r\n" % (boundary, child) for child in children)
        head = b'Content-Type: multipart/mixed;\r\n boundary="%b"\r\n\r\n' % boundary
        return head + preamble + body + b"--%b--\r\n" % boundary + epilogue

    def grown(children: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
        lines = st.sampled_from([b"", b"some words\r\n", b"\r\n"])
        several = st.builds(multipart, st.lists(children, min_size=1, max_size=4), lines, lines)
        messages = children.map(lambda child: b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" + child)
        return several | messages

    return st.recursive(st.sampled_from(LEAVES), grown, max_leaves=8)


def encloses(tree, outer: MimePart, inner: MimePart) -> bool:
    while inner.index != outer.index and inner.parent >= 0:
        inner = tree.parts[inner.parent]
    return inner.index == outer.index


@given(nests(), st.data(), st.sampled_from([NOTICE, CHINESE, "--=_1_0_\n--\n", "x" * 2000]))
def test_cutting_a_part_leaves_every_other_octet_and_every_sibling(body, data, text):
    octets = b"From: a@b.test\r\nMIME-Version: 1.0\r\n" + body
    content = Content(octets)
    tree = content.mime
    part = data.draw(st.sampled_from([leaf for leaf in tree.leaves if not _is_mail_text(leaf)] or [tree.parts[0]]))
    edits = cut(content, tree, [Removal(index=part.index, text=text, ascii_text="removed")])
    if isinstance(edits, NotSeparable):
        assert _is_mail_text(part)
        return
    # Nothing outside the part (its fields and its body) is touched.
    assert all(part.start <= edit.start <= edit.end <= part.end for edit in edits)
    result = apply(octets, edits)
    assert result.startswith(octets[: part.start])
    assert result.endswith(octets[part.end :])
    after = Content(result)
    assert set(after.mime.ambiguities) <= set(tree.ambiguities)
    kept = [leaf for leaf in tree.leaves if not encloses(tree, part, leaf) and not encloses(tree, leaf, part)]
    # A text around a cut file is another text.
    left = [p for p in after.mime.leaves if p.index != part.index] if not part.is_block else None
    if left is not None:
        assert [result[p.start : p.end] for p in left] == [octets[p.start : p.end] for p in kept]
        new = after.mime.parts[part.index]
        assert (new.media_type, new.charset, new.depth, new.parent) == ("text/plain", "utf-8", part.depth, part.parent)
        assert new.decoded(after).decode().replace("\r\n", "\n").rstrip("\n") == text.rstrip("\n")


def _is_mail_text(part: MimePart) -> bool:
    return part.media_type.startswith("text/") and not part.is_attachment


def mixed(*parts: bytes, head: bytes = b"") -> bytes:
    body = b"".join(b"--b\r\n%b\r\n" % part for part in parts)
    return head + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body + b"--b--\r\n"


def test_one_of_three():
    result = cut_octets(mixed(LEAVES[0], LEAVES[2], LEAVES[1]), 2)
    assert result == mixed(
        LEAVES[0],
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n"
        b"Content-Disposition: inline\r\n\r\nThe attachment was removed.\r\n\r\nIt held a virus.",
        LEAVES[1],
    )


def test_two_at_once_and_a_part_with_what_is_in_it():
    inner = b"Content-Type: message/rfc822\r\n\r\n" + mixed(LEAVES[2], LEAVES[3])
    octets = mixed(LEAVES[2], inner.replace(b"=b\r\n", b"=c\r\n").replace(b"--b", b"--c"), LEAVES[3])
    result = Content(cut_octets(octets, 1, 2, 4))
    assert [part.media_type for part in result.mime.parts[1:]] == ["text/plain", "text/plain", "text/plain"]
    assert LEAVES[3] in result.octets


def test_the_whole_body_keeps_the_fields_that_are_not_its_own():
    octets = (
        b"From: a@b.test\r\nContent-Type: application/zip; name=a.zip\r\nSubject: x\r\n"
        b"Content-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\nContent-Disposition: attachment\r\n\r\nUEs=\r\n"
    )
    assert cut_octets(octets, 0) == (
        b"From: a@b.test\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n"
        b"Content-Disposition: inline\r\nSubject: x\r\nMIME-Version: 1.0\r\n\r\n"
        b"The attachment was removed.\r\n\r\nIt held a virus.\r\n"
    )


def test_the_body_of_an_enclosed_message():
    octets = mixed(LEAVES[0], b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n" + LEAVES[2])
    result = cut_octets(octets, 3)
    assert b"message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: text/plain; charset=utf-8\r\n" in result
    assert message_from_bytes(result).get_payload(1).get_payload(0)["Subject"] == "inner"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", "removed"),
        (b"Content-Type: text/plain; charset=gbk\r\nContent-Transfer-Encoding: 8bit\r\n", CHINESE.strip()),
        (b"Content-Type: text/plain; charset=gbk\r\n", "removed"),
        (b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n", "removed"),
        (b"Content-Type: text/plain; charset=no-such\r\nContent-Transfer-Encoding: 8bit\r\n", "removed"),
    ],
)
def test_a_file_within_text(fields, expected):
    """Its lines go, the text around stays; the replacement is in the charset that the text has."""
    block = b"begin 644 x.com\r\n" + binascii.b2a_uu(b"virus").replace(b"\n", b"\r\n") + b"`\r\nend\r\n"
    octets = fields + b"\r\nHello,\r\n" + block + b"Bye\r\n"
    content = Content(octets)
    edits = cut(content, content.mime, [Removal(index=1, text=CHINESE, ascii_text="removed")])
    charset = "gbk" if expected != "removed" else "ascii"
    assert apply(octets, edits) == fields + b"\r\nHello,\r\n" + expected.encode(charset) + b"\r\nBye\r\n"


def test_lines_that_would_be_a_delimiter_or_a_file_are_none():
    octets = mixed(b"\r\nHello\r\nbegin 644 x\r\n#0V%T\r\n`\r\nend\r\nBye")
    result = cut_octets(octets, 2, text="--b--\nbegin 644 y\n`\nend\n")
    assert [part.is_block for part in Content(result).mime.parts] == [False, False]
    assert b"Bye" in result


def test_line_ends_are_those_of_the_mail():
    octets = mixed(LEAVES[0], LEAVES[2]).replace(b"\r\n", b"\n")
    assert b"\r" not in cut_octets(octets, 2)


def test_a_part_without_anything_gets_a_line_end_before_the_next_delimiter():
    octets = mixed(b"Content-Type: image/png\r\n").replace(b"Content-Type: image/png\r\n\r\n--b--", b"--b\r\n--b--")
    content = Content(octets)
    part = content.mime.parts[1]
    assert (part.start, part.end) == (part.end, part.start)
    edits = cut(content, content.mime, [Removal(index=1, text=NOTICE)])
    assert edits == NotSeparable(reason="text", index=1)


@pytest.mark.parametrize(
    ("octets", "index", "reason"),
    [
        (mixed(LEAVES[2]).replace(b"--b\r\n", b"--bc\r\n\r\nwords\r\n--b\r\n"), 1, NotSeparable(reason="ambiguous")),
        (mixed(LEAVES[2], LEAVES[3]).replace(b"MZ", b"MZ\r\nx--b\r\n\r\n"), 1, NotSeparable(reason="ambiguous")),
        (b"\r\ntext", 0, NotSeparable(reason="text", index=0)),
        (mixed(LEAVES[2], LEAVES[1]), 2, NotSeparable(reason="text", index=2)),
        # To most readers it is one text.
        (b"Content-Type: text/plain\r\n" + mixed(LEAVES[2]), 0, NotSeparable(reason="text", index=0)),
    ],
)
def test_what_cannot_be_cut_is_a_value(octets, index, reason):
    content = Content(octets)
    assert cut(content, content.mime, [Removal(index=index, text=NOTICE)]) == reason


def test_two_declarations_of_one_body_go_with_it():
    """Some see a file, some a multipart; neither stays."""
    octets = b"Content-Type: application/zip\r\nContent-Disposition: attachment\r\n" + mixed(LEAVES[2])
    result = Content(cut_octets(octets, 0))
    assert [part.media_type for part in result.mime.parts] == ["text/plain"]
    assert result.mime.ambiguities == ()


def test_what_was_not_looked_at_whole_is_not_cut():
    content = Content(mixed(*LEAVES))
    tree = parse(content, limits=MimeLimits(max_parts=2))
    assert cut(content, tree, [Removal(index=1, text=NOTICE)]) == NotSeparable(reason="truncated")


def test_what_another_reader_sees_within_a_part_goes_with_it():
    """A forwarded message that says it is encoded: some show its raw lines as its text."""
    encoded = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA=="
    content = Content(mixed(encoded, LEAVES[2]))
    assert isinstance(cut(content, content.mime, [Removal(index=1, text=NOTICE)]), tuple)
    assert cut(content, content.mime, [Removal(index=2, text=NOTICE)]) == NotSeparable(reason="ambiguous")


def test_an_ambiguity_that_shows_nobody_anything_else_is_none():
    """The inner boundary begins with the outer one, as Outlook and others write them."""
    inner = b"Content-Type: multipart/alternative; boundary=bb\r\n\r\n--bb\r\n" + LEAVES[0] + b"\r\n--bb--\r\n"
    octets = mixed(inner, LEAVES[2])
    assert Content(octets).mime.ambiguities == ("boundary-prefix",)
    assert isinstance(cut(Content(octets), Content(octets).mime, [Removal(index=3, text=NOTICE)]), tuple)


def test_the_holder_of_what_is_encoded_is_the_part_that_encodes_it():
    encoded = (
        b"Content-Type: message/rfc822; name=fwd.eml\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(mixed(LEAVES[2])).replace(b"\n", b"\r\n")
    )
    content = Content(mixed(LEAVES[0], encoded))
    found = leaves(content).leaves
    assert [holder(content.mime, leaf).index for leaf in found] == [1, 2, 2]
    result = cut_octets(content.octets, 2)
    assert [part.media_type for part in Content(result).mime.parts] == ["multipart/mixed", "text/plain", "text/plain"]
