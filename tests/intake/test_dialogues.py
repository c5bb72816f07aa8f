"""Every file in ``dialogues/`` is one SMTP conversation; ``dialogues/README.md`` has the format.

A conversation means the same however TCP cuts it up: each is played with its groups whole, line by line and octet by
octet.
"""

import asyncio
import re
from pathlib import Path

import pytest

from gateway.config.models import Rate
from gateway.journal.events import InternalError
from gateway.smtp import replies

DIALOGUES = sorted((Path(__file__).parent / "dialogues").glob("*.txt"))
MODES = ("whole", "lines", "octets")


def parse(path: Path):
    settings, steps, expected = {}, [], []
    modes = MODES
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        kind, _, rest = line.partition(" ")
        match kind:
            case "" | "#":
                continue
            case "@modes":
                modes = tuple(rest.split())
            case "@smtp" | "@limits" | "@listen" | "@config" | "@gate":
                name, _, value = rest.partition("=")
                settings.setdefault(kind[1:], {})[name] = value
            case "C:":
                steps.append(("C", unescape(rest) + b"\r\n", number))
            case "~":
                steps.append(("C", unescape(rest), number))
            case "S:":
                steps.append(("S", rest.replace(r"\n", "\n"), number))
            case "=":
                expected.append((rest, number))
            case _:
                raise AssertionError(f"{path.name}:{number}: what is {line!r}?")
    return modes, settings, steps, expected


def unescape(text: str) -> bytes:
    octets = text.encode("utf-8")
    octets = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda m: bytes([int(m[1], 16)]), octets)
    octets = octets.replace(rb"\r", b"\r").replace(rb"\n", b"\n").replace(rb"\t", b"\t").replace(rb"\0", b"\0")
    return re.sub(rb"\\<(.)\*(\d+)>", lambda m: m[1] * int(m[2]), octets)


def typed(values: dict[str, str]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in values.items():
        if "/" in value and name.endswith(("rate", "client")):
            count, seconds = value.split("/")
            found[name] = Rate(int(count), float(seconds))
        elif name in {"networks", "exempt", "xclient_from", "proxy_protocol_from"}:
            found[name] = tuple(value.split())
        else:
            found[name] = int(value) if value.isdigit() else value
    return found


def matches(pattern: str, reply: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), reply, re.DOTALL) is not None


async def send(client, octets: bytes, mode: str) -> None:
    pieces = {
        "whole": [octets] if octets else [],
        "lines": octets.splitlines(keepends=True),
        "octets": [octets[i : i + 1] for i in range(len(octets))],
    }[mode]
    for piece in pieces:
        client.send(piece)
        await asyncio.sleep(0)


CASES = [pytest.param(path, mode, id=f"{path.stem}-{mode}") for path in DIALOGUES for mode in parse(path)[0]]


@pytest.mark.parametrize(("path", "mode"), CASES)
async def test_dialogue(path: Path, mode: str, open_door) -> None:
    _, settings, steps, expected = parse(path)
    gate = settings.pop("gate", {})
    door = await open_door(**{name: typed(values) for name, values in settings.items()})
    door.gate.refused = {address: replies.NAMED[name] for address, name in gate.items() if "@" in address}
    for attribute in ("admission", "verdict_reply"):
        if attribute in gate:
            setattr(door.gate, attribute, replies.NAMED[gate[attribute]])
    client = await door.connect()
    waiting = b""
    for kind, what, number in steps:
        if kind == "C":
            waiting += what
            continue
        await send(client, waiting, mode)
        waiting = b""
        async with asyncio.timeout(10):
            reply = await client.reply()
        assert matches("" if what == "(closed)" else what, reply), f"{path.name}:{number}: {reply!r}"
    await send(client, waiting, mode)
    await client.close()
    await door.idle()
    assert not door.of(InternalError), door.of(InternalError)
    for rest, number in expected:
        check(door, rest, f"{path.name}:{number}")
    # Whatever was said, everything that was taken has been given back.
    assert door.counters.add_octets(0) == 0
    assert door.counters.open_connection("test") == (1, 1)


def check(door, rest: str, where: str) -> None:
    what, _, value = rest.partition(" ")
    stored = door.custody.stored
    match what:
        case "stored":
            assert len(stored) == int(value), where
            assert len(door.handed_over) == int(value), where
        case "content":
            assert stored[-1].content.octets == unescape(value), f"{where}: {stored[-1].content.octets!r}"
        case "recipients":
            assert [r.recipient.path.wire for r in stored[-1].recipients] == value.split(), where
        case "recipient":
            recipient = stored[-1].recipients[0].recipient
            assert f"{recipient.path.wire} {sorted(recipient.notify or [])} {recipient.orcpt}" == value, where
        case "envelope":
            envelope = stored[-1].envelope
            shown = f"{envelope.reverse_path} {envelope.body} {envelope.smtputf8} {envelope.ret} {envelope.envid}"
            assert shown == value, f"{where}: {shown}"
        case "event":
            kind, _, facts = value.partition(" ")
            assert facts in [describe(event) for event in door.events.events if type(event).__name__ == kind], (
                f"{where}: {[describe(e) for e in door.events.events if type(e).__name__ == kind]}"
            )
        case "no-event":
            assert value not in [type(event).__name__ for event in door.events.events], where
        case "fact":
            name, _, wanted = value.partition(" ")
            assert str(getattr((door.gate.transactions[-1].connection), name)) == wanted, where
        case _:
            raise AssertionError(f"{where}: what is {rest!r}?")


def describe(event) -> str:
    match type(event).__name__:
        case "SessionClosed":
            return f"{event.end} {event.messages} {event.errors}"
        case "SessionRefused":
            return event.reason
        case "RecipientRefused":
            return f"{event.recipient} {event.reply[:9]}"
        case "TransactionAborted":
            return f"{event.reason}"
        case "MessageJudged":
            return f"{event.reply[:9]}"
        case other:
            return other
