"""Octets to text, as a lenient reader does it: labels as the WHATWG reads them, mislabelled text recovered.

Order of belief: a byte order mark; seven-bit escapes (ISO-2022-JP under any label, UTF-7 and HZ under their own);
UTF-8 wherever it is valid; the declared charset, when what it gives looks like a language; else the best-looking
reading of a sample by the commonest characters of each language (``guess``). So GBK declared as Big5, Shift_JIS as
EUC-KR, or Chinese under ISO-8859-1 or no label at all come out as what was typed.

``decode`` never raises and never returns surrogates, so its text always encodes as UTF-8. Octets that mean nothing
become U+FFFD. Labels choose among the charsets named here only: Python's codec registry has some that run in quadratic
time (punycode) or are not charsets at all.
"""

import codecs
import re
from binascii import a2b_base64
from collections.abc import Callable
from functools import lru_cache

from gateway.mail.text import guess

# What a label is looked up by: ASCII letters and digits only, so that "GB_2312-80", "gb2312-80" and "GB231280" are one.
_NOISE = re.compile(r"[^a-z0-9]+")
# Longer than any label of a registry.
_MAX_LABEL = 64

# https://encoding.spec.whatwg.org/#names-and-labels (labels without punctuation), with the superset of each family
# that everybody reads it as, and a few that occur in mail only. The value is a codec of ours.
_FAMILIES = {
    "utf-8": "utf8 unicode11utf8 unicode20utf8 xunicode20utf8 utf8mb4",
    "utf-7": "utf7 unicode11utf7 csunicode11utf7 unicode20utf7 xunicode20utf7",
    "utf-16": "utf16 unicode csunicode iso10646ucs2 ucs2 unicodefeff",
    "utf-16-le": "utf16le",
    "utf-16-be": "utf16be unicodefffe",
    "utf-32": "utf32 ucs4 iso10646ucs4",
    "gb18030": "gb18030 gbk xgbk cp936 ms936 windows936 gb2312 gb231280 csgb2312 csiso58gb231280 isoir58 chinese euccn "
    "cngb gb eucgb2312cn gb180302000 gb180302005 936",
    "big5": "big5 big5hkscs cnbig5 csbig5 xxbig5 cp950 ms950 windows950 big5eten eucTW 950",
    "hz": "hzgb2312 hz hzgb",
    "cp932": "shiftjis sjis xsjis csshiftjis mskanji ms932 windows31j cswindows31j cp932 windows932 shiftjisx0213 932",
    "euc_jp": "eucjp xeucjp cseucpkdfmtjapanese ujis",
    "iso-2022-jp": "iso2022jp csiso2022jp iso2022jp1 iso2022jp2 iso2022jp3 iso2022jpms cp50220 cp50221 jis",
    "cp949": "euckr cseuckr csksc56011987 isoir149 korean ksc5601 ksc56011987 ksc56011989 ksc5601 windows949 cp949 uhc "
    "ms949 949",
    "iso2022_kr": "iso2022kr csiso2022kr",
    "johab": "johab cp1361 ms1361",
    "windows-1252": "usascii ascii ansix341968 iso88591 iso885911987 latin1 l1 cp819 ibm819 isoir100 csisolatin1 "
    "windows1252 xcp1252 cp1252 iso646us us ansi",
    "iso8859_2": "iso88592 iso885921987 latin2 l2 isoir101 csisolatin2",
    "iso8859_3": "iso88593 latin3 l3 isoir109",
    "iso8859_4": "iso88594 latin4 l4 isoir110",
    "iso8859_5": "iso88595 cyrillic isoir144 csisolatincyrillic",
    "iso8859_6": "iso88596 iso88596e iso88596i arabic asmo708 ecma114 isoir127",
    "iso8859_7": "iso88597 greek greek8 ecma118 elot928 isoir126 suneugreek",
    "iso8859_8": "iso88598 iso88598e iso88598i hebrew visual logical isoir138",
    "cp1254": "windows1254 xcp1254 cp1254 iso88599 latin5 l5 isoir148",
    "iso8859_10": "iso885910 latin6 l6 isoir157",
    "cp874": "windows874 cp874 iso885911 tis620 dos874",
    "iso8859_13": "iso885913 latin7",
    "iso8859_14": "iso885914 latin8",
    "iso8859_15": "iso885915 latin9 l9",
    "iso8859_16": "iso885916 latin10",
    "koi8_r": "koi8r koi8 koi cskoi8r",
    "koi8_u": "koi8u koi8ru",
    "cp866": "ibm866 cp866 866 csibm866",
    "cp1250": "windows1250 xcp1250 cp1250",
    "cp1251": "windows1251 xcp1251 cp1251",
    "cp1253": "windows1253 xcp1253 cp1253",
    "cp1255": "windows1255 xcp1255 cp1255",
    "cp1256": "windows1256 xcp1256 cp1256",
    "cp1257": "windows1257 xcp1257 cp1257",
    "cp1258": "windows1258 xcp1258 cp1258",
    "mac_roman": "macintosh mac xmacroman csmacintosh",
    "mac_cyrillic": "xmaccyrillic xmacukrainian",
    "cp437": "ibm437 cp437 437",
    "cp850": "ibm850 cp850 850",
    "cp852": "ibm852 cp852 852",
}
_CODECS = {label.lower(): codec for codec, labels in _FAMILIES.items() for label in labels.split()}

