r"""URLs in text and in HTML attributes, as a reader's program would follow them.

``find`` takes text in the form of ``normal.shown``. Found are ``http``, ``https`` and ``ftp`` URLs with any number and
direction of slashes, ``www.`` names, and bare domains below a known public suffix. Chinese text adjoins URLs without a
space: a path ends at the first character that is not ASCII, a host where its ASCII beginning is a known domain and the
whole is not. An ideographic full stop counts as a dot ("www。example。com"), or ends the URL ("example.com。谢谢").

``parse`` takes an attribute's value after its entities, and follows https://url.spec.whatwg.org: white space and
controls that browsers skip, backslashes, user information ("https://bank.example@evil.example/"). ``within`` finds the
URLs that a URL carries in its path or query: redirectors.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from gateway.mail.text import hosts

# Longer ones are cut: browsers take about 2,000 in practice, data: URLs have no limit.
MAX_URL = 2048
# Beyond these the rest of a text has more of the same; a look costs some microseconds. Long newsletters have 200.
MAX_URLS = 1000
_MAX_LOOKS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """One link.

    ``text`` as written (MAX_URL characters at most), ``scheme`` in lower case or "" where none is written, ``host`` in
    the form that is looked up (A-labels, plain addresses) or "" where there is none (``data:``, ``javascript:``,
    ``mailto:``), ``registrable`` its registrable domain or "", ``path`` everything after the authority. ``userinfo`` is
    what stands before an "@" in the authority, ``port`` is 0 where none is written.
    """

    text: str
    scheme: str
    host: str
    registrable: str
    path: str
    userinfo: str = ""
    port: int = 0

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address."""
        return hosts.is_address(self.host)


# Where a URL may be: the colon of a scheme, or the first dot of a name. Looking for these and then backwards is eight
# times as fast as looking for names.
_ANCHOR = re.compile(r":(?=[/\\])|[.。](?=[A-Za-z0-9_])")
_SCHEME_BEFORE = re.compile(r"(?i)(?<![a-z0-9])(?:https?|ftp)\Z")
_LONGEST_SCHEME = 6
_AUTHORITY = re.compile(r"[/\\]++([^\s/\\?#<>\"'`]{1,512}+)")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]|[.。](?=[A-Za-z0-9_])){0,512}+")
_NAME_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
# What cannot stand before a bare name: it is part of an address, a path, a parameter.
_NOT_BEFORE = frozenset("@.%+/\\=")
_MAX_LABEL = 63
_PATH = re.compile(r"(?::[0-9]{1,5})?+(?:[/\\?#][!#-&(-;=?-_a-z|~]{0,2048}+)?+")
_ASCII_HOST = re.compile(r"[A-Za-z0-9._%@:\[\]-]*+")
_TRAILING = ".,;:!?'*_~"
# Suffixes that are also endings of file names, or of nothing: "main.py", "setup.zip".
_FILE_ENDINGS = frozenset({"zip", "mov", "py", "md", "sh", "rs", "pl", "so", "ps", "app", "cab"})

_SKIPPED = re.compile(r"[\t\r\n]+")
_AROUND = "".join(map(chr, range(0x21)))
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31}+):")
# Schemes whose authority follows whatever the slashes (URL standard, "special scheme").
_SPECIAL = frozenset({"http", "https", "ftp", "ws", "wss"})
# Schemes that lead somewhere, or do something, without a host.
_HOSTLESS = frozenset(
    {"data", "javascript", "vbscript", "mailto", "tel", "sms", "file", "blob", "ms-msdt", "search-ms"}
)
_PORT = re.compile(r"[0-9]{0,5}")
_AUTHORITY_END = re.compile(r"[/\\?#]")
_NESTED = re.compile(r"(?i)https?(?::|%3a|%253a)(?:/|\\|%2f|%252f){2}")
_MAX_NESTED = 4


def find(text: str) -> tuple[Url, ...]:
    """Return the URLs in a text, each once, in order; at most MAX_URLS."""
    found: dict[Url, None] = {}
    at = 0
    for _ in range(_MAX_LOOKS):
        anchor = _ANCHOR.search(text, at)
        if anchor is None or len(found) >= MAX_URLS:
            break
        find_here = _with_scheme if anchor[0] == ":" else _bare
        url, at = find_here(text, at, anchor.start())
        if url:
            found[url] = None
            found.update(dict.fromkeys(within(url)))
    return tuple(found)


def parse(value: str) -> Url | None:
    """Return the URL that an attribute's value is; None for what leads to no host and does nothing by itself."""
    text = _SKIPPED.sub("", value[: 2 * MAX_URL]).strip(_AROUND)[:MAX_URL]
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else ""
    rest = text[match.end() :] if match else text
    if scheme in _HOSTLESS:
        return Url(text=text, scheme=scheme, host="", registrable="", path=rest)
    if scheme not in _SPECIAL and not rest.startswith(("//", "\\\\", "/\\", "\\/")):
        return None
    return _parsed(text, scheme, rest.lstrip("/\\"))


