"""The resolver of the snapshot in force: a reload that names other servers must cost nobody an answer."""

import asyncio

import dns.message
import dns.rrset

from gateway.app.resolving import CurrentResolver
from gateway.clock import SystemClock
from gateway.config.models import Dns


class LateServer(asyncio.DatagramProtocol):
    """A name server that answers when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._question, self._client = dns.message.from_wire(data), addr
        self.asked.set()

    def answer(self, address: str) -> None:
        response = dns.message.make_response(self._question, recursion_available=True)
        response.answer.append(dns.rrset.from_text(self._question.question[0].name, 60, "IN", "A", address))
        self._transport.sendto(response.to_wire(), self._client)


async def test_a_question_under_way_is_answered_by_the_old_servers_when_others_are_named():
    """Whoever asks would be cancelled with it: a session, or the task that opens a next hop's connection."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(LateServer, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    resolver = CurrentResolver(Dns(servers=(f"127.0.0.1:{port}",), timeout=20.0), SystemClock())
    asking = asyncio.create_task(resolver.query("a.example", "A"))
    await server.asked.wait()
    resolver.use(Dns(servers=("127.0.0.1:1",)))
    await asyncio.sleep(0)
    server.answer("192.0.2.1")
    assert (await asking).records == ("192.0.2.1",)
    transport.close()
    await resolver.close()