# RFC 1468 (ISO-2022-JP): what follows the escape designates a Japanese set.
_JAPANESE_ESCAPE = re.compile(rb"\x1b(?:\$[@B(]|\([IJ])")
_ESCAPE = re.compile(rb"(\x1b(?:\$\([DOPQ]|\$[@B]|\([BJIH]|\.[AF]|&@))")
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_WIDE = frozenset({"utf-16", "utf-16-le", "utf-16-be", "utf-32"})
# Two-octet sequences only, E0 to F4 never leading: a text in GBK can be valid UTF-8 of this kind by chance.
_LONG_UTF8 = re.compile(rb"[\xe0-\xf4]")


@lru_cache(maxsize=1024)
def codec_of(label: str) -> str:
    """Return our codec for a charset label, "" for one that says nothing (unknown-8bit, x-unknown …)."""
    # RFC 2231 §5: a language may follow a star.
    name = label[:_MAX_LABEL].partition("*")[0].lower()
    return _CODECS.get(_NOISE.sub("", name), "")


def decode(octets: bytes, declared: str = "") -> str:
    """Return the text of ``octets`` whose charset is ``declared`` to be such ("" when nothing is declared)."""
    codec = codec_of(declared) if len(declared) <= _MAX_LABEL else ""
    if octets.isascii() and codec not in _WIDE:
        return _seven_bit(octets, codec)
    for bom, marked in _BOMS:
        if octets.startswith(bom):
            return _wide(octets[len(bom) :], marked)
    if codec in _WIDE and (codec == "utf-32" or b"\0" in octets or not octets.isascii()):
        return _wide(octets, codec)
    text = _utf8(octets)
    if text is not None and not _chance(octets, codec):
        return text
    return _read(octets, guess.codec(octets, codec))


def decode_as_declared(octets: bytes, declared: str) -> str:
    """Return the text without looking at anything but the label: for the hundredth piece of one value."""
    text = _utf8(octets)
    return _read(octets, codec_of(declared) or "windows-1252") if text is None else text


def _utf8(octets: bytes) -> str | None:
    # A text cut at a limit may end within a character.
    try:
        text, used = codecs.utf_8_decode(octets, "strict", False)
    except UnicodeDecodeError:
        return None
    if used == len(octets):
        return text
    # One lead octet at the end of ASCII proves nothing: it may be "à" in Latin-1.
    return None if text.isascii() else text + "\ufffd"


