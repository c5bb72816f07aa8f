"""Seals as other verifiers read them, wherever their fields are folded."""

import dkim
import pytest

from gateway.mail.content import Content
from gateway.senderauth.arc.seal import seal_arc
from gateway.senderauth.arc.validate import ArcResult
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.word import Word
from tests.senderauth.conftest import MAIL

NO_CHAIN = ArcResult(result=Word.NONE, reason="")


@pytest.mark.parametrize("length", range(1, 60, 2))
async def test_dkimpy_takes_a_seal_wherever_its_tags_are_folded(make_key, length):
    # dkimpy looks for " i=1;": a tab before it, and an exception leaves its user without any result.
    key = make_key("rsa", f"{'d' * length}.example")
    fields = await seal_arc(SignedMessage.of(Content(MAIL)), key, NO_CHAIN, "mx.example; spf=pass", 1_700_000_000)
    status, _, reason = dkim.arc_verify(b"".join(fields) + MAIL, dnsfunc=lambda *_, **__: key.record.encode())
    assert status == dkim.CV_Pass, reason
