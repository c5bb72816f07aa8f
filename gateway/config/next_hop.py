"""``next_hop``: the URLs that say where mail goes (configuration.md).

``smtp://host:port`` (25 when left out), ``lmtp://host:port`` (24; RFC 2033 §5 forbids 25), ``mx:`` (the recipient's
own MX records), ``mx:domain`` (those of another domain), each with ``?tls=none|may|verify``; ``maildir:PATH``, one
Maildir a mailbox below PATH, which is relative to the folder of ``tidegate.toml``. Refused: user and password, a path
or fragment, parameters but ``tls``, port 0.
"""

from ipaddress import ip_address
from pathlib import Path

from gateway.config.complaint import choices
from gateway.config.fields import domain_name, port_number
from gateway.policy.domain_policy import NextHop

SCHEMES = ("smtp", "lmtp", "mx", "maildir")
TLS_MODES = ("none", "may", "verify")
DEFAULT_TLS = "may"
DEFAULT_PORTS = {"smtp": 25, "lmtp": 24}
IPV6_FORM = 'an IPv6 address is written "[2001:db8::1]:25"'
MX = NextHop(url="mx:", scheme="mx")


def parse_next_hop(text: str, folder: Path) -> NextHop:
    """Return the next hop; ValueError says what is wrong and what is allowed."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in SCHEMES:
        raise ValueError(
            'smtp://host:port, lmtp://host:port, mx:, mx:domain (each may have "?tls=…") or maildir:PATH is wanted'
        )
    if scheme == "maildir":
        return _maildir(rest, folder)
    address, question, query = rest.partition("?")
    tls = _tls(query) if question else DEFAULT_TLS
    suffix = "" if tls == DEFAULT_TLS else f"?tls={tls}"
    if scheme == "mx":
        domain = domain_name(address) if address else ""
        return NextHop(url=f"mx:{domain}{suffix}", scheme=scheme, host=domain, tls=tls)
    if not address.startswith("//"):
        raise ValueError(f'two slashes are wanted: "{scheme}://host:port"')
    host, port = _host_and_port(address[2:].removesuffix("/"), DEFAULT_PORTS[scheme])
    shown_host = f"[{host}]" if ":" in host else host
    return NextHop(url=f"{scheme}://{shown_host}:{port}{suffix}", scheme=scheme, host=host, port=port, tls=tls)


def _maildir(rest: str, folder: Path) -> NextHop:
    if not rest or "\0" in rest:
        raise ValueError('a folder is wanted: "maildir:PATH"')
    path = str((folder / rest).absolute())
    return NextHop(url=f"maildir:{path}", scheme="maildir", port=0, tls="none", path=path)


def _tls(query: str) -> str:
    name, _, value = query.partition("=")
    if name != "tls":
        raise ValueError(f'"{name}" is no parameter of a next hop; allowed: tls')
    if value not in TLS_MODES:
        raise ValueError(f'tls "{value}" is unknown{choices(value, TLS_MODES)}')
    return value


def _host_and_port(text: str, default_port: int) -> tuple[str, int]:
    if "@" in text:
        raise ValueError("a user and password are not supported; host:port is wanted")
    if "/" in text or "#" in text:
        raise ValueError("nothing may follow host:port but ?tls=…")
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError(IPV6_FORM)
        port = port[1:]
    elif text.count(":") > 1:
        raise ValueError(IPV6_FORM)
    else:
        host, _, port = text.partition(":")
    return _host(host), _port(port, default_port)


def _host(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return domain_name(text)


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not text.strip("0"):
        raise ValueError("port 0 cannot be connected to")
    return port_number(text)
