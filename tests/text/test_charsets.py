"""Octets under right, wrong and missing labels must come out as what was typed, or rules miss half of the world's spam.

The octets are made by Python's codecs, which are not always what reads them back (``gb2312`` is read as GB 18030, and
so on), from texts as mail has them.
"""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.mail.text import charsets

# Text, the codec that a sender's program writes, and the label it should have.
TYPED = {
    "invoice": ("本公司可代开各类发票，点数优惠，保证真票，验证后付款。联系电话：13800138000", "gbk", "gb2312"),
    "short": ("代开发票", "gbk", "GB2312"),
    "training": ("企业中高层管理人员培训课程通知", "gb18030", "gb18030"),
    "traditional": ("您好，感謝您的訂購，請盡快登錄網站確認您的帳號", "cp950", "Big5"),
    "traditional-short": ("電子發票通知", "cp950", "big5"),
    "japanese": ("平素はお世話になっております。ご請求書を添付いたします。", "cp932", "Shift_JIS"),
    "japanese-euc": ("平素はお世話になっております。ご請求書を添付いたします。", "euc_jp", "EUC-JP"),
    "korean": ("안녕하세요 고객님, 결제 내역을 확인해 주시기 바랍니다", "cp949", "euc-kr"),
    "russian": ("Уважаемый клиент, ваш счёт на оплату", "cp1251", "windows-1251"),
    "russian-koi8": ("Уважаемый клиент, ваш счёт на оплату", "koi8_r", "koi8-r"),
    "french": ("Votre commande a été expédiée à l'adresse indiquée, merci à vous", "cp1252", "iso-8859-1"),
    "german": ("Sehr geehrte Damen und Herren, die Prüfung der Änderung läuft", "cp1252", "iso-8859-15"),
}
DOUBLE = ("gb2312", "big5", "shift_jis", "euc-kr")


@pytest.mark.parametrize("name", TYPED)
def test_a_right_label_is_believed(name: str):
    text, codec, label = TYPED[name]
    assert charsets.decode(text.encode(codec), label) == text


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("label", ["", "unknown-8bit", "us-ascii", "iso-8859-1", "utf-8"])
def test_a_missing_or_careless_label_is_seen_through(name: str, label: str):
    text, codec, _ = TYPED[name]
    assert charsets.decode(text.encode(codec), label) == text


@pytest.mark.parametrize("label", DOUBLE)
@pytest.mark.parametrize(
    "name", ["invoice", "training", "traditional", "japanese", "japanese-euc", "korean", "russian"]
)
def test_double_octet_charsets_labelled_as_each_other_are_told_apart(name: str, label: str):
    text, codec, _ = TYPED[name]
    assert charsets.decode(text.encode(codec), label) == text


@pytest.mark.parametrize("name", TYPED)
@pytest.mark.parametrize("label", ["gb2312", "big5", "iso-8859-1", "koi8-r", "shift_jis", ""])
def test_valid_utf_8_is_utf_8_whatever_it_is_called(name: str, label: str):
    text, _, _ = TYPED[name]
    assert charsets.decode(text.encode(), label) == text


def test_the_two_meanings_of_ambiguous_octets_are_weighed():
    # D2 BB is 一 in GBK and U+04BB in UTF-8.
    assert charsets.decode(b"\xd2\xbb", "gb2312") == "一"


