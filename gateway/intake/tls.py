"""A listener's certificate: the live ``SSLContext``, reloaded in place.

New certificates are loaded into a scratch context first, so that a broken pair of files never reaches the live one;
loading them on the live context then serves every handshake from the next on, and running sessions keep what they
negotiated.

TLS 1.2 and 1.3 (RFC 8996 ends the older ones); no client certificate is asked for. CPython before 3.11.8 and 3.12.2
leaks a little on every failed handshake.
"""

import asyncio
import ssl
from typing import cast

from gateway.config.models import Tls
from gateway.mail.connection import TlsFacts


class Certificate:
    """The context of one listener; ``reload`` takes the files' new contents."""

    def __init__(self, tls: Tls) -> None:
        """Load the files; raise ``OSError`` or ``ssl.SSLError`` (an OSError, too) when they cannot be used."""
        self._tls = tls
        self.context = _context(tls)

    def reload(self) -> None:
        """Serve what the files hold now; raise as on construction, and then nothing has changed."""
        _context(self._tls)
        self.context.load_cert_chain(self._tls.certificate, self._tls.key)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # CVE-2009-3555 and its CPU cost: nobody renegotiates mail.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(tls.certificate, tls.key)
    return context


def tls_facts(session: ssl.SSLObject) -> TlsFacts:
    """Return what a finished handshake negotiated."""
    cipher = session.cipher()
    name, bits = (cipher[0], cipher[2]) if cipher else ("", 0)
    return TlsFacts(version=session.version() or "", cipher=name, bits=bits)


async def start_tls(
    session: asyncio.Protocol, transport: asyncio.Transport, context: ssl.SSLContext, *, seconds: float
) -> asyncio.Transport:
    """Put TLS under ``session``; return the new transport.

    Raise ``OSError`` when the handshake fails; ``ssl.SSLError`` and a time-out are such.
    """
    loop = asyncio.get_running_loop()
    # CPython 3.11's own handshake timeout closes the transport, but never wakes whoever waits for the handshake.
    async with asyncio.timeout(seconds):
        secured = await loop.start_tls(transport, session, context, server_side=True, ssl_handshake_timeout=seconds + 1)
    if secured is None:
        raise ConnectionResetError("the connection was lost during the TLS handshake")
    return secured


async def start_tls_behind(
    session: asyncio.Protocol, transport: asyncio.Transport, context: ssl.SSLContext, *, seconds: float, begun: bytes
) -> asyncio.Transport:
    """Do as ``start_tls`` when ``begun``, the first octets of the handshake, were read together with a PROXY header."""
    loop = asyncio.get_running_loop()
    handshake = loop.create_task(start_tls(session, transport, context, seconds=seconds))
    # The task has put its protocol in place when we come back; what begins it runs next, then this, then reading
    # resumes.
    await asyncio.sleep(0)
    protocol = transport.get_protocol()
    if isinstance(protocol, asyncio.BufferedProtocol) or hasattr(protocol, "buffer_updated"):
        loop.call_soon(_hand_over, cast("asyncio.BufferedProtocol", protocol), begun)
    return await handshake


def _hand_over(protocol: asyncio.BufferedProtocol, octets: bytes) -> None:
    while octets:
        buffer = memoryview(protocol.get_buffer(len(octets)))
        size = min(len(buffer), len(octets))
        buffer[:size] = octets[:size]
        protocol.buffer_updated(size)
        octets = octets[size:]
