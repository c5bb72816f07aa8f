"""A mail kept as a file, attached as any file is or put into an archive: its parts, by every reading there is.

A mail client opens it as a mail. A scanner reads it too, by a reading of its own, and knows fewer kinds of archive.
"""

from collections.abc import Iterator

from gateway.antivirus.archive.budget import Budget, LimitReachedError
from gateway.antivirus.archive.member import Member
from gateway.mail.content import Content
from gateway.mail.mime.readings import readings


def read_mail(octets: bytes, budget: Budget) -> Iterator[Member]:
    """Yield each part, decoded in every way that is known; parts without a name have their type's."""
    for reading in readings(Content(octets)):
        for leaf in reading.leaves:
            budget.entry()
            decoded = leaf.decode()
            if decoded.truncated:
                raise LimitReachedError("decoded")
            for data in dict.fromkeys((decoded.octets, *leaf.alternatives())):
                if data:
                    budget.unpacked(len(data))
                    yield Member(name=leaf.part.filename or leaf.part.media_type, octets=data, opaque=True)
        if reading.truncated:
            raise LimitReachedError(reading.truncated)
