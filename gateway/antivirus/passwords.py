"""Passwords for encrypted archives, as people write them in the mail itself.

What follows a word such as "Password:", "Passwort lautet" or "解压密码", and what stands in quotes near one. Senders of
malware write it there so that the reader opens what no scanner could; so we try it as well.
"""

import re
import unicodedata
from collections.abc import Iterator

# Trying one costs the derivation of a key: a millisecond with AES.
MAX_CANDIDATES = 20
# The words stand in the first lines; a long text is a quotation.
MAX_TEXT_CHARACTERS = 20_000

_WORD = re.compile(
    r"(?:pass\s?(?:word|code|wort|phrase)|\bpass\b|\bpwd\b|\bpw\b|\bpin\b|kennwort|mot de passe|contraseña|senha|пароль"
    r"|(?:解[压壓]|打[开開]|文件|压缩|壓縮|附件)?密[码碼]|口令|パスワード|암호|비밀번호)",
    re.IGNORECASE,
)
# Quotes, brackets and dashes of all kinds, after NFKC has made ASCII of the full-width ones.
_PLAIN = str.maketrans(
    dict.fromkeys("\u201c\u201d\u2018\u2019\u00ab\u00bb\u300c\u300d\u300e\u300f\u3010\u3011'", '"')
    | dict.fromkeys("\u2013\u2014\u3002\u3001", " ")
)
# Between the word and the password: a copula, punctuation, an opening quote.
_LINK = re.compile(
    r"[\s:=>\-\"(<\[]*+(?:(?:is|ist|lautet|est|es|\u662f|\u4e3a|\u70ba|\u306f)(?![a-z])[\s:=\"(<\[]*+)?+"
)
_PASSWORD = re.compile(r"[^\s\"<>()\[\]]{1,64}")
_ASCII = re.compile(r"[!-~]+")
_QUOTED = re.compile(r'"([^"\n]{1,64})"')
# How far from the word a quoted text is taken for the password.
_NEAR_CHARACTERS = 80
_TRAILING = ".,;:!?"


def candidates(text: str) -> tuple[str, ...]:
    """Return what may be passwords in a text, the likeliest first, each once."""
    plain = unicodedata.normalize("NFKC", text[:MAX_TEXT_CHARACTERS]).translate(_PLAIN)
    return tuple(dict.fromkeys(_found(plain)))[:MAX_CANDIDATES]


def _found(text: str) -> Iterator[str]:
    for word in _WORD.finditer(text):
        behind = _LINK.match(text, word.end())
        at = behind.end() if behind else word.end()
        if match := _PASSWORD.match(text, at):
            # With and without the punctuation of the sentence, which may belong to it; without what is not ASCII.
            yield match[0].rstrip(_TRAILING) or match[0]
            yield match[0]
            if ascii_only := _ASCII.match(match[0]):
                yield ascii_only[0].rstrip(_TRAILING) or ascii_only[0]
        near = text[max(0, word.start() - _NEAR_CHARACTERS) : word.end() + _NEAR_CHARACTERS]
        yield from _QUOTED.findall(near)
