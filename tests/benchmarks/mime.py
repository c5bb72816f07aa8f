"""How long finding the parts takes, beside the standard library's parser: ``python tests/benchmarks/mime.py``.

The targets of the design: 10 MB with a 9 MB attachment in 6 to 10 ms, 8 KB of text in less than 60 µs.
"""

import base64
import random
import tempfile
import time
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

from gateway.mail.content import Content
from gateway.mail.mime.readings import leaves, readings

TEXT_OCTETS = 8 * 1024
ATTACHMENT_OCTETS = 9_000_000
# Enough repetitions that the least disturbed one is undisturbed.
SECONDS_EACH = 1.0

FIELDS = (
    b"Return-Path: <sender@sender.test>\r\n"
    b"Received: from mx.sender.test (mx.sender.test [192.0.2.10]) by mx.test; Mon, 1 Jun 2026 10:00:00 +0800\r\n"
    b"DKIM-Signature: v=1; a=rsa-sha256; d=sender.test; s=s1; h=from:to:subject; bh=abc=;\r\n b=def=\r\n"
    b"From: Sender <sender@sender.test>\r\nTo: Recipient <recipient@example.test>\r\nSubject: The minutes\r\n"
    b"Date: Mon, 1 Jun 2026 10:00:00 +0800\r\nMessage-ID: <1@sender.test>\r\nMIME-Version: 1.0\r\n"
)
LINE = b"The quick brown fox jumps over the lazy dog, and the minutes say so.\r\n"


def text_mail() -> bytes:
    head = FIELDS + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    return head + LINE * ((TEXT_OCTETS - len(head)) // len(LINE))


def attachment_mail() -> bytes:
    outer, inner = b"----=_NextPart_000_0012_01C2A9A1", b"----=_NextPart_001_0013_01C2A9A1"
    data = base64.encodebytes(random.Random(1).randbytes(ATTACHMENT_OCTETS * 57 // 78)).replace(b"\n", b"\r\n")  # noqa: S311 - a body, no secret
    return b"".join(
        [
            FIELDS,
            b'Content-Type: multipart/mixed;\r\n boundary="%b"\r\n\r\nThis is a multi-part message.\r\n' % outer,
            b'--%b\r\nContent-Type: multipart/alternative;\r\n boundary="%b"\r\n\r\n' % (outer, inner),
            b"--%b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n%b" % (inner, LINE * 100),
            b"--%b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n%b" % (inner, LINE * 300),
            b"--%b--\r\n\r\n" % inner,
            b'--%b\r\nContent-Type: application/pdf; name="minutes.pdf"\r\nContent-Transfer-Encoding: base64\r\n'
            % outer,
            b'Content-Disposition: attachment; filename="minutes.pdf"\r\n\r\n%b--%b--\r\n' % (data, outer),
        ]
    )


def least_seconds(work: Callable[[], object]) -> float:
    """Return the shortest of many runs."""
    least, end = float("inf"), time.perf_counter() + SECONDS_EACH
    while (began := time.perf_counter()) < end:
        work()
        least = min(least, time.perf_counter() - began)
    return least


def with_header(octets: bytes) -> Content:
    """Return a content whose header section was asked for, as every mail's is before its parts."""
    content = Content(octets)
    _ = content.header
    return content


def main() -> None:
    text, large = text_mail(), attachment_mail()
    print(f"{'':44}{'8 KB text':>14}{f'{len(large) / 1e6:.1f} MB':>14}")
    with tempfile.TemporaryDirectory() as folder:
        spilled = Path(folder) / "content"
        spilled.write_bytes(large)
        rows: list[tuple[str, Callable[[bytes], object]]] = [
            ("header section alone", with_header),
            ("header section and parts", lambda octets: with_header(octets).mime),
            ("… of a spilled content", lambda octets: Content(path=spilled, size=len(octets)).mime),
            ("all leaves", lambda octets: leaves(Content(octets))),
            ("all readings", lambda octets: list(readings(Content(octets)))),
            ("email.message_from_bytes", message_from_bytes),
        ]
        for name, work in rows:
            small = "" if "spilled" in name else f"{least_seconds(lambda: work(text)) * 1e6:.0f} µs"  # noqa: B023 - called at once
            print(f"{name:44}{small:>14}{least_seconds(lambda: work(large)) * 1e3:>11.2f} ms")  # noqa: B023 - as above


if __name__ == "__main__":
    main()
