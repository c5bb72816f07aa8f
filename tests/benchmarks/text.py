"""What reading 8 KB costs: charsets, header words, authors, HTML, normal form, links, scripts, file types.

    python tests/benchmarks/text.py           ten seconds; prints a table, CPU microseconds of the least disturbed run

Nothing is judged: the figures are for whoever changes one of these. The design asks for tens to a few hundred.
"""

import io
import time
import zipfile
from base64 import b64encode
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from gateway.mail.filetype import inspect
from gateway.mail.text import addresses, charsets, confusable, hosts, html, normal, scripts, urls, words

# Enough repetitions that the least disturbed one is undisturbed.
SECONDS_EACH = 0.3
TEXT_OCTETS = 8 * 1024
ENGLISH = "Dear customer, please have a look at our new catalogue of products for the coming season. "
CHINESE = "尊敬的客户您好，请查看我们新的产品目录，感谢您一直以来的支持。"
LINK = "More at https://shop.example.com/catalogue?id=12345 today. "
SUBJECT = "关于2026年度产品目录及优惠活动的通知"


def filled(piece: str, every: str = "", *, codec: str = "utf-8") -> str:
    """Return a text of about TEXT_OCTETS in ``codec``, with a link in every fifth sentence."""
    unit = piece * 4 + every
    return unit * (TEXT_OCTETS // len(unit.encode(codec)))


def newsletter() -> str:
    """Return a page whose half is markup, as newsletters are."""
    row = (
        '<tr><td style="padding:10px;font-family:Arial,sans-serif;font-size:14px;color:#333333" align="left">'
        '<a href="https://shop.example.com/p/{}?utm=1" style="color:#06c">Product <b>number</b> {}</a><br>'
        "Only &yen;{} today</td></tr>"
    )
    rows = "".join(row.format(n, n, n) for n in range(34))
    return f"<html><head><style>.a{{color:red}}</style></head><body><table>{rows}</table></body></html>"


def archive() -> bytes:
    """Return a zip of twenty members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for n in range(20):
            zipped.writestr(f"document {n}.txt", "x" * 400)
    return buffer.getvalue()


def cases() -> dict[str, Callable[[], object]]:
    """Return what is measured, by name."""
    english, chinese = filled(ENGLISH, LINK), filled(CHINESE, LINK)
    gbk = filled(CHINESE, codec="gbk").encode("gbk")
    encoded = b"=?gb2312?B?" + b64encode(SUBJECT.encode("gbk")) + b"?="
    author = b'"=?utf-8?B?' + b64encode("客户服务".encode()) + b'?=" <service@example.com>'
    page, packed = newsletter(), archive()
    read = html.to_text(page)
    return {
        "charsets: ASCII": lambda: charsets.decode(english.encode(), "utf-8"),
        "charsets: UTF-8, Chinese": lambda: charsets.decode(chinese.encode(), "utf-8"),
        "charsets: GBK, declared": lambda: charsets.decode(gbk, "gb2312"),
        "charsets: GBK as Big5": lambda: charsets.decode(gbk, "big5"),
        "charsets: GBK, undeclared": lambda: charsets.decode(gbk, ""),
        "normal.folded: ASCII": lambda: normal.folded(english),
        "normal.folded: Chinese": lambda: normal.folded(chinese),
        "html.to_text: newsletter, 314 tags": lambda: html.to_text(page),
        "html: its 34 links": lambda: read.urls,
        "urls.find: English": lambda: urls.find(english),
        "urls.find: Chinese": lambda: urls.find(chinese),
        "scripts.of: Chinese": lambda: scripts.of(chinese),
        "words: plain subject": lambda: words.decode_header(b"Re: the minutes of Monday"),
        "words: encoded subject": lambda: words.decode_header(encoded),
        "addresses: one author": lambda: addresses.mailboxes(author),
        "confusable.similar": lambda: confusable.similar("Bank of China", "B\u03b1nk of Chin\u0430", 1),
        "filetype: PDF by signature": lambda: inspect(b"%PDF-1.7\n" + bytes(TEXT_OCTETS), "invoice.pdf"),
        "filetype: zip of 20": lambda: inspect(packed, "a.zip"),
        "filetype: unknown octets": lambda: inspect(bytes(range(256)) * (TEXT_OCTETS // 256), "a.bin"),
    }


def microseconds(work: Callable[[], object]) -> float:
    """Return the CPU time of the fastest run."""
    work()
    least = float("inf")
    until = time.perf_counter() + SECONDS_EACH
    while time.perf_counter() < until:
        began = time.process_time_ns()
        work()
        least = min(least, time.process_time_ns() - began)
    return least / 1000


def main() -> None:
    """Measure and print."""
    hosts.warm()
    table = Table("what", "CPU µs")
    for name, work in cases().items():
        table.add_row(name, f"{microseconds(work):,.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
