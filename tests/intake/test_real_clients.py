"""Real clients of others: what they send, arrives."""

import asyncio
import shutil

import pytest

pytestmark = pytest.mark.real


async def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_smtp_source_in_parallel(door) -> None:
    host, port = door.address
    await run(
        "smtp-source",
        "-s",
        "10",
        "-m",
        "200",
        "-l",
        "8192",
        "-f",
        "a@example.org",
        "-t",
        "b@example.com",
        f"{host}:{port}",
    )
    await door.until(lambda: len(door.handed_over) == 200)
    assert len({message.trace_id for message in door.custody.stored}) == 200
    await door.idle()
    assert door.counters.add_octets(0) == 0


async def test_smtp_source_large_and_reused_connections(door) -> None:
    host, port = door.address
    await run(
        "smtp-source",
        "-d",
        "-s",
        "2",
        "-m",
        "10",
        "-l",
        "1000000",
        "-f",
        "a@example.org",
        "-t",
        "b@example.com",
        f"{host}:{port}",
    )
    assert len(door.handed_over) == 10


async def test_swaks(door) -> None:
    host, port = door.address
    told = await run(
        "swaks", "--server", host, "--port", str(port), "--from", "a@example.org",
        "--to", "b@example.com,c@example.com", "--pipeline", "--body", ".leading dot", "--helo", "client.example",
    )  # fmt: skip
    assert "accepted" in told
    (message,) = door.handed_over
    assert len(message.recipients) == 2
    assert b"\r\n.leading dot\r\n" in message.content.octets
