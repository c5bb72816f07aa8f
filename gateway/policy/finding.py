"""What a filter says: values only (invariant 2)."""

from dataclasses import dataclass, replace

from gateway.mail.rendition import Edit


@dataclass(frozen=True, slots=True)
class Finding:
    """One filter's result about one transaction.

    ``filter`` is the filter's name, ``result`` one of its declared result words, ``reason`` a short printable
    sentence for the journal, the trace and (when refused) the reply; ``detail`` further facts as pairs of text for
    evidence. ``weight`` multiplies the score that a policy gives to the result, for filters whose settings weigh what
    they find (a DNS list by its return codes): with a reaction of 1.0 the weight is the score. ``edits`` are what takes
    the evil out of the received octets: whoever gets the mail under a policy that asked this filter gets them applied.
    """

    filter: str
    result: str
    reason: str = ""
    detail: tuple[tuple[str, str], ...] = ()
    weight: float = 1.0
    edits: tuple[Edit, ...] = ()

    def editing(self, edits: tuple[Edit, ...]) -> "Finding":
        """Return the same finding with ``edits``."""
        return replace(self, edits=edits)


# What one filter says about one transaction: nothing, one thing or several.
Findings = Finding | tuple[Finding, ...] | None

# In the place of a filter's name: the custom rules, whose results are their names.
RULE = "rule"
# RFC 8601 §2.7: the two words every filter may say beside its own.
TEMPERROR = "temperror"
PERMERROR = "permerror"
