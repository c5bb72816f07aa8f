"""The subjects of conditions: what each is called, what kind of value it has, when it is known, what asking costs.

policies/README.md documents them; a test holds it to this table. A subject with a parameter is written
``header.NAME``; its canonical name has the parameter in lower case.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from gateway.rules.moment import Moment


class Kind(StrEnum):
    """What a subject's values are, which decides the operators."""

    TEXT = "text"
    ADDRESS = "address"
    DOMAIN = "domain"
    NETWORK = "IP address"
    COUNT = "number"
    SIZE = "size"
    SPAN = "duration"
    CLOCK = "time of day"
    FLAG = "true or false"


TEXTS = frozenset({Kind.TEXT, Kind.ADDRESS, Kind.DOMAIN})


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject.

    ``parameter`` is what stands behind the dot, "" for none; ``several`` whether it can have more than one value;
    ``raw`` whether ``raw_matches`` can be asked of it. ``cost`` orders what is asked: 0 is known, 1 a header field,
    3 the parts' names, 5 decoded text, 8 decoded attachments.
    """

    name: str
    kind: Kind
    moment: Moment
    cost: int
    meaning: str
    parameter: str = ""
    several: bool = False
    raw: bool = False


_ENVELOPE, _CONTENT, _RESULTS = Moment.ENVELOPE, Moment.CONTENT, Moment.RESULTS

_ALL = (
    Subject("client_ip", Kind.NETWORK, _ENVELOPE, 0, "the client's address"),
    Subject("client_name", Kind.DOMAIN, _ENVELOPE, 0, "the client's name in DNS, where it is known"),
    Subject("helo", Kind.DOMAIN, _ENVELOPE, 0, "what the client calls itself in EHLO or HELO"),
    Subject("tls", Kind.TEXT, _ENVELOPE, 0, "the version of TLS, such as TLSv1.3; none without TLS"),
    Subject("reverse_path", Kind.ADDRESS, _ENVELOPE, 0, "MAIL FROM's address; none for the null reverse-path"),
    Subject("recipient", Kind.ADDRESS, _ENVELOPE, 0, "the recipient whose mail is judged"),
    Subject("time", Kind.CLOCK, _ENVELOPE, 0, "the time of day of reception"),
    Subject("recipient_count", Kind.COUNT, _CONTENT, 0, "how many recipients the message has"),
    Subject("size", Kind.SIZE, _CONTENT, 0, "the message's octets"),
    Subject("subject", Kind.TEXT, _CONTENT, 1, "the Subject field, decoded", raw=True),
    Subject("from", Kind.ADDRESS, _CONTENT, 1, "the authors' addresses in the From field", several=True),
    Subject("from_name", Kind.TEXT, _CONTENT, 1, "the authors' display names in the From field", several=True),
    Subject("from_domain", Kind.DOMAIN, _CONTENT, 1, "the domains of the authors' addresses", several=True),
    Subject("reply_to", Kind.ADDRESS, _CONTENT, 1, "the addresses of the Reply-To field", several=True),
    Subject(
        "header", Kind.TEXT, _CONTENT, 1, "the values of one header field, decoded", "NAME", several=True, raw=True
    ),
    Subject(
        "header_count", Kind.COUNT, _CONTENT, 1, "how many header fields there are, or how many of one name", "NAME"
    ),
    Subject("date_skew", Kind.SPAN, _CONTENT, 1, "the Date field less the time of reception; positive is the future"),
    Subject("charset", Kind.TEXT, _CONTENT, 3, "the charsets that the text parts declare", several=True),
    Subject("text", Kind.TEXT, _CONTENT, 5, "what is read: each text part, HTML as text", several=True, raw=True),
    Subject("html", Kind.TEXT, _CONTENT, 5, "each HTML part with its mark-up", several=True, raw=True),
    Subject("body", Kind.TEXT, _CONTENT, 6, "text and, beside it, attached text files", several=True, raw=True),
    Subject("script", Kind.TEXT, _CONTENT, 6, "the writing systems of subject and text, such as Han", several=True),
    Subject("url", Kind.TEXT, _CONTENT, 6, "each link in the text and HTML", several=True),
    Subject("url_domain", Kind.DOMAIN, _CONTENT, 6, "each link's host and its registrable domain", several=True),
    Subject("attachment.count", Kind.COUNT, _CONTENT, 3, "how many attachments there are"),
    Subject("attachment.name", Kind.TEXT, _CONTENT, 3, "the names that readers show", several=True),
    Subject(
        "attachment.extension", Kind.TEXT, _CONTENT, 3, "the last extension of the name, without the dot", several=True
    ),
    Subject("attachment.size", Kind.SIZE, _CONTENT, 8, "the octets, decoded", several=True),
    Subject("attachment.type", Kind.TEXT, _CONTENT, 8, "what it is by content: kind, family, media type", several=True),
    Subject("attachment.encrypted", Kind.FLAG, _CONTENT, 8, "whether it needs a password", several=True),
    Subject("attachment.macro", Kind.FLAG, _CONTENT, 8, "whether a document has macros", several=True),
    Subject(
        "attachment.executable", Kind.FLAG, _CONTENT, 8, "whether it, or a file in it, runs when opened", several=True
    ),
    Subject(
        "attachment.double_extension",
        Kind.FLAG,
        _CONTENT,
        8,
        "whether the name is of the kind invoice.pdf.exe",
        several=True,
    ),
    Subject(
        "attachment.mismatch", Kind.FLAG, _CONTENT, 8, "whether the name promises another type than it is", several=True
    ),
    Subject("spf", Kind.TEXT, _RESULTS, 0, "the filter's result"),
    Subject("dkim", Kind.TEXT, _RESULTS, 0, "the filter's result", several=True),
    Subject("dmarc", Kind.TEXT, _RESULTS, 0, "the filter's result"),
    Subject("virus", Kind.TEXT, _RESULTS, 0, "the virus scanner's result"),
    Subject("dnsbl", Kind.TEXT, _RESULTS, 0, "the results for one DNS list", "ZONE", several=True),
    Subject("filter", Kind.TEXT, _RESULTS, 0, "any filter's results, by the filter's name", "NAME", several=True),
)

SUBJECTS = MappingProxyType({subject.name: subject for subject in _ALL})

# Whose `attachment.X` belong to one attachment: tests of several of them in one table hold for one and the same.
ATTACHMENT = "attachment"
# Subjects whose parameter may be left out.
OPTIONAL_PARAMETER = frozenset({"header_count", "dnsbl"})


def split(name: str) -> tuple[Subject, str]:
    """Return a canonical name's subject and parameter; KeyError for no subject's."""
    if name in SUBJECTS:
        return SUBJECTS[name], ""
    head, _, parameter = name.partition(".")
    return SUBJECTS[head], parameter
