"""Rules and mail to measure with: made from a seed, so that every run has the same.

Words follow Zipf's law, as in real text; Chinese ones are made of the commonest characters, English ones of syllables.
Rules ask for phrases out of a stock, and one sentence in ten of a mail has a phrase of that stock: a mail of 8 KB has
the texts of some dozens of ten thousand rules, and fires a few.
"""

import base64
import quopri
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from gateway.mail.text.frequency import SIMPLIFIED

WORDS = 6_000
PHRASES = 3_000
# Sentences of a mail that have one.
PHRASED = 0.1
_ONSETS = tuple("b c ch d dr f g gr h j k l m n p pl pr qu r s sh sl st t tr v w".split())  # noqa: SIM905 - letters to draw from
_VOWELS = tuple("a e i o u ai ea io ou".split())  # noqa: SIM905 - letters to draw from
_CODAS = tuple("b ck d g l ll m n nd ng nt p r rd s ss st t x".split())  # noqa: SIM905 - letters to draw from


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words, the most frequent first, with the cumulated weights of Zipf's law."""

    words: tuple[str, ...]
    weights: tuple[float, ...]
    phrases: tuple[str, ...]

    def some(self, chance: random.Random, count: int) -> list[str]:
        """Draw words as a text has them."""
        return chance.choices(self.words, cum_weights=self.weights, k=count)

    def any(self, chance: random.Random) -> str:
        """Draw a word for a rule, any as likely as another."""
        return chance.choice(self.words)


def _vocabulary(make: Callable[[], str], join: str, chance: random.Random) -> Vocabulary:
    words: dict[str, None] = {}
    while len(words) < WORDS:
        words[make()] = None
    every = tuple(words)
    phrases = tuple(join.join(chance.choices(every, k=2)) for _ in range(PHRASES))
    return Vocabulary(every, tuple(accumulate(1 / rank for rank in range(1, WORDS + 1))), phrases)


def vocabularies(seed: int = 1) -> tuple[Vocabulary, Vocabulary]:
    """Return an English and a Chinese vocabulary."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, nothing secret

    def english() -> str:
        return "".join(
            chance.choice(_ONSETS) + chance.choice(_VOWELS) + chance.choice(_CODAS)
            for _ in range(chance.choice((1, 2, 2, 3)))
        )

    def chinese() -> str:
        return "".join(chance.choices(SIMPLIFIED, k=chance.choice((1, 2, 2, 2, 3))))

    return _vocabulary(english, " ", chance), _vocabulary(chinese, "", chance)


ENGLISH, CHINESE = vocabularies()


def rules(count: int, seed: int = 2) -> str:
    """Return a policy file with ``count`` rules, every second one Chinese."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, nothing secret
    return "\n".join(_rule(number, chance) for number in range(count))


def _rule(number: int, chance: random.Random) -> str:
    words = CHINESE if number % 2 else ENGLISH
    join = "" if number % 2 else " "
    phrase = chance.choice(words.phrases)
    other = words.any(chance)
    gap = ".{0,4}" if number % 2 else ".{1,20}"
    forms = (
        f"text = {{ matches = '(?i){phrase}{gap}{other}' }}",
        f"text = {{ matches = '{words.any(chance)}{join}(?:{words.any(chance)}|{other}){gap}{words.any(chance)}' }}",
        f"subject = {{ contains = ['{phrase}', '{other}{join}{words.any(chance)}'] }}",
        f"text = {{ word = '{phrase}' }}, not = {{ from_domain = '{_domain(chance)}' }}",
        f"text = {{ contains = ['{phrase}', '{words.any(chance)}{join}{other}'] }}",
        f"url_domain = {{ in = ['{_domain(chance)}', '{_domain(chance)}'] }}",
        f"from_domain = '.{_domain(chance)}', subject = {{ contains = '{other}{join}{words.any(chance)}' }}",
        f"from_name = {{ matches = '(?i)^{phrase}' }}",
        f"any = [{{ subject = {{ matches = '{phrase}' }} }}, {{ text = {{ matches = '{other}{gap}{phrase}' }} }}]",
        f"attachment = {{ extension = ['docm', 'xlsm'], name = {{ contains = '{phrase}' }} }}",
    )
    return f'[[rule]]\nname = "rule {number}"\nwhen = {{ {forms[chance.randrange(len(forms))]} }}\nscore = 1.5\n'


def textless(count: int, seed: int = 4) -> str:
    """Return a policy file with ``count`` rules whose patterns have no text that every match must contain."""
    chance = random.Random(seed)  # noqa: S311 - reproducible, nothing secret
    patterns: dict[str, None] = {}
    while len(patterns) < count:
        patterns[_textless(chance)] = None
    return "\n".join(
        f"[[rule]]\nname = \"rule {number}\"\nwhen = {{ text = {{ matches = '{pattern}' }} }}\nscore = 1.5\n"
        for number, pattern in enumerate(patterns)
    )


