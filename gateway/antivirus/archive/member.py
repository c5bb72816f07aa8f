"""What a reader of one archive yields for each entry."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One entry: ``octets`` are None when they could not be read, for the reason in ``damaged`` or ``encrypted``.

    ``opaque``: a scanner that is given the whole archive may not see this.
    """

    name: str
    octets: bytes | None = field(default=None, repr=False)
    encrypted: bool = False
    unlocked: bool = False
    hidden: bool = False
    opaque: bool = False
    damaged: str = ""
    ambiguous: str = ""
