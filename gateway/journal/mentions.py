"""Who and what an event mentions, as 8-octet keys for ``tidegate trace``.

Mentioned are addresses, Message-IDs, clients and sessions. A key is BLAKE2b over the comparison form, so ``<Boss@Example.COM>`` and ``boss@example.com``, and a domain's U- and
A-label forms, are one. Attempts are not indexed: they carry the trace id of the event that is.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address

from gateway.journal.events import (
    Event,
    MessageJudged,
    NoticeQueued,
    QueueChanged,
    RecipientRefused,
    SessionClosed,
    SessionRefused,
    TransactionAborted,
)
from gateway.smtp.domain import DomainError, normalise_domain

_QUOTE = '"'


def comparison_form(what: str) -> str:
    """Return the form under which an address, Message-ID, client address or trace id is looked up."""
    text = what.strip(" \t\r\n<>")
    if "@" in text:
        local, _, domain = text.rpartition("@")
        return f"{local.strip(_QUOTE).casefold()}@{_domain(domain)}"
    return text.casefold()


def key(what: str) -> int:
    """Return the 8-octet key of an address, Message-ID, session id or client address."""
    digest = blake2b(comparison_form(what).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


# 4,096 entries of about 200 octets: addresses and clients come again and again, Message-IDs do not.
_key_again = lru_cache(maxsize=4096)(key)


def client_form(what: str) -> str:
    """Return an IP address as events write it, or the text unchanged when it is none."""
    try:
        return str(ip_address(what.strip(" []")))
    except ValueError:
        return what


def mentions(event: Event) -> frozenset[int]:
    """Return the keys under which the event is to be found."""
    find = _FINDERS.get(type(event))
    return frozenset() if find is None else frozenset(find(event))


def _judged(event: MessageJudged) -> Iterable[int]:
    yield _key_again(event.client)
    yield _key_again(event.session_id)
    if event.reverse_path:
        yield _key_again(event.reverse_path)
    if event.message_id:
        yield key(event.message_id)
    for disposition in event.dispositions:
        yield _key_again(disposition[0])


def _aborted(event: TransactionAborted) -> Iterable[int]:
    return map(_key_again, filter(None, (event.client, event.reverse_path, *event.recipients)))


def _refused(event: RecipientRefused) -> Iterable[int]:
    return map(_key_again, filter(None, (event.client, event.reverse_path, event.recipient)))


def _session(event: SessionClosed | SessionRefused) -> Iterable[int]:
    return (_key_again(event.client),)


def _notice(event: NoticeQueued) -> Iterable[int]:
    return map(_key_again, (event.about, event.recipient))


def _changed(event: QueueChanged) -> Iterable[int]:
    return map(_key_again, event.recipients)


def _domain(text: str) -> str:
    if text.isascii():
        return text.lower()
    try:
        return normalise_domain(text)
    except DomainError:
        return text.casefold()


# Each finder takes the one class it stands beside; a dictionary cannot say so to the type checker.
_FINDERS: dict[type[Event], Callable[..., Iterable[int]]] = {
    MessageJudged: _judged,
    TransactionAborted: _aborted,
    RecipientRefused: _refused,
    SessionClosed: _session,
    SessionRefused: _session,
    NoticeQueued: _notice,
    QueueChanged: _changed,
}