def _textless(chance: random.Random) -> str:
    """Numbers of telephones, accounts, amounts and articles; words of certain letters."""
    few, some, many = chance.randint(1, 4), chance.randint(2, 6), chance.randint(4, 12)
    characters = "".join(sorted(set("".join(chance.choices(SIMPLIFIED, k=8)))))
    forms = (
        rf"\b[{few}-9][0-9]{{{many},{many + few}}}\b",
        rf"[A-Z]{{{few}}}[0-9]{{{many}}}",
        rf"\d{{{some}}}[-. ]\d{{{few}}}[-. ]?\d{{{some}}}",
        rf"[{characters}]{{{some}}}",
        rf"(?i)[a-{chance.choice('fghijkl')}]{{{some}}}[0-9]{{{few}}}[a-z]",
        rf"[¥$€] ?\d{{{few}}}.{{0,{few}}}[{characters}]",
    )
    return chance.choice(forms)


def _domain(chance: random.Random) -> str:
    return f"{ENGLISH.any(chance)}{ENGLISH.any(chance)}.{chance.choice(('example', 'test', 'com', 'net'))}"


def mails(octets: int, count: int, seed: int = 3) -> list[bytes]:
    """Return mails of about ``octets``, every second one Chinese: plain text and HTML, as mail programs write them."""
    chance = random.Random(f"{seed} {octets}")  # noqa: S311 - reproducible, nothing secret
    return [_mail(octets, number, chance) for number in range(count)]


def _mail(octets: int, number: int, chance: random.Random) -> bytes:
    words, join = (CHINESE, "") if number % 2 else (ENGLISH, " ")
    encode = base64.encodebytes if number % 2 else quopri.encodestring
    encoding = "base64" if number % 2 else "quoted-printable"
    # Two thirds of a newsletter are its HTML part; encodings add a third.
    text = _sentences(words, join, octets // 4, chance)
    html = _html(words, join, octets // 3, chance)
    boundary = f"=_{number:08x}"
    head = _header(words, join, number, chance, boundary)
    parts = ((b"text/plain", text), (b"text/html", html))
    body = b"".join(
        b"--%b\r\nContent-Type: %b; charset=utf-8\r\nContent-Transfer-Encoding: %b\r\n\r\n%b\r\n"
        % (boundary.encode(), kind, encoding.encode(), _crlf(encode(part.encode())))
        for kind, part in parts
    )
    return head + b"\r\n" + body + b"--%b--\r\n" % boundary.encode()


def _header(words: Vocabulary, join: str, number: int, chance: random.Random, boundary: str) -> bytes:
    subject = base64.b64encode(join.join(words.some(chance, 8)).encode()[:42]).decode()
    domain = _domain(chance)
    fields = [
        *(
            f"Received: from mx{hop}.{domain} (mx{hop}.{domain} [192.0.2.{hop}])\r\n\tby mx{hop}.example with ESMTPS;"
            f" Mon, 23 Nov 2026 10:0{hop}:00 +0800"
            for hop in range(3)
        ),
        f"DKIM-Signature: v=1; a=rsa-sha256; d={domain}; s=mail; h=from:to;\r\n\tbh={'A' * 43}=; b={'B' * 300}",
        f"From: =?utf-8?B?{base64.b64encode(words.any(chance).encode()).decode()}?= <news@{domain}>",
        "To: anna@example.com",
        f"Subject: =?utf-8?B?{subject}?=",
        "Date: Mon, 23 Nov 2026 10:00:00 +0800",
        f"Message-ID: <{number}.{chance.getrandbits(64):x}@{domain}>",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/alternative; boundary="{boundary}"',
        f"List-Unsubscribe: <https://{domain}/u/{number}>",
    ]
    return "".join(field + "\r\n" for field in fields).encode()


def _sentences(words: Vocabulary, join: str, octets: int, chance: random.Random) -> str:
    stop = "。" if join == "" else ". "
    pieces: list[str] = []
    size = 0
    while size < octets:
        said = words.some(chance, chance.randint(5, 18))
        if chance.random() < PHRASED:
            said.append(chance.choice(words.phrases))
        sentence = join.join(said) + stop
        pieces.append(sentence)
        size += len(sentence.encode())
        if chance.random() < 0.2:
            pieces.append("\n")
    return "".join(pieces)


def _html(words: Vocabulary, join: str, octets: int, chance: random.Random) -> str:
    return "".join(
        (
            "<html><head><style>p { margin: 0; color: #333333 }</style></head><body>",
            *_blocks(words, join, octets, chance),
            "</body></html>",
        )
    )


def _blocks(words: Vocabulary, join: str, octets: int, chance: random.Random) -> Iterator[str]:
    size = 0
    while size < octets:
        text = _sentences(words, join, 200, chance)
        link = f'<a href="https://www.{_domain(chance)}/p/{chance.getrandbits(32)}">{words.any(chance)}</a>'
        block = f'<table><tr><td style="padding: 4px"><p>{text}</p>\n{link}</td></tr></table>\n'
        size += len(block.encode())
        yield block


def _crlf(octets: bytes) -> bytes:
    return octets.replace(b"\n", b"\r\n")
