"""The files of any mail are judged: none raises, none takes long, and none is passed over by the short way."""

import base64
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.filters.attachments import Attachments, _look
from gateway.mail.content import Content
from gateway.mail.filetype.risks import of_page
from gateway.policy.filter import NoOptions
from tests.filters.test_cases import CONTEXT, transaction
from tests.mime.conftest import MATERIAL

MESSAGES = sorted(p for p in MATERIAL.rglob("*") if p.suffix in (".eml", ".msg", ".txt"))
LARGE = 400 * 1024


def carrying(name: str, octets: bytes) -> bytes:
    return (
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n'
        b'Content-Type: application/octet-stream; name="%b"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        % name.encode()
        + base64.encodebytes(octets).replace(b"\n", b"\r\n")
        + b"\r\n--b--\r\n"
    )


@pytest.mark.skipif(not MESSAGES, reason="needs ../shared/material/mime, which a clone does not have")
def test_no_awkward_message_raises_and_the_short_way_passes_no_file_over():
    short = 0
    for path in MESSAGES:
        content = Content(path.read_bytes())
        found, _ = _look(content, deep=True)
        assert set(_look(content, deep=False)[0]) == set(found) - {"macros", "encrypted"}
        if content.one_text is not None:
            short += 1
            assert found == {}, path
            assert not any(part.is_attachment for part in content.mime.parts), path
    assert short > 0


@pytest.mark.parametrize(
    "octets",
    [
        b"Content-Type: text/plain; name=a.exe\r\n\r\nx",
        b"Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nx",
        b"Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\nx",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\neA==",
        b"Content-Type: application/octet-stream\r\n\r\nx",
        b"Content-Type: text/plain\r\n\r\nhello\r\nbegin 644 a.exe\r\n",
        b"Content-Type: text/plain\r\n\r\n=ybegin line=128 size=1 name=a.exe\r\nx\r\n=yend size=1\r\n",
        b"Content-Type: text/plain; boundary=b\r\n\r\n--b\r\n",
    ],
)
def test_what_may_hold_a_file_is_looked_at(octets):
    assert Content(octets).one_text is None


@given(st.binary(max_size=300))
def test_any_octets_are_judged(octets):
    _look(Content(octets), deep=True)
    _look(Content(carrying("a.html", octets)), deep=True)
    list(of_page(octets))


async def test_a_large_mail_in_a_file_is_judged_like_one_in_memory(tmp_path: Path):
    octets = carrying("setup.exe", b"MZ" + bytes(LARGE))
    (tmp_path / "content").write_bytes(octets)
    said = []
    for content in (Content(octets), Content(path=tmp_path / "content", size=len(octets))):
        tx = replace(transaction({"content": ""}), content=content)
        said.append(await Attachments(NoOptions()).examine(tx, CONTEXT))
    assert [finding.result for finding in said[0]] == ["executable"]
    assert said[0] == said[1]
    [(start, end)] = said[0][0].places
    assert octets[start:end].strip().startswith(base64.b64encode(b"MZ" + bytes(40)))


@pytest.mark.parametrize(
    "unit", [b"<a", b"<a ", b"<a download ", b"<a href=", b"on", b"new ", b" ", b"data:", b"document .", b"'download"]
)
def test_a_hostile_page_takes_no_time(unit):
    page = b"<script>" + unit * (LARGE // len(unit)) + b"new" + b" " * LARGE
    begun = time.process_time()
    list(of_page(page))
    # Some 20 ms on an idle machine; a search that is not linear takes minutes.
    assert time.process_time() - begun < 2
