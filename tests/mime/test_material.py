"""Some 200 awkward messages that others wrote, held to what they expect; each disagreement stands here with its reason.

stalwart's JSON has octet offsets, for the message with LF line ends (``.json``) and with CR LF ones (``.crlf.json``).
mime-tools' ``.ref`` has types, encodings, names and sizes. cpython's have no expectation written down: the standard
library's parser is asked for the types.
"""

import json
import re
from email import message_from_bytes
from pathlib import Path

import pytest

from gateway.mail.content import Content
from gateway.mail.mime import MimePart, MimeTree
from gateway.mail.mime.readings import leaves, readings
from tests.mime.conftest import MATERIAL
from tests.mime.test_partition import assert_partition

MESSAGES = sorted(p for p in MATERIAL.rglob("*") if p.suffix in (".eml", ".msg", ".txt") and "LICENSES" not in p.parts)
STALWART = sorted((MATERIAL / "stalwart/resources/eml").rglob("*.json"))
MIME_TOOLS = sorted(
    path for path in (MATERIAL / "mime-tools/testmsgs").glob("*.ref") if path.with_suffix(".msg").is_file()
)
CPYTHON = sorted((MATERIAL / "cpython/data").glob("msg_*.txt"))

absent = pytest.mark.skipif(not MESSAGES, reason="needs ../shared/material/mime, which a clone does not have")


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def variants(path: Path) -> list[bytes]:
    octets = path.read_bytes()
    lf = octets.replace(b"\r\n", b"\n")
    return [octets, lf, lf.replace(b"\n", b"\r\n")]


@absent
@pytest.mark.parametrize("path", MESSAGES, ids=named)
def test_none_raises_and_its_octets_are_partitioned(path):
    for octets in variants(path):
        content = Content(octets)
        assert_partition(octets, content.mime)
        assert content.mime.truncated == ""
        for part in content.mime.parts:
            assert isinstance(part.filename + part.charset + part.disposition, str)
        assert leaves(content).truncated == ""
        for reading in readings(content):
            assert reading.truncated == ""
            for leaf in reading.leaves:
                leaf.decode()


# Where the usual reading differs from stalwart's, and the reading of ours that is the same as theirs.
READ_OTHERWISE = {
    "malformed/004": "delimiter=beginning",
    "malformed/009": "enclosing=text",
    "malformed/011": "enclosing=text",
    "malformed/012": "enclosing=text",
    "malformed/016": "delimiter=beginning, enclosing=text",
    "malformed/020": "fields=last",
    "malformed/021": "fields=last",
    "thirdparty/005": "delimiter_place=anywhere",
}
# Where none of ours is theirs, and why.
DISAGREEMENTS = {
    "legacy/049.crlf": "the content ends in a CR alone, and their offsets count it twice",
    "malformed/001": "'--ab' ends both their multiparts, one with an empty part more; what it holds is the next header",
    "malformed/022": "an enclosed message that is none: they make it text to the end of the content, past delimiters",
    "thirdparty/015": "a header that the next delimiter cuts: they step over it and take two more parts for header",
}


