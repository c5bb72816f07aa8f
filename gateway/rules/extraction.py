"""Each subject's values out of a transaction: a function a subject, in a table."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from gateway.mail.header import HeaderField
from gateway.mail.text import addresses, normal, scripts, words
from gateway.rules.parts import Attachment
from gateway.rules.values import AddressText, AnyValue, DomainText, Text, Thing, address_shown, domain_shown

if TYPE_CHECKING:
    from gateway.rules.facts import MailFacts

Values = tuple[AnyValue, ...]

# Fields of one name: a mail that has been through a hundred relays has so many Received fields.
MAX_FIELDS = 500
# Of one value: References of long threads reach some KiB.
MAX_FIELD_OCTETS = 16 * 1024
# Authors of one field.
MAX_AUTHORS = 100
# Subjects whose values differ between the siblings of one message.
CHANGING = frozenset({"recipient", "spf", "dkim", "dmarc", "virus", "dnsbl", "filter"})

_SECONDS_A_DAY = 86_400
_PLAIN_DOMAIN = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?")
_DATE = re.compile(rb"[0-9A-Za-z ,:+\-()./]{6,100}")


def values(facts: "MailFacts", name: str, parameter: str) -> Values:
    """Return the values of the subject ``name``, whose ``parameter`` is "" for most."""
    return _MAKERS[name](facts, parameter)


def _client_ip(facts: "MailFacts", _: str) -> Values:
    return (Thing(facts.tx.connection.client_address, place="connection"),)


def _client_name(facts: "MailFacts", _: str) -> Values:
    return _domain(facts.tx.connection.client_name, "connection")


def _helo(facts: "MailFacts", _: str) -> Values:
    return _domain(facts.tx.connection.helo, "HELO")


def _tls(facts: "MailFacts", _: str) -> Values:
    tls = facts.tx.connection.tls
    return (Text(tls.version, place="connection"),) if tls else ()


def _reverse_path(facts: "MailFacts", _: str) -> Values:
    mailbox = facts.tx.envelope.reverse_path.mailbox
    return (AddressText(address_shown(mailbox.local_part, mailbox.domain), place="MAIL"),) if mailbox else ()


def _recipient(facts: "MailFacts", _: str) -> Values:
    boxes = (recipient.path.mailbox for recipient in facts.recipients)
    return tuple(
        AddressText(address_shown(box.local_part, box.domain), owner=i, place="RCPT") for i, box in enumerate(boxes)
    )


def _time(facts: "MailFacts", _: str) -> Values:
    return (Thing(_received_utc(facts) % _SECONDS_A_DAY, place="reception"),)


def _recipient_count(facts: "MailFacts", _: str) -> Values:
    return (Thing(float(len(facts.tx.recipients)), place="envelope"),)


def _size(facts: "MailFacts", _: str) -> Values:
    return (Thing(float(facts.tx.content.size), place="content"),)


def _subject(facts: "MailFacts", _: str) -> Values:
    return _header(facts, "subject")


def _header(facts: "MailFacts", name: str) -> Values:
    return tuple(
        Text(
            normal.shown(words.decode_header(field.value)),
            owner=number,
            place=f"header {name}" if number == 0 else f"header {name}[{number + 1}]",
            raw=field.raw_value,
        )
        for number, field in enumerate(_fields(facts, name))
    )


def _header_count(facts: "MailFacts", name: str) -> Values:
    header = facts.tx.content.header
    # The sum over the names, so that a hundred thousand fields need not be made.
    count = header.count(name) if name else sum(header.count(each.decode("ascii")) for each in header.names)
    return (Thing(float(count), place="header section"),)


def _from(facts: "MailFacts", _: str) -> Values:
    return tuple(
        AddressText(_address(author), owner=number, place="header from")
        for number, author in _authors(facts, "from")
        if author.address
    )


def _from_name(facts: "MailFacts", _: str) -> Values:
    return tuple(
        Text(name, owner=number, place="header from")
        for number, author in _authors(facts, "from")
        if (name := normal.shown(author.display_name))
    )


def _from_domain(facts: "MailFacts", _: str) -> Values:
    return tuple(
        domain for number, author in _authors(facts, "from") for domain in _domain(author.domain, "header from", number)
    )


def _reply_to(facts: "MailFacts", _: str) -> Values:
    return tuple(
        AddressText(_address(author), owner=number, place="header reply-to")
        for number, author in _authors(facts, "reply-to")
        if author.address
    )


def _date_skew(facts: "MailFacts", _: str) -> Values:
    field = facts.tx.content.header.first("date")
    # RFC 5322 §3.2.2: a comment may follow, and names the zone in any language.
    written = field.value.partition(b"(")[0].strip() if field else b""
    if not _DATE.fullmatch(written):
        return ()
    try:
        # RFC 5322 §3.3; a zone of -0000 says nothing about the clock's, which then counts as UTC.
        date = parsedate_to_datetime(written.decode("ascii"))
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ()
    return (Thing(seconds - _received_utc(facts), place="header date"),)


def _charset(facts: "MailFacts", _: str) -> Values:
    return tuple(
        Text(charset, owner=part.index, place=f"part {part.index + 1}") for charset, part in facts.parts.charsets
    )


def _text(facts: "MailFacts", _: str) -> Values:
    return tuple(facts.parts.shown(facts.parts.read))


def _html(facts: "MailFacts", _: str) -> Values:
    found = []
    for part in facts.parts.read:
        facts.breathe()
        if part.is_html:
            found.append(part.source)
    return tuple(found)


def _body(facts: "MailFacts", _: str) -> Values:
    return tuple(facts.parts.shown(facts.parts.all_texts))


def _script(facts: "MailFacts", _: str) -> Values:
    found: dict[str, str] = {}
    for value in (*facts.values("subject"), *facts.values("text")):
        if isinstance(value, Text):
            for name in scripts.of(value.shown):
                found.setdefault(name, value.place)
    return tuple(Text(name, owner=number, place=place) for number, (name, place) in enumerate(found.items()))


def _url(facts: "MailFacts", _: str) -> Values:
    return tuple(
        Text(normal.shown(link.text), owner=number, place=part.place)
        for number, (link, part) in enumerate(facts.parts.links)
    )


def _url_domain(facts: "MailFacts", _: str) -> Values:
    # A newsletter's hundred links lead to three hosts.
    found: dict[str, tuple[int, str]] = {}
    for number, (link, part) in enumerate(facts.parts.links):
        for domain in (link.host, link.registrable):
            if domain not in found:
                found[domain] = number, part.place
    return tuple(value for domain, (number, place) in found.items() for value in _domain(domain, place, number))


def _attachment_count(facts: "MailFacts", _: str) -> Values:
    return (Thing(float(sum(part.is_attachment for part in facts.tx.content.mime.leaves)), place="content"),)


def _attachment_name(facts: "MailFacts", _: str) -> Values:
    return tuple(
        Text(name, owner=number, place=one.place)
        for number, one in enumerate(facts.parts.attachments)
        for name in one.names
    )


def _attachment_extension(facts: "MailFacts", _: str) -> Values:
    return tuple(
        Text(extension, owner=number, place=one.place)
        for number, one in enumerate(facts.parts.attachments)
        for extension in one.extensions
    )


def _attachment_size(facts: "MailFacts", _: str) -> Values:
    return _each_attachment(facts, lambda number, one: Thing(float(one.size), number, one.place))


def _attachment_type(facts: "MailFacts", _: str) -> Values:
    found: list[AnyValue] = []
    for number, one in enumerate(facts.parts.attachments):
        facts.breathe()
        kinds = dict.fromkeys([one.facts.kind, one.facts.family, one.facts.media_type])
        found += [Text(kind, owner=number, place=one.place) for kind in kinds if kind]
    return tuple(found)


def _flag(name: str) -> "Callable[[MailFacts, str], Values]":
    def make(facts: "MailFacts", _: str) -> Values:
        return _each_attachment(facts, lambda number, one: Thing(getattr(one.facts, name), number, one.place))

    return make


def _executable(facts: "MailFacts", _: str) -> Values:
    return _each_attachment(
        facts, lambda number, one: Thing(one.facts.executable or one.facts.executable_member, number, one.place)
    )


def _result(facts: "MailFacts", name: str) -> Values:
    return tuple(
        Text(word, owner=number, place=f"filter {name}") for number, word in enumerate(facts.results.get(name, ()))
    )


def _dnsbl(facts: "MailFacts", zone: str) -> Values:
    return _result(facts, f"dnsbl.{zone}" if zone else "dnsbl")


def _virus(facts: "MailFacts", _: str) -> Values:
    return _result(facts, "virus") or _result(facts, "antivirus")


def _named(name: str) -> "Callable[[MailFacts, str], Values]":
    return lambda facts, _: _result(facts, name)


def _received_utc(facts: "MailFacts") -> float:
    received = facts.tx.received or facts.tx.enveloped
    return received.utc if received else facts.clock.stamp().utc


def _fields(facts: "MailFacts", name: str) -> list[HeaderField]:
    found = facts.tx.content.header.get_all(name)
    if len(found) > MAX_FIELDS:
        facts.bounds.note(f"header {name}: the first {MAX_FIELDS} of {len(found)} were looked at")
        del found[MAX_FIELDS:]
    for number, field in enumerate(found):
        if len(field.raw_value) > MAX_FIELD_OCTETS:
            facts.bounds.note(f"header {name}: the first {MAX_FIELD_OCTETS // 1024} KiB were looked at")
            found[number] = field._replace(raw_value=field.raw_value[:MAX_FIELD_OCTETS])
    return found


def _authors(facts: "MailFacts", name: str) -> Iterator[tuple[int, addresses.Author]]:
    number = 0
    for field in _fields(facts, name):
        facts.breathe()
        for author in addresses.mailboxes(field.value):
            if number >= MAX_AUTHORS:
                facts.bounds.note(f"header {name}: the first {MAX_AUTHORS} addresses were looked at")
                return
            yield number, author
            number += 1


def _address(author: addresses.Author) -> str:
    return address_shown(author.address.rpartition("@")[0] or author.address, author.domain)


def _domain(domain: str, place: str, owner: int = 0) -> Values:
    if not domain:
        return ()
    # Most are in normal form already, and have nothing to decode.
    shown = domain if _PLAIN_DOMAIN.fullmatch(domain) and "xn--" not in domain else domain_shown(domain)
    both = (shown, domain.lower()) if "xn--" in domain.lower() and shown != domain.lower() else (shown,)
    return tuple(DomainText(form, owner=owner, place=place) for form in both)


def _each_attachment(facts: "MailFacts", make: "Callable[[int, Attachment], Thing]") -> Values:
    found = []
    for number, one in enumerate(facts.parts.attachments):
        facts.breathe()
        found.append(make(number, one))
    return tuple(found)


_MAKERS: "Mapping[str, Callable[[MailFacts, str], Values]]" = MappingProxyType(
    {
        "client_ip": _client_ip,
        "client_name": _client_name,
        "helo": _helo,
        "tls": _tls,
        "reverse_path": _reverse_path,
        "recipient": _recipient,
        "time": _time,
        "recipient_count": _recipient_count,
        "size": _size,
        "subject": _subject,
        "from": _from,
        "from_name": _from_name,
        "from_domain": _from_domain,
        "reply_to": _reply_to,
        "header": _header,
        "header_count": _header_count,
        "date_skew": _date_skew,
        "charset": _charset,
        "text": _text,
        "html": _html,
        "body": _body,
        "script": _script,
        "url": _url,
        "url_domain": _url_domain,
        "attachment.count": _attachment_count,
        "attachment.name": _attachment_name,
        "attachment.extension": _attachment_extension,
        "attachment.size": _attachment_size,
        "attachment.type": _attachment_type,
        "attachment.encrypted": _flag("encrypted"),
        "attachment.macro": _flag("macros"),
        "attachment.executable": _executable,
        "attachment.double_extension": _flag("double_extension"),
        "attachment.mismatch": _flag("mismatch"),
        "spf": _named("spf"),
        "dkim": _named("dkim"),
        "dmarc": _named("dmarc"),
        "virus": _virus,
        "dnsbl": _dnsbl,
        "filter": _result,
    }
)
