"""20,000 hostile command lines: a reply to each, no internal error, and no 5yz that is our own fault."""

import random

import pytest

from gateway.journal.events import InternalError
from gateway.smtp import replies

VERBS = [
    b"EHLO",
    b"HELO",
    b"MAIL",
    b"RCPT",
    b"RSET",
    b"NOOP",
    b"VRFY",
    b"EXPN",
    b"HELP",
    b"XCLIENT",
    b"AUTH",
    b"ETRN",
    b"ehlo",
    b"Mail",
]
PARTS = [
    *(
        b" FROM:",
        b" TO:",
        b"FROM:",
        b"<",
        b">",
        b"@",
        b"<>",
        b"<a@b>",
        b'<"q q"@b.example>',
        b"<@a,@b:c@d>",
        b"[192.0.2.1]",
    ),
    *(
        b"[IPv6:::1]",
        b"postmaster",
        b"<postmaster>",
        b" SIZE=",
        b" SIZE=10",
        b" BODY=8BITMIME",
        b" SMTPUTF8",
        b" RET=HDRS",
    ),
    *(
        b" ENVID=a+2Bb",
        b" NOTIFY=NEVER",
        b" ORCPT=rfc822;a",
        b" ADDR=192.0.2.1",
        b" NAME=[UNAVAILABLE]",
        b"+ZZ",
        b"+00",
    ),
    *(bytes([octet]) for octet in b'"\\():;,.%!|`-/= \t\x00\r\x0b\x7f\x80\xff'),
    *(b"..", b"  ", b'\\"', b"\xc3\xa9", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"),
    *("例子.中国".encode(), "\u202e".encode(), "\ufb00".encode()),
    *(b"xn--", b"xn--a.example", b"a" * 64, b"b" * 255, b"c" * 2000, b"example.com"),
]


def line(chance: random.Random) -> bytes:
    kind = chance.random()
    if kind < 0.05:
        return chance.randbytes(chance.randint(0, 80)).replace(b"\n", b"")
    text = chance.choice(VERBS) + b"".join(chance.choices(PARTS, k=chance.randint(0, 8)))
    if kind < 0.15 and text:
        at = chance.randrange(len(text))
        text = text[:at] + chance.randbytes(1).replace(b"\n", b"") + text[at + 1 :]
    if kind > 0.9:
        text = chance.choice([b"MAIL FROM:<a@b.example>", b"RCPT TO:<c@d.example>", b"EHLO x", b"RSET"])
    return text


@pytest.mark.parametrize("seed", range(4))
async def test_command_lines(open_door, seed) -> None:
    door = await open_door(
        limits={"errors_per_session": 0, "messages_per_session": 0}, listen={"xclient_from": ("127.0.0.0/8",)}
    )
    chance = random.Random(seed)  # noqa: S311 - a seed makes failures repeatable
    named = {reply.wire()[:9].decode() for reply in replies.NAMED.values()} | {"250 mx.ex", "250-mx.ex", "220 mx.ex"}
    client, said = None, 0
    while said < 2500:
        if client is None:
            client = await door.connect()
            await client.reply()
        group = [line(chance) for _ in range(chance.choice([1, 1, 1, 5]))]
        # After HELO a group is refused as a whole; that is another test's question.
        client.send(b"".join(text + b"\r\n" for text in group))
        for text in group:
            answer = await client.reply()
            said += 1
            if answer == "":
                await client.close()
                client = None
                break
            assert answer[:9] in named, (text, answer)
    assert not door.of(InternalError), door.of(InternalError)[0].traceback
    assert not door.custody.stored
