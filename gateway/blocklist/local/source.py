"""Does a list's own source, whatever operators added or took off, say anything of an entry? For who removes one.

Of addresses it is enough that the source lists some of them; of names and mailboxes the entry itself, or a wider one
that holds it. What the source lists below ``*.example.com`` is not found: names are kept as hashes.
"""

from gateway.blocklist.local.entry import Span, parse_entry
from gateway.blocklist.local.layout import key_hash
from gateway.blocklist.local.mapped import MappedList
from gateway.blocklist.local.question import ask_anything


def says(source: MappedList, entry: str, now: float) -> bool:
    """Whether the source lists an entry, or a part of it; raise ``EntryError`` for what is no entry."""
    target = parse_entry(entry)
    if isinstance(target, Span):
        return source.lists_any(target, now)
    if any(source.lists_key(key_hash(key), now) for key in target.keys):
        return True
    question = ask_anything(_member(entry))
    found = source.find(question, now) if question is not None else None
    return found is not None and not found.fact.excluded


def _member(entry: str) -> str:
    """Return something that an entry of names or mailboxes holds."""
    local, at, domain = entry.rpartition("@")
    if domain.startswith(("*.", ".")):
        domain = f"any.{domain.removeprefix('*').removeprefix('.')}"
    return f"{local or 'any'}@{domain}" if at else domain
