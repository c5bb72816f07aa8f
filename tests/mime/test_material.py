"""Some 200 awkward messages that others wrote, held to what they expect; each disagreement stands here with its reason.

stalwart's JSON has octet offsets, for the message with LF line ends (``.json``) and with CR LF ones (``.crlf.json``).
mime-tools' ``.ref`` has types, encodings, names and sizes. cpython's have no expectation written down: the standard
library's parser is asked for the types, as of those messages of mime-tools for which there is no ``.ref``. What is
otherwise is counted at the end of a run (``tests.conftest``).
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
MIME_TOOLS = sorted((MATERIAL / "mime-tools/testmsgs").glob("*?ref"))
CPYTHON = sorted((MATERIAL / "cpython/data").glob("msg_*.txt"))
WITHOUT_REF = sorted({*(MATERIAL / "mime-tools/testmsgs").glob("*.msg")} - {p.with_suffix(".msg") for p in MIME_TOOLS})

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


def their_leaves(message: dict) -> list[dict]:
    """Return what they have for leaves, but for empty ones."""
    found = []
    for part in message["parts"]:
        kind = part["body"] if isinstance(part["body"], str) else next(iter(part["body"]))
        inner = part["body"]["Message"] if kind == "Message" else None
        # Offsets of a message that was transfer-encoded count in its decoded octets.
        if inner and inner["parts"][0]["offset_header"] == part["offset_body"]:
            found += their_leaves(inner)
        elif kind != "Multipart" and part["offset_body"] < part["offset_end"]:
            found.append(part)
    return found


def place(part: dict) -> tuple[int, int]:
    return part["offset_body"], part["offset_end"]


def our_leaves(tree: MimeTree) -> list[tuple[int, int]]:
    return [(p.body_start, p.body_end) for p in tree.leaves if not p.is_block and p.body_start < p.body_end]


@absent
@pytest.mark.parametrize("path", STALWART, ids=named)
def test_leaves_lie_where_stalwart_has_them(path, record_property):
    case = f"{path.parent.name}/{path.stem}"
    content = stalwarts(path)
    theirs = list(map(place, their_leaves(json.loads(path.read_text(encoding="utf-8")))))
    ours = {reading.name: our_leaves(reading.tree) for reading in readings(content)}
    stem = case.removesuffix(".crlf")
    if reason := DISAGREEMENTS.get(case) or DISAGREEMENTS.get(stem):
        record_property("departure", f"{stem}: {reason}")
        assert theirs not in ours.values()
    elif (other := READ_OTHERWISE.get(stem)) is not None:
        record_property("departure", f"{stem}: theirs is another reading, which is looked at too: {other}")
        assert ours["usual"] != theirs
        assert ours[other] == theirs
    else:
        assert ours["usual"] == theirs


def stalwarts(path: Path) -> Content:
    octets = path.with_name(path.name.partition(".")[0] + ".eml").read_bytes().replace(b"\r", b"")
    return Content(octets.replace(b"\n", b"\r\n") if path.stem.endswith(".crlf") else octets)


_GUESSED = "octets beyond ASCII in a name: they have U+FFFD, here a charset is guessed"
_QUOTED_PAIRS = "a path with backslashes in a name: to them they quote (RFC 5322 §3.2.4), to readers they are there"
_UUENCODE = "x-uuencode, which they leave as it is"
_LENIENT = "a body that is no base64: they show its characters, here what lenient readers make of it"
# What is otherwise in leaves that lie where theirs do: the type, the file name, or what is in it.
HELD_OTHERWISE = {
    **dict.fromkeys([("legacy/016", "name"), ("legacy/023", "name"), ("legacy/026", "name")], _GUESSED),
    **dict.fromkeys([("legacy/035", "name"), ("legacy/039", "name")], _QUOTED_PAIRS),
    **dict.fromkeys([("legacy/017", "content"), ("legacy/026", "content"), ("legacy/048", "content")], _UUENCODE),
    ("malformed/017", "name"): "a disposition without a type: they read no parameter of it, some readers take the name",
    ("malformed/019", "content"): "an octet beyond ASCII in us-ascii: Latin-1 to them; what is scanned are octets",
    ("rfc/000", "content"): _LENIENT,
    ("thirdparty/002", "content"): _LENIENT,
    ("thirdparty/005.crlf", "content"): "UTF-16 cut within a character by CR LF for LF: they drop what is left of it",
}


def their_attribute(part: dict, field: str, name: str) -> str:
    for header in part["headers"]:
        if header["name"] == field and "ContentType" in (header["value"] or ()):
            attributes = header["value"]["ContentType"]["attributes"] or ()
            found = [attribute["value"] for attribute in attributes if attribute["name"].lower() == name]
            if found:
                return found[0]
    return ""


def their_type(part: dict, ours: MimePart) -> str:
    """Return the type as they read it; where they have none, nothing is held against ours."""
    for header in part["headers"]:
        if header["name"] == "content_type" and "ContentType" in (header["value"] or ()):
            said = header["value"]["ContentType"]
            return f"{said['c_type']}/{said.get('c_subtype') or ''}".lower()
    return ours.media_type


def their_content(part: dict) -> str | bytes:
    [(kind, body)] = part["body"].items()
    return body if kind in ("Text", "Html") else bytes(body) if isinstance(body, list) else body.encode()


def our_content(part: MimePart, content: Content, theirs: str | bytes) -> str | bytes:
    octets = part.decoded(content)
    if isinstance(theirs, bytes):
        return octets
    try:
        return octets.decode(part.charset or "utf-8", "replace")
    except LookupError:
        return octets.decode("utf-8", "replace")


@absent
@pytest.mark.parametrize("path", STALWART, ids=named)
def test_leaves_hold_what_stalwart_has(path, record_property):
    case, content = f"{path.parent.name}/{path.stem}", stalwarts(path)
    ours = {(p.body_start, p.body_end): p for p in content.mime.leaves if not p.is_block}
    otherwise = set()
    for part in their_leaves(json.loads(path.read_text(encoding="utf-8"))):
        # A message that is encoded has an expectation of its own, in its own octets.
        if (leaf := ours.get(place(part))) is None or "Message" in part["body"]:
            continue
        name = their_attribute(part, "content_disposition", "filename") or their_attribute(part, "content_type", "name")
        theirs = their_content(part)
        same = {
            "type": their_type(part, leaf) == leaf.media_type,
            "name": name == leaf.filename,
            "content": theirs == our_content(leaf, content, theirs),
        }
        otherwise.update(what for what, agrees in same.items() if not agrees)
    reasons = {held: why for held, why in HELD_OTHERWISE.items() if held[0] in (case, case.removesuffix(".crlf"))}
    for (stem, what), why in reasons.items():
        record_property("departure", f"{stem}, {what}: {why}")
    assert otherwise == {what for _, what in reasons}


def test_no_disagreement_is_out_of_date():
    if not STALWART:
        pytest.skip("needs ../shared/material/mime, which a clone does not have")
    cases = {f"{path.parent.name}/{path.stem}" for path in STALWART}
    assert {*READ_OTHERWISE, *DISAGREEMENTS, *(case for case, _ in HELD_OTHERWISE)} <= cases


_UU_BLOCK = "they replace a text with uuencode in it by a multipart; here the block is a part within the text"
_NESTED = "told to leave an enclosed message alone, or to put it in its part's place; here it is always looked into"
MIME_TOOLS_DISAGREEMENTS = {
    "multi-2evil Part_2": "the file name's backslashes are lost in their notation",
    "multi-digest Part_2_1": "'Content-Type: text' has no subtype: text/plain by RFC 2045 §5.2, 'text' to them",
    "multi-nested2 Part_5_1": "they end a quoted-printable body with a line end of their own",
    "multi-weirdspace Part_1": "they count one octet less than stand before the line end that the delimiter owns",
    "uu-zeegee": _UU_BLOCK,
    "uu-junk-extracted": _UU_BLOCK,
    "ak-0696-none": _NESTED,
    "ak-0696-replace": _NESTED,
    "hdr-fakeout": "they fail on it, or with a newer library do not (-newmailtools-ref): here it is as with that",
}
_REF_MESSAGE = re.compile(r'"?Message"? => "(.*?)"')
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
def test_parts_are_what_mime_tools_has(path, record_property):
    text = _PERL_CHARACTER.sub(lambda code: chr(int(code[1], 16)), path.read_text(encoding="latin-1"))
    content = Content(path.with_name(Path(_REF_MESSAGE.findall(text)[0]).name).read_bytes())
    parts, otherwise = numbered(content.mime), set()
    theirs = dict(_REF_PART.findall(text))
    for name, body in theirs.items():
        keys = ("Type", "Encoding", "Filename", "Size")
        wanted = {key: value for key, value in _REF_VALUE.findall(body) if key in keys}
        if name not in parts or described(parts[name], content, wanted) != wanted:
            otherwise.add(f"{path.stem} {name}")
    reasons = {case: why for case, why in MIME_TOOLS_DISAGREEMENTS.items() if case.partition(" ")[0] == path.stem}
    for case, why in reasons.items():
        record_property("departure", f"{case}: {why}")
    if path.stem in reasons:
        assert otherwise or set(theirs) != set(parts) or "Fail => 1" in text
    else:
        assert otherwise == set(reasons)


_STATUS = "message/delivery-status is data here; they make a message of each of its groups of fields"
_REUSED = (
    "an inner multipart with the outer one's boundary: the inner ends at its close-delimiter, then the outer goes on"
)
STANDARD_LIBRARY_DISAGREEMENTS = {
    "msg_15": _REUSED,
    "msg_39": _REUSED,
    "msg_16": _STATUS,
    "msg_43": _STATUS,
    "msg_36": "message/external-body is data here, its header for the external body included (RFC 2046 §5.2.3)",
    "utf8-bom-at-start": "a mark of UTF-8 before the first field: no header to them, which would hide an attachment",
    "msg_37": "a delimiter directly after another: an empty part here, nothing to them",
}


@absent
@pytest.mark.parametrize("path", [*CPYTHON, *WITHOUT_REF], ids=named)
def test_types_are_those_of_the_standard_library(path, record_property):
    octets = path.read_bytes()
    theirs = [part.get_content_type() for part in message_from_bytes(octets).walk()]
    ours = [part.media_type for part in Content(octets).mime.parts if not part.is_block]
    reason = STANDARD_LIBRARY_DISAGREEMENTS.get(path.stem)
    if reason is not None:
        record_property("departure", f"{path.stem}: {reason}")
    assert (ours == theirs) == (reason is None), (ours, theirs)
