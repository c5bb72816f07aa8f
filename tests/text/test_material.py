"""Awkward mails that others collected: whatever is in them becomes text, and nothing raises."""

from pathlib import Path

import pytest

from gateway.mail.content import Content
from gateway.mail.filetype import FileFacts, inspect
from gateway.mail.text import charsets, html, normal, scripts, urls
from gateway.mail.text.addresses import mailboxes
from gateway.mail.text.words import decode_header

MATERIAL = Path(__file__).parents[3] / "shared/material/mime"
MAILS = sorted(path for path in MATERIAL.rglob("*") if path.suffix in (".eml", ".msg", ".txt") and path.is_file())


@pytest.mark.skipif(not MAILS, reason="needs the test material in ../shared/material/mime")
def test_collected_mails_are_read():
    for path in MAILS:
        content = Content(path.read_bytes())
        for field in content.header.fields:
            assert decode_header(field.value).encode("utf-8") is not None
            assert isinstance(mailboxes(field.value), tuple)
        for part in content.mime.leaves:
            octets = part.decoded(content)
            text = charsets.decode(octets, part.charset)
            shown = normal.shown(html.to_text(text).text)
            assert normal.shown(shown) == shown, path
            assert isinstance(scripts.of(shown), frozenset)
            assert isinstance(urls.find(shown), tuple)
            assert isinstance(inspect(octets, part.filename, part.media_type), FileFacts)
