"""Lists that are fetched: an address on the web, or a folder or file that somebody else fills. Never on the mail path.

urllib of the standard library does this: once an hour, one request, conditional, without cookies, credentials or
connections to keep, is nothing that a library would make simpler. Only http and https are spoken, redirections
included; what is larger or slower than declared is given up; what arrives is data, never trusted to say what it is.
"""

import http.client
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from gateway.blocklist.local.declaration import ListDeclaration
from gateway.blocklist.local.editions import Fetches

_AGENT = "tidegate"
_READ_OCTETS = 64 * 1024
# One read or connect; the declared time-out is for all of them together.
_SOCKET_SECONDS = 30.0
# Half-written, or not meant to be read.
_DRAFTS = (".part", ".tmp", ".draft", ".swp", "~")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came: ``published`` is UTC seconds as the source dates it, None when it does not."""

    octets: bytes
    origin: str
    published: float | None
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The source has nothing newer."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing came, and why."""

    reason: str


Outcome = Fetched | Unchanged | Failed
Fetch = Callable[[ListDeclaration, Fetches], Outcome]


def fetch(declaration: ListDeclaration, before: Fetches) -> Outcome:
    """Ask a list's source for something newer than what it gave last; never raises."""
    if declaration.watch is not None:
        return read_newest(declaration.watch, declaration.max_size)
    try:
        return _download(declaration, before)
    except HTTPError as error:
        with error:
            return Unchanged() if error.code == HTTPStatus.NOT_MODIFIED else Failed(f"HTTP {error.code} {error.reason}")
    except (URLError, OSError, http.client.HTTPException, ValueError) as error:
        return Failed(str(getattr(error, "reason", "") or error) or type(error).__name__)


def read_newest(path: Path, max_octets: int) -> Outcome:
    """Return a file, or the newest file of a folder."""
    try:
        newest = max(_files(path), key=lambda file: file.stat().st_mtime, default=None) if path.is_dir() else path
        if newest is None:
            return Unchanged()
        if newest.stat().st_size > max_octets:
            return Failed(f"{newest} is larger than the {max_octets} octets of max_size")
        return Fetched(octets=newest.read_bytes(), origin=str(newest), published=newest.stat().st_mtime)
    except OSError as error:
        return Failed(f"{path}: {error.strerror or error}")


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(_DRAFTS):
            yield path


def _download(declaration: ListDeclaration, before: Fetches) -> Outcome:
    request = Request(declaration.url, headers={"User-Agent": _AGENT, "Accept-Encoding": "identity"})  # noqa: S310 - declared as http or https
    if before.etag:
        request.add_header("If-None-Match", before.etag)
    if before.modified:
        request.add_header("If-Modified-Since", before.modified)
    deadline = time.monotonic() + declaration.timeout
    with _opener().open(request, timeout=min(declaration.timeout, _SOCKET_SECONDS)) as answer:
        pieces, octets = [], 0
        while piece := answer.read1(_READ_OCTETS):
            pieces.append(piece)
            octets += len(piece)
            if octets > declaration.max_size:
                return Failed(f"larger than the {declaration.max_size} octets of max_size")
            if time.monotonic() > deadline:
                return Failed(f"not finished within {declaration.timeout:g} s")
        announced = answer.headers.get("Content-Length", "")
        if announced.isdigit() and int(announced) != octets:
            return Failed(f"cut short: {octets} of {announced} octets came")
        modified = answer.headers.get("Last-Modified", "")
        return Fetched(
            octets=b"".join(pieces),
            origin=declaration.url,
            published=_date(modified),
            etag=answer.headers.get("ETag", ""),
            modified=modified,
        )


class _Redirects(HTTPRedirectHandler):
    """Follows redirections, but never from https to http: who sits in between would then write the list."""

    def redirect_request(self, req: Request, *rest: Any) -> Request | None:
        """Return the request that a redirection leads to; raise HTTPError or URLError."""
        following = super().redirect_request(req, *rest)
        if following is not None and req.type == "https" and following.type != "https":
            raise URLError("redirected from https to something else")
        return following


def _opener() -> OpenerDirector:
    """Return what speaks http and https only: urllib's usual opener reads local files and ftp as well."""
    opener = OpenerDirector()
    for handler in (
        ProxyHandler(),
        HTTPHandler(),
        HTTPSHandler(),
        HTTPDefaultErrorHandler(),
        _Redirects(),
        HTTPErrorProcessor(),
        UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
