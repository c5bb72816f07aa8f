"""What a filter says: values only (invariant 2)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One filter's result about one transaction.

    ``filter`` is the filter's name, ``result`` one of its declared result words, ``reason`` a short printable
    sentence for the journal, the trace and (when refused) the reply; ``detail`` further facts as pairs of text for
    evidence.
    """

    filter: str
    result: str
    reason: str = ""
    detail: tuple[tuple[str, str], ...] = ()


# RFC 8601 §2.7: the two words every filter may say beside its own.
TEMPERROR = "temperror"
PERMERROR = "permerror"