def their_leaves(message: dict, found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    for part in message["parts"]:
        kind = part["body"] if isinstance(part["body"], str) else next(iter(part["body"]))
        inner = part["body"]["Message"] if kind == "Message" else None
        # Offsets of a message that was transfer-encoded count in its decoded octets.
        if inner and inner["parts"][0]["offset_header"] == part["offset_body"]:
            their_leaves(inner, found)
        elif kind != "Multipart":
            found.append((part["offset_body"], part["offset_end"]))
    return [place for place in found if place[0] < place[1]]


def our_leaves(tree: MimeTree) -> list[tuple[int, int]]:
    return [(p.body_start, p.body_end) for p in tree.leaves if not p.is_block and p.body_start < p.body_end]


@absent
@pytest.mark.parametrize("path", STALWART, ids=named)
def test_leaves_lie_where_stalwart_has_them(path):
    case = f"{path.parent.name}/{path.stem}"
    octets = path.with_name(path.name.partition(".")[0] + ".eml").read_bytes().replace(b"\r", b"")
    content = Content(octets.replace(b"\n", b"\r\n") if path.stem.endswith(".crlf") else octets)
    theirs = their_leaves(json.loads(path.read_text(encoding="utf-8")), [])
    ours = {reading.name: our_leaves(reading.tree) for reading in readings(content)}
    if case in DISAGREEMENTS or case.removesuffix(".crlf") in DISAGREEMENTS:
        assert theirs not in ours.values()
    elif (other := READ_OTHERWISE.get(case.removesuffix(".crlf"))) is not None:
        assert ours["usual"] != theirs
        assert ours[other] == theirs
    else:
        assert ours["usual"] == theirs


def test_no_disagreement_is_out_of_date():
    if not STALWART:
        pytest.skip("needs ../shared/material/mime, which a clone does not have")
    cases = {f"{path.parent.name}/{path.stem}" for path in STALWART}
    assert set(READ_OTHERWISE) | set(DISAGREEMENTS) <= cases


MIME_TOOLS_DISAGREEMENTS = {
    "multi-2evil Part_2": "the file name's backslashes are lost in their notation",
    "multi-digest Part_2_1": "'Content-Type: text' has no subtype: text/plain by RFC 2045 §5.2, 'text' to them",
    "multi-nested2 Part_5_1": "they end a quoted-printable body with a line end of their own",
    "multi-weirdspace Part_1": "they count one octet less than stand before the line end that the delimiter owns",
    "uu-zeegee": "they replace a text with uuencode in it by a multipart; here the block is a part within the text",
}
_REF_PART = re.compile(r'"(Msg|Part_[0-9_]+)" => \{(.*?)\n  \}', re.DOTALL)
_PERL_CHARACTER = re.compile(r"\\x\{([0-9a-f]+)\}")
_REF_VALUE = re.compile(r'"(\w+)" => "?(.*?)"?,?$', re.MULTILINE)


def numbered(tree: MimeTree) -> dict[str, MimePart]:
    """Name the parts as mime-tools does: Msg, Part_1, Part_1_1 …"""
    names = {0: "Msg"}
    for part in tree.parts:
        children = [child for child in tree.children(part) if not child.is_block]
        for number, child in enumerate(children, 1):
            names[child.index] = f"{names[part.index]}_{number}".replace("Msg_", "Part_")
    return {names[part.index]: part for part in tree.parts if not part.is_block}


def described(part: MimePart, content: Content, wanted: dict[str, str]) -> dict[str, str]:
    found = {"Type": part.media_type, "Encoding": part.encoding, "Filename": part.filename, "Size": ""}
    if "Size" in wanted and part.is_leaf:
        found["Size"] = str(len(part.decoded(content)))
    return {key: found[key] for key in wanted}


@absent
@pytest.mark.parametrize("path", MIME_TOOLS, ids=named)
def test_parts_are_what_mime_tools_has(path):
    content = Content(path.with_suffix(".msg").read_bytes())
    parts = numbered(content.mime)
    text = _PERL_CHARACTER.sub(lambda code: chr(int(code[1], 16)), path.read_text(encoding="latin-1"))
    for name, body in _REF_PART.findall(text):
        if "Fail" in body or path.stem in MIME_TOOLS_DISAGREEMENTS:
            continue
        keys = ("Type", "Encoding", "Filename", "Size")
        wanted = {key: value for key, value in _REF_VALUE.findall(body) if key in keys}
        case = f"{path.stem} {name}"
        if case in MIME_TOOLS_DISAGREEMENTS:
            assert name not in parts or described(parts[name], content, wanted) != wanted
        else:
            assert described(parts[name], content, wanted) == wanted, case


_STATUS = "message/delivery-status is data here; they make a message of each of its groups of fields"
_REUSED = (
    "an inner multipart with the outer one's boundary: the inner ends at its close-delimiter, then the outer goes on"
)
CPYTHON_DISAGREEMENTS = {
    "msg_15": _REUSED,
    "msg_39": _REUSED,
    "msg_16": _STATUS,
    "msg_43": _STATUS,
    "msg_36": "message/external-body is data here, its header for the external body included (RFC 2046 §5.2.3)",
    "msg_37": "a delimiter directly after another: an empty part here, nothing to them",
}


@absent
@pytest.mark.parametrize("path", CPYTHON, ids=named)
def test_types_are_those_of_the_standard_library(path):
    octets = path.read_bytes()
    theirs = [part.get_content_type() for part in message_from_bytes(octets).walk()]
    ours = [part.media_type for part in Content(octets).mime.parts if not part.is_block]
    assert (ours == theirs) == (path.stem not in CPYTHON_DISAGREEMENTS), (ours, theirs)