def within(url: Url) -> Iterator[Url]:
    """Yield the URLs that ``url`` carries in its path, decoded: where a redirector leads."""
    if "http" not in url.path.lower():
        return
    for match in list(_NESTED.finditer(url.path))[:_MAX_NESTED]:
        target = url.path[match.start() :]
        # Encoded as a parameter's value, it ends where the next parameter begins.
        if "%" in match[0]:
            target = unquote(target.partition("&")[0])
        nested = parse(unquote(target) if "%2f" in target[:12].lower() else target)
        if nested:
            yield nested


# The links of a newsletter repeat, in it and from mail to mail; 512 of at most three times MAX_URL characters.
@lru_cache(maxsize=512)
def _parsed(text: str, scheme: str, rest: str) -> Url | None:
    end = _AUTHORITY_END.search(rest)
    authority, path = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    userinfo, _, place = authority.rpartition("@")
    name, colon, port = place.rpartition(":")
    if not colon or not _PORT.fullmatch(port):
        name, port = place, ""
    host = hosts.canonical(name)
    if not host:
        return None
    return Url(
        text=text,
        scheme=scheme,
        host=host,
        registrable=hosts.registrable(host),
        path=path,
        userinfo=userinfo,
        port=int(port or 0),
    )


def _with_scheme(text: str, floor: int, colon: int) -> tuple[Url | None, int]:
    """Read the URL whose scheme ends at ``colon`` and does not begin before ``floor``; return where to go on."""
    start = max(floor, colon - _LONGEST_SCHEME)
    scheme = _SCHEME_BEFORE.search(text[start:colon])
    match = _AUTHORITY.match(text, colon + 1) if scheme else None
    if not (scheme and match):
        return None, colon + 1
    authority = match[1]
    end = match.end()
    if not authority.isascii():
        end = match.start(1) + _host_length(authority)
    start += scheme.start()
    whole = _with_path(text, start, end)
    return _parsed(whole, scheme[0].lower(), whole[match.start(1) - start :]), max(start + len(whole), colon + 1)


def _host_length(authority: str) -> int:
    """Return how much of an authority that is not ASCII belongs to the URL."""
    ascii_part = _ASCII_HOST.match(authority)
    first = ascii_part.end() if ascii_part else 0
    plain = authority[:first].rstrip(_TRAILING)
    known = hosts.is_known(hosts.canonical(plain.rpartition("@")[2].partition(":")[0]))
    if known and authority[first] != "。":
        return first
    return len(_until_stop(authority))


def _bare(text: str, floor: int, dot: int) -> tuple[Url | None, int]:
    """Read the name whose first dot is at ``dot`` and which does not begin before ``floor``; return where to go on."""
    start = dot
    floor = max(floor, dot - _MAX_LABEL)
    while start > floor and text[start - 1] in _NAME_CHARACTERS:
        start -= 1
    match = _NAME.match(text, start)
    if match is None or match.end() <= dot:
        return None, dot + 1
    if text[start - 1 : start] in _NOT_BEFORE or text.startswith("@", match.end()):
        return None, match.end()
    name = _until_stop(match[0]) if "。" in match[0] else match[0]
    end = start + len(name)
    whole = _with_path(text, start, end)
    if not _plausible(name, whole):
        return None, max(end, dot + 1)
    return _parsed(whole, "", whole), max(start + len(whole), dot + 1)


def _with_path(text: str, start: int, end: int) -> str:
    path = _PATH.match(text, end)
    return _trimmed(text[start : path.end() if path else end])[:MAX_URL]


def _until_stop(name: str) -> str:
    """Cut a name where an ideographic full stop ends a sentence: after what is a domain already."""
    at = name.find("。")
    while 0 <= at <= hosts.MAX_HOST:
        domain = name[:at].replace("。", ".")
        if hosts.ends_suffix(domain.rpartition(".")[2]) and hosts.is_known(hosts.canonical(domain)):
            return name[:at]
        at = name.find("。", at + 1)
    return name


def _plausible(name: str, whole: str) -> bool:
    last = name.replace("。", ".").rpartition(".")[2]
    if not (hosts.ends_suffix(last) and hosts.is_known(hosts.canonical(name))):
        return False
    if len(whole) > len(name) or name[:4].lower() == "www.":
        return True
    # "finished.It was": a sentence without its space.
    return last.lower() not in _FILE_ENDINGS and not last.istitle()


def _trimmed(text: str) -> str:
    """Cut what follows a URL in a sentence; a closing bracket belongs to it when it has an opening one."""
    surplus = {")": text.count(")") - text.count("("), "]": text.count("]") - text.count("[")}
    end = len(text)
    while end and (text[end - 1] in _TRAILING or surplus.get(text[end - 1], 0) > 0):
        end -= 1
        if text[end] in surplus:
            surplus[text[end]] -= 1
    return text[:end]
