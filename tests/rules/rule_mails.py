"""The mails that cases are judged by, as octets, and what their envelopes say."""

import base64
import io
import zipfile
from dataclasses import dataclass, replace
from ipaddress import ip_address

from gateway.clock import Clock, FakeClock, Stamp
from gateway.mail.connection import Connection, Role, TlsFacts
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.transaction import Transaction
from gateway.smtp.path import parse_forward_path, parse_reverse_path

# Monday 2026-11-23 14:30 UTC, 22:30 in Beijing.
RECEIVED_UTC = 1_795_444_200.0


def word(text: str, charset: str = "utf-8", label: str = "") -> str:
    """An encoded-word (RFC 2047)."""
    return f"=?{label or charset}?B?{base64.b64encode(text.encode(charset)).decode()}?="


def part(octets: bytes, content_type: str, name: str = "") -> bytes:
    """A base64 part; an attachment when it has a name."""
    disposition = f'Content-Disposition: attachment; filename="{name}"\r\n' if name else ""
    head = f"Content-Type: {content_type}\r\n{disposition}Content-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + base64.encodebytes(octets).replace(b"\n", b"\r\n")


def multipart(fields: list[str], *parts: bytes) -> bytes:
    """A multipart/mixed message."""
    head = [*fields, "MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="=_1"']
    body = b"".join(b"--=_1\r\n" + each + b"\r\n" for each in parts)
    return "".join(f"{line}\r\n" for line in head).encode() + b"\r\n" + body + b"--=_1--\r\n"


def archive(*, encrypted: bool = False) -> bytes:
    """A zip with one text file; ``encrypted``: said to need a password (APPNOTE 4.4.4, bit 0)."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("readme.txt", "nothing")
    octets = bytearray(file.getvalue())
    if encrypted:
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            octets[octets.find(signature) + offset] |= 1
    return bytes(octets)


def macro_document() -> bytes:
    """A Word document of Office Open XML with a macro project."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("[Content_Types].xml", "<Types/>")
        made.writestr("word/document.xml", "<document/>")
        made.writestr("word/vbaProject.bin", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    return file.getvalue()


# The smallest that Windows would take for a program: the DOS header and where its PE header stands.
PROGRAM = b"MZ" + bytes(58) + b"\x40\x00\x00\x00" + b"PE\0\0" + b"\x4c\x01" + bytes(300)

# Written in GB18030 and labelled as its ancestor gb2312, as half of Chinese mail is; the subject has a full-width
# letter and a zero-width space, the link's host a U-label.
INVOICES = "代开各种增值税\u200b发票ＶＰＮ 联系微信"
CHINESE = multipart(
    [
        f"From: {word('张伟', 'gb18030', 'gb2312')} <zhang.wei@xn--fsqu00a.xn--fiqs8s>",
        "Reply-To: Refund <refund@freemail.example>",
        "To: anna@example.com",
        f"Subject: {word(INVOICES)}",
        "Date: Mon, 23 Nov 2026 22:30:00 +0800 (中国标准时间)",
        "X-Mailer: Foxmail 7",
        "X-Mailer: twice",
    ],
    part(
        "您好，本公司代开发票，税点优惠。网址 https://www.fapiao.example/x?y=1".encode("gb18030"),
        "text/plain; charset=gb2312",
    ),
    part(
        "<html><body><p>扫描<b>下</b>方&#20108;维码&amp;咨询</p><a href='http://例子.中国/promo'>点击</a></body></html>".encode(
            "gb18030"
        ),
        "text/html; charset=gb2312",
    ),
    part("附件里的 文字".encode(), "text/plain; charset=utf-8", "notes.txt"),
    part(PROGRAM, "application/pdf", "invoice.pdf.exe"),
    part(archive(encrypted=True), "application/zip", "scan.zip"),
    part(macro_document(), "application/vnd.ms-word.document.macroEnabled.12", "plan.docm"),
)

ENGLISH = (
    b"From: Anna Example <anna@sub.sender.example>, Bob <bob@other.example>\r\n"
    b"Sender: anna@sub.sender.example\r\nTo: anna@example.com\r\nSubject: Cheap Invoice service\r\n"
    b"Date: Wed, 25 Nov 2026 14:30:00 +0000\r\nList-Unsubscribe: <https://sender.example/u>\r\n\r\n"
    b"Buy now. The   meeting\r\nis on Monday.\r\n"
)
BARE = b"Subject: hi\r\n\r\nHello\r\n"

MAILS = {"chinese": CHINESE, "english": ENGLISH, "bare": BARE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """How a mail came; what is not said is an ordinary stranger's."""

    client_ip: str = "192.0.2.7"
    client_name: str = ""
    helo: str = "mail.sender.example"
    tls: str = ""
    reverse_path: str = "anna@sub.sender.example"
    recipients: tuple[str, ...] = ("anna@example.com",)
    received_utc: float = RECEIVED_UTC


def recipient(address: str) -> Recipient:
    """One accepted RCPT."""
    return Recipient(path=parse_forward_path(f"<{address}>".encode(), smtputf8=True)[0])


def transaction(octets: bytes | Content, sent: Sent = Sent(), clock: Clock | None = None) -> Transaction:
    """A transaction with everything known."""
    received = Stamp(sent.received_utc, 1000.0)
    connection = Connection(
        session_id="s1",
        client_address=ip_address(sent.client_ip),
        client_port=4711,
        local_address="127.0.0.1",
        local_port=25,
        role=Role.MX,
        connected=(clock or FakeClock()).stamp(),
        hostname="mx.example",
        helo=sent.helo,
        client_name=sent.client_name,
        tls=TlsFacts(version=sent.tls, cipher="TLS_AES_128_GCM_SHA256", bits=128) if sent.tls else None,
    )
    reverse_path = parse_reverse_path(f"<{sent.reverse_path}>".encode(), smtputf8=True)[0]
    return Transaction(
        trace_id="t1",
        connection=connection,
        envelope=Envelope(reverse_path=reverse_path),
        recipients=tuple(recipient(address) for address in sent.recipients),
        content=octets if isinstance(octets, Content) else Content(octets),
        received=received,
    )


def before_content(tx: Transaction) -> Transaction:
    """The transaction as it is at RCPT."""
    return replace(tx, content=Content(b""), received=None)