def _chance(octets: bytes, codec: str) -> bool:
    """Tell whether octets that are valid UTF-8 are still more likely to be what they are declared as."""
    return codec in guess.DOUBLE_OCTET and not _LONG_UTF8.search(octets) and guess.prefers(octets, codec)


def _seven_bit(octets: bytes, codec: str) -> str:
    if b"\x1b" in octets and (codec == "iso-2022-jp" or _JAPANESE_ESCAPE.search(octets)):
        return _iso_2022_jp(octets)
    if codec == "utf-7" and b"+" in octets:
        return _SHIFTED.sub(_unshifted, octets.decode("ascii"))
    if (codec == "hz" and b"~" in octets) or (codec == "iso2022_kr" and b"\x0e" in octets):
        return octets.decode(codec, "replace")
    return octets.decode("ascii")


def _read(octets: bytes, codec: str) -> str:
    special = _SPECIAL.get(codec)
    return special(octets) if special else octets.decode(codec, "replace")


def _wide(octets: bytes, codec: str) -> str:
    if codec == "utf-8":
        return octets.decode("utf-8", "replace")
    if codec == "utf-16":
        # RFC 2781 §4.3 says big-endian without a mark; senders who write none are on little-endian machines.
        codec = "utf-16-be" if octets[0::2].count(0) > octets[1::2].count(0) else "utf-16-le"
    return octets.decode(codec, "replace")


# RFC 2152: "+", base64 of UTF-16, "-"; "+-" is a plus. What is neither stays as it is: spammers mix.
_SHIFTED = re.compile(r"\+([A-Za-z0-9+/]*+)-?")


def _unshifted(match: re.Match[str]) -> str:
    text = match[1]
    if not text:
        return "+"
    # Bits left over at the end are padding.
    octets = a2b_base64(text[: len(text) - (len(text) % 4 == 1)] + "===")
    return octets[: len(octets) // 2 * 2].decode("utf-16-be", "replace")


# https://encoding.spec.whatwg.org/#index-windows-1252: the five octets that Python's codec refuses are controls.
_WINDOWS_1252 = bytes(range(256)).decode("cp1252", "replace")
_WINDOWS_1252 = "".join(chr(n) if c == "\ufffd" else c for n, c in enumerate(_WINDOWS_1252))


def _windows_1252(octets: bytes) -> str:
    return codecs.charmap_decode(octets, "replace", _WINDOWS_1252)[0]


def _big5(octets: bytes) -> str:
    # Microsoft's extension and Hong Kong's overlap; the first is far more common and says so when it is not meant.
    try:
        return octets.decode("cp950")
    except UnicodeDecodeError:
        return octets.decode("big5hkscs", "replace")


def _utf_7(octets: bytes) -> str:
    # Not seven-bit, so not UTF-7, whatever it says.
    return _read(octets, guess.codec(octets, ""))


def _iso_2022_jp(octets: bytes) -> str:
    """Read ISO-2022-JP with the vendors' characters (row 13 and beyond), which Python's codec refuses."""
    try:
        return octets.decode("iso2022_jp_ext")
    except UnicodeDecodeError:
        pass
    pieces = _ESCAPE.split(octets)
    text = [pieces[0].decode("ascii", "replace")]
    for escape, piece in zip(pieces[1::2], pieces[2::2], strict=True):
        text.append(_designated(escape, piece))
    return "".join(text)


_HIGH = bytes(octet | 0x80 for octet in range(256))


def _designated(escape: bytes, octets: bytes) -> str:
    if escape in (b"\x1b$B", b"\x1b$@"):
        return octets.translate(_HIGH).decode("euc_jis_2004", "replace")
    if escape == b"\x1b(I":
        return octets.translate(_HIGH).decode("cp932", "replace")
    return octets.decode("ascii", "replace")


_SPECIAL: dict[str, Callable[[bytes], str]] = {
    "windows-1252": _windows_1252,
    "big5": _big5,
    "utf-7": _utf_7,
    "iso-2022-jp": _iso_2022_jp,
}
