"""Zones read here and served by a real rbldnsd give the same answers. If these fail, a site that moves its zones over
lists others than before.
"""

import contextlib
import ipaddress
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.query
import dns.rdatatype
import pytest

from gateway.blocklist.listing import Identity
from gateway.blocklist.local.mapped import Found, MappedList
from gateway.blocklist.local.question import ask_address, ask_name
from tests.blocklist_local.test_model import compiled

pytestmark = pytest.mark.real

NOW = 1_790_000_000.0
# What a loaded machine needs for one answer over loopback.
PATIENCE_SECONDS = 20.0


class Server:
    """An rbldnsd with one zone ``z.test`` of a type."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, name: str) -> tuple[set[str], set[str]] | None:
        """Return the A values and texts of a name, None when it is not listed."""
        found = [self._records(f"{name}.z.test", kind) for kind in ("A", "TXT")]
        return (found[0], found[1]) if found[0] else None

    def _records(self, name: str, kind: str) -> set[str]:
        query = dns.message.make_query(name, kind)
        answer = dns.query.udp(query, "127.0.0.1", port=self._port, timeout=PATIENCE_SECONDS)
        texts = [rdata.to_text() for rrset in answer.answer for rdata in rrset]
        return {text.strip('"') if kind == "TXT" else text for text in texts}


@contextlib.contextmanager
def serving(text: str, kind: str, folder: Path) -> Iterator[Server]:
    binary = shutil.which("rbldnsd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    if binary is None:
        pytest.skip("rbldnsd is not installed")
    (folder / "zone").write_text(text, encoding="ascii")
    # The program gives its rights away; whom it becomes must be able to read.
    for directory in (folder, *folder.parents[:2]):
        with contextlib.suppress(PermissionError):
            directory.chmod(0o755)
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary, "-n", "-b", f"127.0.0.1/{port}", "-w", str(folder), "-c", "0", f"z.test:{kind}:zone"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout:
                if "started" in line:
                    break
            else:
                pytest.fail("rbldnsd ended")
            yield Server(port)
        finally:
            process.terminate()


def said(found: Found | None) -> tuple[str, str] | None:
    return None if found is None or found.fact.excluded else (found.fact.value, found.reason)


def assert_same(ours: tuple[str, str] | None, theirs: tuple[set[str], set[str]] | None, asked: str) -> None:
    assert (ours is None) == (theirs is None), asked
    if ours is not None and theirs is not None:
        # Several values for one entry are all returned there, the first here.
        assert ours[0] in theirs[0], asked
        assert ours[1] in (theirs[1] or {""}), asked


def address(draw: random.Random) -> str:
    return f"10.{draw.randrange(3)}.{draw.randrange(3)}.{draw.randrange(256)}"


def random_zone(draw: random.Random, count: int) -> str:
    """Return an ip4set of everything: ranges, networks, prefixes, exclusions, defaults, values."""
    lines = [":127.0.0.2:listed $"]
    for n in range(count):
        start = address(draw)
        first = int(ipaddress.ip_address(start))
        bits = draw.choice([8, 12, 15, 16, 20, 23, 24, 25, 28, 31, 32])
        entry = draw.choice(
            [
                start,
                f"{ipaddress.ip_address(first >> (32 - bits) << (32 - bits))}/{bits}",
                f"{start}-{ipaddress.ip_address(first + draw.choice([1, 300, 70_000]))}",
                ".".join(start.split(".")[: draw.choice([2, 3])]),
                f"{start}-255",
            ]
        )
        value = draw.choice(["", "", f" :{draw.randrange(3, 9)}:own {n}", " :9", f" text {n} about $", " # comment"])
        lines.append(f"{'!' if draw.random() < 0.3 else ''}{entry}{value}")
        if draw.random() < 0.1:
            lines.append(f":{draw.randrange(2, 9)}:default {n} for $")
    return "\n".join(lines) + "\n"


def reversed_name(text: str) -> str:
    return ipaddress.ip_address(text).reverse_pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")


@pytest.mark.parametrize("seed", range(4))
def test_an_ip4set_gives_the_answers_of_rbldnsd(seed: int, tmp_path: Path):
    draw = random.Random(seed)  # noqa: S311 - test data
    text = random_zone(draw, 40)
    mapped = compiled(text, tmp_path, "ip4set")
    asked = [address(draw) for _ in range(150)] + [f"10.{draw.randrange(256)}.1.1" for _ in range(20)]
    with serving(text, "ip4set", tmp_path) as server:
        for each in asked:
            found = mapped.find(ask_address(Identity.CLIENT, ipaddress.ip_address(each)), NOW)
            assert_same(said(found), server.ask(reversed_name(each)), each)


def test_an_ip6trie_gives_the_answers_of_rbldnsd(tmp_path: Path):
    text = (
        ":127.0.0.2:v6 $\n2001:db8:bad::/48\n!2001:db8:bad:1::/64\n2001:db8:bad:1:2::/80 :4:deep\n2001:db8:1:2\n::1\n"
    )
    mapped = compiled(text, tmp_path, "ip6trie")
    asked = ["2001:db8:bad::1", "2001:db8:bad:1::1", "2001:db8:bad:1:2::9", "2001:db8:1:2::5", "2001:db8:1:3::5", "::1"]
    with serving(text, "ip6trie", tmp_path) as server:
        for each in asked:
            found = mapped.find(ask_address(Identity.CLIENT, ipaddress.ip_address(each)), NOW)
            assert_same(said(found), server.ask(reversed_name(each)), each)


def test_a_dnset_gives_the_answers_of_rbldnsd(tmp_path: Path):
    draw = random.Random(9)  # noqa: S311 - test data
    labels = ["a", "b", "mail", "example", "test"]

    def name(most: int) -> str:
        return ".".join(draw.choice(labels) for _ in range(draw.randint(1, most)))

    lines = [":2:name $"]
    lines += [
        f"{'!' if draw.random() < 0.3 else ''}{draw.choice(['', '.', '*.'])}{name(3)}{draw.choice(['', ' :5:own $'])}"
        for _ in range(25)
    ]
    text = "\n".join(lines) + "\n"
    mapped: MappedList = compiled(text, tmp_path, "dnset")
    with serving(text, "dnset", tmp_path) as server:
        for _ in range(200):
            each = name(4)
            assert_same(said(mapped.find(ask_name(Identity.HELO, each), NOW)), server.ask(each), each)
