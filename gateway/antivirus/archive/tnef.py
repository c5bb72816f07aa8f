"""TNEF, Outlook's winmail.dat (MS-OXTNEF): the files in it, each with its name, and messages within.

A stream of attributes: level, identifier, length, data, checksum. Outlook takes what it can read and so do we: a wrong
checksum is passed over, an attribute cut short gives what there is of it and is damage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from gateway.antivirus.archive.budget import Budget
from gateway.antivirus.archive.member import Member
from gateway.antivirus.archive.names import decode_name

SIGNATURE = b"\x78\x9f\x3e\x22"
# The signature and the legacy key.
_HEAD_OCTETS = 6
# MS-OXTNEF §2.1.3.1: attribute level, id and length; a checksum of two octets stands behind the data.
_ATTRIBUTE = Struct("<BII")
_CHECKSUM_OCTETS = 2
_LEVELS = frozenset({1, 2})
# §2.1.3.4: what begins an attachment, its old short name, its octets, and its properties with messages within.
_REND_DATA, _TITLE, _DATA, _PROPERTIES = 0x00069002, 0x00018010, 0x0006800F, 0x00069005


@dataclass(slots=True)
class _File:
    """One attachment as its attributes come; the name may stand behind the octets."""

    name: str = ""
    octets: bytes | None = None
    damaged: str = ""

    def member(self) -> Iterator[Member]:
        if self.octets is not None:
            yield Member(name=self.name, octets=self.octets, opaque=True, damaged=self.damaged)


def read_tnef(octets: bytes, budget: Budget) -> Iterator[Member]:
    """Yield each attachment; a message within is a TNEF again, without a name."""
    file = _File()
    at = _HEAD_OCTETS
    while at + _ATTRIBUTE.size <= len(octets):
        level, identifier, length = _ATTRIBUTE.unpack_from(octets, at)
        begin = at + _ATTRIBUTE.size
        at = begin + length + _CHECKSUM_OCTETS
        if level not in _LEVELS:
            # Behind the last attribute, where relays put octets of their own: nothing that any reader takes for a file.
            yield Member(name="rest", octets=octets[at - length - _CHECKSUM_OCTETS - _ATTRIBUTE.size :], opaque=True)
            break
        budget.entry()
        if identifier == _REND_DATA:
            yield from file.member()
            file = _File()
        elif identifier == _TITLE:
            file.name = decode_name(octets[begin : begin + length].partition(b"\0")[0])
        elif identifier == _DATA:
            # A second one without a beginning between is a file of its own.
            if file.octets is not None:
                yield from file.member()
                file = _File(name=file.name)
            file.octets = octets[begin : begin + length]
            file.damaged = "cut short" if begin + length > len(octets) else ""
            budget.unpacked(len(file.octets))
        elif identifier == _PROPERTIES:
            yield from _within(octets[begin : begin + length], budget)
    yield from file.member()


def _within(properties: bytes, budget: Budget) -> Iterator[Member]:
    """Yield the message in an attachment's properties (PidTagAttachDataObject): a TNEF behind the interface's id."""
    found = properties.find(SIGNATURE)
    if found >= 0:
        budget.unpacked(len(properties) - found)
        yield Member(name="message.tnef", octets=properties[found:], opaque=True)
