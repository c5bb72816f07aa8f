"""Registration data of an IP address (RDAP, RFC 9083), by the library whoisit: the door to it, and to HTTP.

The registries' table (RFC 9224) is fetched once a day and kept below ``data/state``. The library waits as long as a
server wants, and reads what it sends: so it gets a session that waits for seconds, reads no more than a contact may
take, follows redirects to HTTPS only, never repeats by itself, and stays away from a server that said when to come
again (429 or 503 with Retry-After, RFC 7480 §5.5).

Optional (the extra ``rdap``), slow to import; asked beside the mail only (``inquiry``).
"""

import io
import json
import math
import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from gateway.abuse.complaints.letter import mailbox_of
from gateway.clock import Clock
from gateway.storage import DurableFiles

# An answer with dozens of entities has some 100 KB, the registries' table of names as much.
MAX_OCTETS = 2 * 1024 * 1024
# Between two octets, and for one answer; servers of registries take some tenths of a second.
PATIENCE_SECONDS = 5.0
ANSWER_SECONDS = 15.0
MAX_REDIRECTS = 5
# Where a server does not say when to come again, and the most that it may say.
COME_AGAIN_SECONDS = 900.0
_MAX_AGAIN_SECONDS = 86_400.0
_TABLE_SECONDS = 86_400.0
_TABLE = Path("state/registries.json")
_COME_AGAIN = frozenset({429, 503})
# Packed a thousand times at most (deflate), it unpacks to a few megabytes before they are counted.
_READ_OCTETS = 4 * 1024


class RegistryError(Exception):
    """What is asked for cannot be found out now."""


class Registries:
    """Asks them for addresses; blocking, for any number of threads."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self._path, self._clock = data / _TABLE, clock
        self._away: dict[str, float] = {}
        self._lock = threading.Lock()
        self._fetch_at = -math.inf

    def contact(self, address: str) -> str | None:
        """Return whom the registries name for abuse from an address, "" for nobody, None when that is not known now."""
        whoisit = import_module("whoisit")
        errors = import_module("whoisit.errors")
        with self._session() as session:
            try:
                self._ready(whoisit, session)
                return _abuse_address(whoisit.ip(address, session=session))
            except errors.ResourceDoesNotExist:
                return ""
            except Exception:  # noqa: BLE001 - the library raises whatever its own libraries and hostile answers raise
                return None

    def _ready(self, whoisit: ModuleType, session: Any) -> None:
        """Have the registries' table, a day old at most where it can be had; RegistryError without any."""
        with self._lock:
            if not whoisit.is_bootstrapped():
                _load(whoisit, self._kept())
            if self._age(whoisit) > _TABLE_SECONDS and self.now() >= self._fetch_at:
                self._fetch_at = self.now() + COME_AGAIN_SECONDS
                before = whoisit.save_bootstrap_data() if whoisit.is_bootstrapped() else ""
                fetched = self._fetched(session)
                whoisit.clear_bootstrapping()
                # An old table says nearly always the same as a new one.
                if _load(whoisit, fetched):
                    DurableFiles().write(self._path, [fetched.encode()])
                else:
                    _load(whoisit, before)
            if not whoisit.is_bootstrapped():
                raise RegistryError("there is no table of the registries")

    def _age(self, whoisit: ModuleType) -> float:
        if not whoisit.is_bootstrapped():
            return math.inf
        return self._clock.stamp().utc - float(whoisit.save_bootstrap_data(as_json=False)["timestamp"])

    def _fetched(self, session: Any) -> str:
        """Return the table in the form in which the library keeps it, "" when it cannot be had.

        The library would fetch it by a session of its own.
        """
        found: dict[str, Any] = {"timestamp": int(self._clock.stamp().utc)}
        for name, url in import_module("whoisit.bootstrap").BaseBootstrap.BOOTSTRAP_URLS.items():
            try:
                response = session.get(url)
                found[name] = response.json() if response.ok else None
            except (RegistryError, OSError, ValueError, RecursionError):
                return ""
        return json.dumps(found)

    def _kept(self) -> str:
        try:
            return self._path.read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""

    def _session(self) -> Any:
        requests = import_module("requests")
        session = requests.Session()
        session.max_redirects = MAX_REDIRECTS
        session.adapters.clear()
        session.mount("https://", _adapter(requests, self))
        return session

    # For the adapter --------------------------------------------------------------------------------------------------

    def now(self) -> float:
        """Return the monotonic seconds."""
        return self._clock.monotonic()

    def check(self, url: str) -> None:
        """Stay away from a server as long as it asked for; RegistryError."""
        host = urlsplit(url).netloc
        if self._away.get(host, -math.inf) > self.now():
            raise RegistryError(f"{host} asked to come again later")

    def answered(self, url: str, status: int, headers: Mapping[str, str]) -> None:
        """Note when a server wants to be asked again."""
        if status in _COME_AGAIN:
            wait = _seconds(headers.get("Retry-After", ""), self._clock.stamp().utc)
            self._away[urlsplit(url).netloc] = self.now() + wait


def _load(whoisit: ModuleType, table: str) -> bool:
    """Take a table; one that is none is as if it were not there."""
    if table:
        try:
            whoisit.load_bootstrap_data(table)
        except Exception:  # noqa: BLE001 - what is cut off, altered or of another form shows as whatever comes first
            whoisit.clear_bootstrapping()
    return bool(whoisit.is_bootstrapped())


def _adapter(requests: ModuleType, registries: Registries) -> Any:
    """Return what sends one request and reads its answer within bounds; each redirect is a request of its own."""

    class Bounded(requests.adapters.HTTPAdapter):  # type: ignore[misc, name-defined]
        def send(self, request: Any, *_: Any, **given: Any) -> Any:
            registries.check(request.url)
            until = registries.now() + ANSWER_SECONDS
            given |= {"stream": True, "timeout": PATIENCE_SECONDS}
            response = super().send(request, **given)
            try:
                registries.answered(request.url, response.status_code, response.headers)
                octets = _body(response.raw, lambda: registries.now() < until)
            finally:
                response.raw.close()
            response.raw = io.BytesIO(octets)
            return response

    return Bounded(max_retries=0)


def _body(raw: Any, in_time: Callable[[], bool]) -> bytes:
    """Return an answer's octets; RegistryError for one that is too large or too slow."""
    octets = bytearray()
    while piece := raw.read1(_READ_OCTETS, decode_content=True):
        octets += piece
        if len(octets) > MAX_OCTETS:
            raise RegistryError("an answer larger than any contact")
        if not in_time():
            raise RegistryError("an answer slower than anybody waits for")
    return bytes(octets)


def _seconds(said: str, now: float) -> float:
    """Return how long a server wants to be left alone (RFC 9110 §10.2.3: seconds, or a date)."""
    if said.isascii() and said.isdigit():
        wait = float(said[:9])
    else:
        try:
            wait = parsedate_to_datetime(said).timestamp() - now
        except (ValueError, OverflowError):
            wait = COME_AGAIN_SECONDS
    return min(max(wait, 1.0), _MAX_AGAIN_SECONDS)


def _abuse_address(answer: object) -> str:
    entities = answer.get("entities") if isinstance(answer, dict) else None
    abuse = entities.get("abuse") if isinstance(entities, dict) else None
    for entity in abuse if isinstance(abuse, list) else []:
        email = entity.get("email") if isinstance(entity, dict) else None
        if isinstance(email, str) and mailbox_of(email):
            return email
    return ""
