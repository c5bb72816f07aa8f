"""Who and what an event mentions, as 8-octet keys for ``tidegate trace``.

Mentioned are addresses, Message-IDs, clients and sessions. A key is BLAKE2b over the comparison form, so
``<Boss@Example.COM>`` and ``boss@example.com``, and a domain's U- and A-label forms, are one. Attempts are not
mentioned: they carry the trace id of the event that is.

A batch of events keeps its mentions in one blob of records (key, place of the event in the batch). A B-tree of keys
would be quicker to ask and dearer to write: at 1,000 messages a second its random inserts touch some 4,000 pages a
second, 32 MB of log, while the blobs take 40 KB. A question looks through the blobs: 10 million mentions in about
0.2 s.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address

from gateway.journal.events import (
    Event,
    MessageJudged,
    NoticeQueued,
    QuarantineReleased,
    QueueChanged,
    RecipientRefused,
    SessionClosed,
    SessionRefused,
    TransactionAborted,
)
from gateway.smtp.domain import DomainError, normalise_domain

_QUOTE = '"'
_KEY_OCTETS = 8
# Two octets more for the event's place in its batch.
_RECORD_OCTETS = _KEY_OCTETS + 2
# As many as two octets can tell apart.
MAX_BATCH_EVENTS = 65_536


def comparison_form(what: str) -> str:
    """Return the form under which an address, Message-ID, client address or trace id is looked up."""
    text = what.strip(" \t\r\n<>")
    if "@" in text:
        local, _, domain = text.rpartition("@")
        return f"{local.strip(_QUOTE).casefold()}@{_domain(domain)}"
    return text.casefold()


def key(what: str) -> bytes:
    """Return the 8-octet key of an address, Message-ID, session id or client address."""
    return blake2b(comparison_form(what).encode("utf-8", "surrogatepass"), digest_size=_KEY_OCTETS).digest()


# 4,096 entries of about 200 octets: addresses and clients come again and again, Message-IDs do not.
_key_again = lru_cache(maxsize=4096)(key)


def client_form(what: str) -> str:
    """Return an IP address as events write it, or the text unchanged when it is none."""
    try:
        return str(ip_address(what.strip(" []")))
    except ValueError:
        return what


def mentions(event: Event) -> frozenset[bytes]:
    """Return the keys under which the event is to be found."""
    find = _FINDERS.get(type(event))
    return frozenset() if find is None else frozenset(find(event))


def pack(events: Sequence[Event]) -> bytes:
    """Return the records of a batch of at most MAX_BATCH_EVENTS events."""
    return b"".join(
        [key + place.to_bytes(2, "big") for place, event in enumerate(events) for key in mentions(event)],
    )


def places(packed: bytes, key: bytes) -> list[int]:
    """Return the places in the batch of the events that mention ``key``."""
    found: list[int] = []
    at = packed.find(key)
    while at >= 0:
        if at % _RECORD_OCTETS == 0:
            found.append(int.from_bytes(packed[at + _KEY_OCTETS : at + _RECORD_OCTETS], "big"))
        at = packed.find(key, at + 1)
    return found


def _judged(event: MessageJudged) -> Iterable[bytes]:
    yield _key_again(event.client)
    yield _key_again(event.session_id)
    if event.reverse_path:
        yield _key_again(event.reverse_path)
    if event.message_id:
        yield key(event.message_id)
    for disposition in event.dispositions:
        yield _key_again(disposition[0])


def _aborted(event: TransactionAborted) -> Iterable[bytes]:
    return map(_key_again, filter(None, (event.client, event.reverse_path, *event.recipients)))


def _refused(event: RecipientRefused) -> Iterable[bytes]:
    return map(_key_again, filter(None, (event.client, event.reverse_path, event.recipient)))


def _session(event: SessionClosed | SessionRefused) -> Iterable[bytes]:
    return (_key_again(event.client),)


def _notice(event: NoticeQueued) -> Iterable[bytes]:
    return map(_key_again, (event.about, event.recipient))


def _changed(event: QueueChanged) -> Iterable[bytes]:
    return map(_key_again, event.recipients)


def _released(event: QuarantineReleased) -> Iterable[bytes]:
    return map(_key_again, (*event.recipients, *event.kept_for))


def _domain(text: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        return normalise_domain(text)
    except DomainError:
        return text.casefold()


# Each finder takes the one class it stands beside; a dictionary cannot say so to the type checker.
_FINDERS: dict[type[Event], Callable[..., Iterable[bytes]]] = {
    MessageJudged: _judged,
    TransactionAborted: _aborted,
    RecipientRefused: _refused,
    SessionClosed: _session,
    SessionRefused: _session,
    NoticeQueued: _notice,
    QueueChanged: _changed,
    QuarantineReleased: _released,
}
