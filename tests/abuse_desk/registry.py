"""A registry of addresses on this machine: RDAP (RFC 9083) over HTTPS, its table (RFC 9224), and what goes wrong."""

import json
import ssl
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

import trustme

NETWORK = {
    "rdapConformance": ["rdap_level_0"],
    "objectClassName": "ip network",
    "handle": "NET-192-88-99-0-1",
    "startAddress": "192.88.99.0",
    "endAddress": "192.88.99.255",
    "ipVersion": "v4",
    "name": "EXAMPLE-NET",
    "type": "ASSIGNED",
    "country": "CN",
    "status": ["active"],
    "events": [{"eventAction": "registration", "eventDate": "2010-01-01T00:00:00Z"}],
    "links": [{"rel": "self", "href": "https://rdap.test/ip/192.88.99.0/24", "type": "application/rdap+json"}],
    "entities": [
        {
            "objectClassName": "entity",
            "handle": "ORG-1",
            "roles": ["registrant"],
            "vcardArray": ["vcard", [["version", {}, "text", "4.0"], ["email", {}, "text", "office@isp.test"]]],
            # The abuse contact is an entity of the organisation's, as ARIN and RIPE have it.
            "entities": [
                {
                    "objectClassName": "entity",
                    "handle": "ABUSE-1",
                    "roles": ["abuse"],
                    "vcardArray": [
                        "vcard",
                        [["version", {}, "text", "4.0"], ["email", {"type": "work"}, "text", "abuse@isp.test"]],
                    ],
                }
            ],
        }
    ],
}


class Registry:
    """Serves until left; ``answers`` say what becomes of a path, else it is 404; ``asked`` counts requests."""

    def __init__(self, authority: trustme.CA) -> None:
        self.asked: Counter[str] = Counter()
        self.answers: dict[str, tuple[int, dict[str, str], bytes | str]] = {}
        self.ended = threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                registry.asked[self.path] += 1
                registry.serve(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        status, headers, content = self.answers.get(handler.path, (404, {}, b'{"errorCode": 404}'))
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if content == "trickle":
            handler.end_headers()
            handler.wfile.write(b"{")
            # Neither a word nor an end, until the test is over.
            self.ended.wait(60)
            handler.close_connection = True
            return
        if content == "endless":
            handler.end_headers()
            piece = b'"' + b"x" * 65536
            while not self.ended.is_set():
                try:
                    handler.wfile.write(piece)
                except OSError:
                    break
            handler.close_connection = True
            return
        octets = content if isinstance(content, bytes) else content.encode()
        handler.send_header("Content-Length", str(len(octets)))
        handler.end_headers()
        handler.wfile.write(octets)

    def knows(self, path: str, value: object, status: int = 200, **headers: str) -> None:
        octets = value if isinstance(value, bytes | str) else json.dumps(value)
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        self.answers[path] = (status, {"Content-Type": "application/rdap+json"} | named, octets)

    def table(self, base: str = "") -> None:
        """Serve the registries' table: 192.88.99.0/24 and 2001:db8::/32 are ours."""
        here = [f"{base or self.url}/rdap/"]
        services = {
            "asn": [[["64496-64511"], here]],
            "dns": [[["test"], here]],
            "ipv4": [[["192.88.99.0/24"], here]],
            "ipv6": [[["2001:db8::/32"], here]],
            "object-tags": [[["a@example.net"], ["TEST"], here]],
        }
        for name, found in services.items():
            self.knows(f"/{name}.json", {"version": "1.0", "publication": "2026-11-01T00:00:00Z", "services": found})

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
