"""Domain names as mail uses them: one normal form for every comparison, one form for people.

``normalise_domain`` takes A-labels, U-labels or a mixture and returns the lower-case A-label form (RFC 5890
§2.3.2.1), so that ``例子.中国`` and ``XN--FSQU00A.xn--fiqs8s`` are one domain in addresses, configuration and DNS
questions. U-labels are mapped with UTS #46 (non-transitional) and then held to IDNA 2008 (RFC 5891).

Refused: an empty name, an empty label and so a trailing dot (RFC 5321 §2.3.5: names in SMTP carry none), labels over
63 and names over 255 octets, a hyphen at either end of a label, a last label of digits only (an IPv4 address without
its brackets; RFC 3696 §2), and whatever IDNA 2008 disallows.

Departures. An underscore is tolerated: RFC 5321's grammar has none, but DNS allows it (RFC 2181 §11), hosts named so
send mail, and Postfix takes it. A label that already begins with ``xn--`` is taken as LDH without decoding: names
registered under older rules (emoji domains) resolve and receive mail, and refusing them would lose it.
"""

import re
from functools import lru_cache

import idna

from gateway.smtp.limits import MAX_DOMAIN_OCTETS, MAX_LABEL_OCTETS


class DomainError(ValueError):
    """The text is not a domain name; the message says why, in terms of the rule broken."""


# RFC 5321 §4.1.2: sub-domain = Let-dig [Ldh-str]; "_" as said above.
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")


# 4,096 entries of at most 255 octets, about 2 MB: the domains of one busy worker's recent mail.
@lru_cache(maxsize=4096)
def normalise_domain(text: str) -> str:
    """Return the lower-case A-label form of ``text``; raise ``DomainError``."""
    name = text.lower() if text.isascii() else _mapped(text)
    # RFC 5321 §4.5.3.1.2
    if not name or len(name) > MAX_DOMAIN_OCTETS:
        raise DomainError("a domain has 1 to 255 octets")
    labels = [_a_label(label) for label in name.split(".")]
    if labels[-1].isdigit():
        raise DomainError("the last label of a domain is not a number; an IP address is written in brackets")
    result = ".".join(labels)
    if len(result) > MAX_DOMAIN_OCTETS:
        raise DomainError("a domain has at most 255 octets as A-labels")
    return result


@lru_cache(maxsize=4096)
def display_domain(domain: str) -> str:
    """Return the U-label form for people.

    A label that IDNA 2008 does not decode, and an address literal, stay as they are.
    """
    if "xn--" not in domain:
        return domain
    return ".".join(_u_label(label) for label in domain.split("."))


def _mapped(text: str) -> str:
    # Four octets of UTF-8 a character at most; beyond it nothing can be a domain, and the mapping need not be paid for.
    if len(text) > MAX_DOMAIN_OCTETS:
        raise DomainError("a domain has 1 to 255 octets")
    try:
        return idna.uts46_remap(text, std3_rules=False, transitional=False)
    except (idna.IDNAError, UnicodeError) as error:
        raise DomainError("the domain has a character that UTS #46 disallows") from error


def _a_label(label: str) -> str:
    if not label.isascii():
        return _encoded(label)
    if not label:
        raise DomainError("a domain has no empty label and no trailing dot")
    if len(label) > MAX_LABEL_OCTETS:
        raise DomainError("a label has at most 63 octets")
    if not _LABEL.fullmatch(label):
        raise DomainError("a label has letters, digits and inner hyphens only")
    return label


def _encoded(label: str) -> str:
    try:
        return idna.alabel(label).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError) as error:
        raise DomainError("the domain has a label that IDNA 2008 disallows") from error


def _u_label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return idna.ulabel(label)
    except (idna.IDNAError, UnicodeError):
        return label
