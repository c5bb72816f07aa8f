"""opendkim and opendmarc as a mail server uses them: milters one behind the other, beside an Unbound of their own.

They run in a network and mount namespace of their own (``unshare``, root), where /etc/resolv.conf names that Unbound:
opendmarc has no other way to be told. This program is the mail server: it speaks the milter protocol (Sendmail's
``libmilter/mfdef.h``, version 6) over their sockets, offers no shortcuts, and hands the header fields that opendkim
adds on to opendmarc, which reads Authentication-Results from them and validates SPF by itself.

Their figure has no ARC in it (that is another milter) and no iprev, and the protocol's parsing besides; ours is the
methods alone.
"""

import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from measure import cpu_seconds
from programs import find
from senderauth_peer import START_SECONDS, UNBOUND, unbound_lines

NEEDED = ("opendkim", "opendmarc", "unbound", "unshare", "ip")
HOW_TO_GET = "Debian, Ubuntu: apt-get install --no-install-recommends opendkim opendmarc unbound iproute2 util-linux"

_SCRIPT = """
ip link set lo up
mount --bind {folder}/resolv.conf /etc/resolv.conf
{unbound} -d -c {folder}/unbound.conf &
{opendkim} -f -x {folder}/opendkim.conf -P {folder}/opendkim.pid &
{opendmarc} -f -c {folder}/opendmarc.conf -P {folder}/opendmarc.pid &
wait
"""
_OPENDKIM = """\
Mode v
Socket local:{folder}/opendkim.sock
Nameservers 127.0.0.1
AuthservID mx.ours.example
AlwaysAddARHeader yes
UserID root
Syslog no
"""
_OPENDMARC = """\
Socket local:{folder}/opendmarc.sock
AuthservID mx.ours.example
TrustedAuthservIDs mx.ours.example
SPFSelfValidate true
SPFIgnoreResults true
UserID root
Syslog false
"""

# Milter commands and replies, by their letters in mfdef.h.
_MAX_CHUNK = 65_535
_INSERTED, _ADDED = b"i", b"h"
_PROGRESS = b"p"
_LAST = frozenset(b"acdrty")

Fields = list[tuple[bytes, bytes]]


class Milter:
    """One session of the milter protocol."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(str(path))
        # Version 6, every modification allowed, no step left out.
        self._say(b"O", struct.pack(">III", 6, 0x1FF, 0))
        self._heard()

    def judged(self, fields: Fields, body: bytes) -> Fields:
        """Hand over one mail; return the header fields that the milter adds."""
        self._step(b"C", b"mail.author.example\0" + b"4" + struct.pack(">H", 1) + b"192.0.2.1\0")
        self._step(b"H", b"mail.author.example\0")
        self._say(b"D", b"Mi\0BENCH\0")
        self._step(b"M", b"<alice@author.example>\0")
        self._step(b"R", b"<bob@there.example>\0")
        self._step(b"T", b"")
        for name, value in fields:
            self._step(b"L", name + b"\0" + value + b"\0")
        self._step(b"N", b"")
        for at in range(0, len(body), _MAX_CHUNK):
            self._step(b"B", body[at : at + _MAX_CHUNK])
        self._say(b"E", b"")
        return list(self._modifications())

    def close(self) -> None:
        self._say(b"Q", b"")
        self._socket.close()

    def _modifications(self) -> Iterator[tuple[bytes, bytes]]:
        while True:
            kind, data = self._heard()
            if kind in (_ADDED, _INSERTED):
                name, value, *_ = (data[4:] if kind == _INSERTED else data).split(b"\0")
                yield name, value
            elif kind[0] in _LAST:
                return

    def _step(self, command: bytes, data: bytes) -> None:
        self._say(command, data)
        kind, _ = self._heard()
        while kind == _PROGRESS:
            kind, _ = self._heard()
        if kind not in (b"c", b"s"):
            raise SystemExit(f"a milter answers {command!r} with {kind!r}")

    def _say(self, command: bytes, data: bytes) -> None:
        self._socket.sendall(struct.pack(">I", len(data) + 1) + command + data)

    def _heard(self) -> tuple[bytes, bytes]:
        (length,) = struct.unpack(">I", self._exactly(4))
        packet = self._exactly(length)
        return packet[:1], packet[1:]

    def _exactly(self, count: int) -> bytes:
        octets = b""
        while len(octets) < count:
            piece = self._socket.recv(count - len(octets))
            if not piece:
                raise SystemExit("a milter hung up")
            octets += piece
        return octets


class Milters:
    """opendkim and opendmarc, running."""

    title = "opendkim + opendmarc"

    def __init__(self, folder: Path, pids: tuple[int, int]) -> None:
        self._folder = folder
        self._pids = pids

    def milliseconds(self, octets: bytes, count: int) -> float:
        """Return CPU ms a message over ``count`` of them, after one that fills their caches."""
        said = b" ".join(value for _, value in self._judged(octets))
        for word in (b"dkim=pass", b"dmarc=pass", b"spf=pass"):
            if word not in said:
                raise SystemExit(f"opendkim and opendmarc do not say {word.decode()}: {said[:500]!r}")
        began = self._cpu()
        for _ in range(count):
            self._judged(octets)
        return (self._cpu() - began) / count * 1000

    def _judged(self, octets: bytes) -> Fields:
        head, _, body = octets.partition(b"\r\n\r\n")
        fields = _fields(head)
        added: Fields = []
        for name in ("opendkim", "opendmarc"):
            milter = Milter(self._folder / f"{name}.sock")
            added += milter.judged([*added, *fields], body)
            milter.close()
        return added

    def _cpu(self) -> float:
        return sum(cpu_seconds(pid) for pid in self._pids)


def _fields(head: bytes) -> Fields:
    unfolded = head.replace(b"\r\n\t", b"\0\t").replace(b"\r\n ", b"\0 ")
    pairs = (line.partition(b":") for line in unfolded.split(b"\r\n"))
    # The protocol's line ends within a value are LF, and one space behind the colon is not part of it.
    return [(name, value.replace(b"\0", b"\n").removeprefix(b" ")) for name, _, value in pairs]


@contextmanager
def running(folder: Path, records: Mapping[tuple[str, str], str]) -> Iterator[Milters]:
    """Run Unbound, opendkim and opendmarc in ``folder``; ``records`` by name and type."""
    home = folder / "milters"
    home.mkdir()
    names = {name: find(name) for name in NEEDED}
    unbound = UNBOUND.format(folder=home, port=53, data=unbound_lines(records))
    files = {"unbound.conf": unbound, "opendkim.conf": _OPENDKIM.format(folder=home)}
    files |= {"opendmarc.conf": _OPENDMARC.format(folder=home), "resolv.conf": "nameserver 127.0.0.1\n"}
    for name, text in files.items():
        (home / name).write_text(text, encoding="utf-8")
    script = _SCRIPT.format(folder=home, **{name: names[name] for name in ("unbound", "opendkim", "opendmarc")})
    process = subprocess.Popen(
        [names["unshare"], "--net", "--mount", "sh", "-ec", script],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield Milters(home, (_pid(home, "opendkim", process), _pid(home, "opendmarc", process)))
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(START_SECONDS)


def _pid(home: Path, name: str, process: "subprocess.Popen[bytes]") -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(home / f"{name}.sock"))
            return int((home / f"{name}.pid").read_text())
        time.sleep(0.1)
    raise SystemExit(f"{name} does not listen; it needs root and its own namespaces (unshare)")
