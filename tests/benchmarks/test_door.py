"""The door's rulers: an attack that comes as announced, and a verdict that a slow, leaking or open door fails."""

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from door import NETWORK, Phase, Result

ATTACK = Path(__file__).parent / "attack.py"


async def heard_by_an_attack(greeting: bytes, *options: str) -> tuple[dict, set[str]]:
    """Attack a server that says ``greeting`` and then 250 to everything; return what was heard, and who came."""
    clients = set()

    async def serve(reader, writer):
        clients.add(writer.get_extra_info("peername")[0])
        writer.write(greeting)
        if greeting.startswith(b"220"):
            while line := await reader.readline():
                writer.write(b"550 5.7.1 no\r\n" if line.startswith(b"RCPT") else b"250-x\r\n250 ok\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        program = await asyncio.create_subprocess_exec(
            sys.executable, str(ATTACK), "--port", str(port), *options, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await program.communicate()
    return json.loads(output), clients


async def test_every_connection_comes_from_another_address_and_is_counted_by_what_it_heard():
    heard, clients = await heard_by_an_attack(b"554 5.7.1 no\r\n", "--rate", "200", "--seconds", "0.5")
    assert heard["started"] == 100
    assert heard["codes"] == {"554": 100}
    assert len(clients) == 100
    assert all(client.startswith("127.9.") for client in clients)


async def test_who_is_let_in_goes_on_to_the_recipient():
    heard, _ = await heard_by_an_attack(b"220 x\r\n", "--rate", "50", "--seconds", "0.2")
    assert heard["codes"] == {"550": 10}


async def test_only_loopback_is_attacked():
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ATTACK), "--port", "25", "--rate", "1", "--seconds", "1", "--network", "192.0.2.0/24"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await program.wait() == 2
    assert NETWORK.startswith("127.")


IDLE = Phase(milliseconds=(1.0,) * 98 + (10.0,) * 2, cpu_seconds=1.0, wall_seconds=10.0, other_load=0.0)
ATTACKED = replace(IDLE, milliseconds=(2.0,) * 98 + (20.0,) * 2, cpu_seconds=3.0, memory_octets=(100, 200))
RESULT = Result(
    system="tidegate",
    idle=IDLE,
    attacked=ATTACKED,
    connections=20_000,
    codes={"554": 19_000, "421": 1_000},
    late_seconds=0.0,
    attack_seconds=20.0,
    attack_cpu_seconds=1.0,
)


def test_a_good_door_meets_its_targets():
    assert RESULT.missed == []
    # Two seconds beside the idle one, over the half of the rejections that fell into the phase.
    assert RESULT.cpu_per_rejection_ms == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (replace(RESULT, attacked=replace(ATTACKED, milliseconds=(50.0,) * 100)), "p99"),
        (replace(RESULT, attacked=replace(ATTACKED, memory_octets=(0, 64 * 1024**2))), "memory"),
        (replace(RESULT, codes={"554": 19_999, "220": 1}), "not refused"),
        (replace(RESULT, codes={"554": 19_999, "no answer": 1}), "not refused"),
    ],
)
def test_a_door_that_slows_good_mail_leaks_or_lets_in_misses_a_target(bad, word):
    assert [line for line in bad.missed if word in line] == bad.missed
    assert bad.missed