@pytest.mark.parametrize(
    ("octets", "label", "text"),
    [
        (b"\x1b$B$3$s$K$A$O\x1b(B", "iso-2022-jp", "こんにちは"),
        # Under another label and under none: the escapes say it.
        (b"\x1b$B$3$s$K$A$O\x1b(B", "us-ascii", "こんにちは"),
        (b"\x1b$B$3$s$K$A$O\x1b(B", "shift_jis", "こんにちは"),
        # Row 13, which Outlook writes and ISO-2022-JP does not have: ①㈱.
        (b"\x1b$B-!-j\x1b(B", "iso-2022-jp", "①㈱"),
        # Half-width katakana, likewise.
        (b"\x1b(I1\x1b(B", "iso-2022-jp", "ｱ"),
        (b"~{VPND~}", "hz-gb-2312", "中文"),
        (b"\x1b$)C\x0e\x30\x21\x0f", "iso-2022-kr", "가"),
        ("Ein Gruß, 代开发票!".encode("utf-7"), "UTF-7", "Ein Gruß, 代开发票!"),
        (b"1 + 1 = 2", "utf-7", "1 + 1 = 2"),
        ("中文 text".encode("utf-16"), "utf-16", "中文 text"),
        ("中文 text".encode("utf-16-be"), "utf-16be", "中文 text"),
        ("plain text".encode("utf-16-le"), "utf-16", "plain text"),
        (b"plain text", "utf-16", "plain text"),
        (b"\xef\xbb\xbfabc", "", "abc"),
        (b"\x80 5", "windows-1252", "€ 5"),
        (b"caf\xe9", "latin1", "café"),
        (b"\xa9 2026 Example\xae", "iso-8859-1", "© 2026 Example®"),
        (b"\xf9\xec\xe5\xed", "iso-8859-8-i", "שלום"),
        (b"\xca\xe1\xeb\xe7\xec\xdd\xf1\xe1", "iso-8859-7", "Καλημέρα"),
        (b"\xca\xc7\xca\xb4", "tis-620", b"\xca\xc7\xca\xb4".decode("tis_620")),
    ],
)
def test_seven_bit_and_wide_charsets(octets: bytes, label: str, text: str):
    assert charsets.decode(octets, label) == text


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("GB_2312-80", "gb18030"),
        ('"gbk"', "gb18030"),
        ("cp936", "gb18030"),
        ("x-sjis", "cp932"),
        ("ks_c_5601-1987", "cp949"),
        ("utf8", "utf-8"),
        ("UTF-8*en", "utf-8"),
        ("unknown-8bit", ""),
        ("", ""),
        # In Python's registry, and either no charset or a slow one.
        ("punycode", ""),
        ("idna", ""),
        ("unicode_escape", ""),
        ("rot13", ""),
        ("undefined", ""),
        ("x" * 100_000, ""),
    ],
)
def test_labels(label: str, codec: str):
    assert charsets.codec_of(label) == codec


def test_utf_7_gives_no_surrogates():
    text = charsets.decode(b"+2AA-+2ADcAA-", "utf-7")
    assert text.encode("utf-8")


def test_a_text_cut_within_a_character_keeps_its_charset():
    text = "企业中高层管理人员培训课程通知"
    assert charsets.decode(text.encode()[:-1], "").startswith(text[:-1])
    assert charsets.decode(text.encode("gbk")[:-1], "").startswith(text[:-1])


def test_some_damaged_octets_do_not_change_the_charset():
    text = TYPED["invoice"][0]
    octets = text.encode("gbk")
    damaged = octets[:20] + b"\xff" + octets[20:]
    assert charsets.decode(damaged, "gb2312").startswith(text[:10])
    assert text[-12:] in charsets.decode(damaged, "")
    octets = text.encode()
    assert text[-12:] in charsets.decode(octets[:30] + b"\xff" + octets[30:], "utf-8")


@given(
    st.binary(max_size=400), st.one_of(st.sampled_from(["", "utf-7", "iso-2022-jp", "hz-gb-2312", "utf-16"]), st.text())
)
# An escape sequence that is never finished, beyond what CPython's incremental decoder keeps.
@example(b"\x80\x1b$" + bytes(7), "iso-2022-jp")
def test_any_octets_under_any_label_become_text_that_encodes(octets: bytes, label: str):
    assert isinstance(charsets.decode(octets, label).encode("utf-8"), bytes)
    assert isinstance(charsets.decode_as_declared(octets, label).encode("utf-8"), bytes)


@given(st.sampled_from(sorted(set(charsets._CODECS.values()))), st.binary(max_size=200))
def test_every_codec_that_a_label_chooses_reads_any_octets(codec: str, octets: bytes):
    label = next(label for label, chosen in charsets._CODECS.items() if chosen == codec)
    assert charsets.codec_of(label) == codec
    assert isinstance(charsets.decode(octets, label).encode("utf-8"), bytes)
