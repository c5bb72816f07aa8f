"""MIME by octet offset (RFC 2045, RFC 2046, RFC 2183, RFC 2231): where each part lies, not what it says.

``parse(content)`` gives a ``MimeTree``: every part with the exact ranges of its header and body, in the order of the
octets. Nothing is decoded, copied or re-serialised, so that a part can be cut out and every other octet stays.
``content.mime`` is the tree with the default limits, scanned once.

The promise: it never raises on any input (OSError when a spilled content cannot be read), takes time linear in the
octets, and ``tree.ranges()`` partitions them. A limit that was reached stands in ``tree.truncated``: whatever lies
beyond was not looked at, and unknown is never clean.

Readers of mail differ. ``parse`` reads as most of them do (``habits.Habits``); what others would read otherwise is
named in ``tree.ambiguities``, and ``readings.readings`` gives every other reading, for the scanner that must see what
any of them shows. ``readings.leaves`` walks all leaves, through encoded messages too.

Refused: nothing. Departures from the RFCs, all towards what mail clients take, are at the lines that make them.
"""

from gateway.mail.mime.habits import Habits
from gateway.mail.mime.limits import MimeLimits
from gateway.mail.mime.part import MimePart, MimeTree, Range
from gateway.mail.mime.scanner import parse

__all__ = ["Habits", "MimeLimits", "MimePart", "MimeTree", "Range", "parse"]
