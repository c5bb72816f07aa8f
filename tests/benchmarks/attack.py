"""The attack: connections from many addresses of 127.0.0.0/8, so many a second, each as spam software has it.

    python attack.py --port N --rate 2000 --seconds 10 [--network 127.9.0.0/16]

A program of its own, so that it does not share a loop with what is measured. Every connection comes from another
address of the network (in an order that looks random and is the same each time), reads the greeting, and goes on to
RCPT when it is let in; then it hangs up. The load is open: connections start on time whether or not earlier ones have
ended, and MOST_OPEN bounds how many wait. Prints one line of JSON: how many were started, what each heard, how late
the last was.
"""

import argparse
import json
import selectors
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from ipaddress import IPv4Network

LOOPBACK = "127.0.0.1"
# A server that answers nobody must not use up this program's descriptors.
MOST_OPEN = 4000
# What a spam program waits for an answer.
PATIENCE_SECONDS = 20.0
# A prime that no network's size has as a factor: consecutive connections come from addresses far apart.
STRIDE = 40_503
DIALOGUE = (
    b"EHLO spam.bench.test\r\n",
    b"MAIL FROM:<spam@spam.bench.test>\r\n",
    b"RCPT TO:<recipient@bench.test>\r\n",
    b"QUIT\r\n",
)


@dataclass(slots=True)
class Client:
    """One connection: how far its dialogue is, since when it waits."""

    begun: float
    said: int = 0
    heard: bytes = b""


@dataclass(slots=True)
class Heard:
    """What became of the connections; ``codes`` is the last reply of each, or what happened in its place."""

    started: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    late_seconds: float = 0.0
    most_open: int = 0
    seconds: float = 0.0


class Attack:
    """Connects, talks and counts until the time is over and everybody has been answered."""

    def __init__(self, port: int, rate: float, network: IPv4Network) -> None:
        self._port, self._rate, self._network = port, rate, network
        self._open = selectors.DefaultSelector()
        self._clients: dict[socket.socket, Client] = {}
        self.heard = Heard()

    def run(self, seconds: float) -> Heard:
        """Attack for ``seconds``, then wait for what is open."""
        begun = time.perf_counter()
        wanted = round(self._rate * seconds)
        while self.heard.started < wanted or self._clients:
            due = min(wanted, int((time.perf_counter() - begun) * self._rate) + 1)
            while self.heard.started < due and len(self._clients) < MOST_OPEN:
                self._connect(begun)
            self._turn()
        self.heard.seconds = time.perf_counter() - begun
        return self.heard

    def _connect(self, begun: float) -> None:
        number = self.heard.started
        self.heard.started += 1
        self.heard.late_seconds = time.perf_counter() - begun - number / self._rate
        address = self._network[number * STRIDE % self._network.num_addresses]
        client = socket.socket()
        client.setblocking(False)
        # The kernel picks the port when it connects: one is free for each pair of addresses.
        client.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        try:
            client.bind((str(address), 0))
            client.connect_ex((LOOPBACK, self._port))
        except OSError as error:
            self.heard.codes[type(error).__name__] += 1
            client.close()
            return
        self._clients[client] = Client(begun=time.perf_counter())
        self.heard.most_open = max(self.heard.most_open, len(self._clients))
        self._open.register(client, selectors.EVENT_READ)

    def _turn(self) -> None:
        for key, _ in self._open.select(0.002):
            client = key.fileobj
            if isinstance(client, socket.socket):
                self._take(client, self._clients[client])
        # The oldest stands first.
        while self._clients:
            oldest, state = next(iter(self._clients.items()))
            if time.perf_counter() - state.begun < PATIENCE_SECONDS:
                return
            self._end(oldest, "no answer")

    def _take(self, client: socket.socket, state: Client) -> None:
        try:
            octets = client.recv(4096)
        except OSError as error:
            self._end(client, type(error).__name__)
            return
        state.heard += octets
        last = state.heard.rpartition(b"\r\n")[0].rpartition(b"\r\n")[2]
        if not octets:
            self._end(client, last[:3].decode("ascii", "replace") or "closed")
            return
        if not state.heard.endswith(b"\r\n") or last[3:4] == b"-":
            return
        if last[:1] in b"45" or state.said == len(DIALOGUE):
            self._end(client, last[:3].decode("ascii", "replace"))
            return
        try:
            client.send(DIALOGUE[state.said])
        except OSError as error:
            self._end(client, type(error).__name__)
            return
        state.said += 1

    def _end(self, client: socket.socket, heard: str) -> None:
        self.heard.codes[heard] += 1
        self._open.unregister(client)
        del self._clients[client]
        client.close()


def main() -> None:
    """Attack and print what was heard."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="connections a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--network", type=IPv4Network, default=IPv4Network("127.9.0.0/16"))
    chosen = parser.parse_args()
    if not chosen.network.is_loopback:
        parser.error("only addresses of 127.0.0.0/8")
    heard = Attack(chosen.port, chosen.rate, chosen.network).run(chosen.seconds)
    print(
        json.dumps(
            {
                "started": heard.started,
                "codes": dict(heard.codes),
                "late_seconds": heard.late_seconds,
                "most_open": heard.most_open,
                "seconds": heard.seconds,
                "cpu_seconds": time.process_time(),
            }
        )
    )


if __name__ == "__main__":
    main()
