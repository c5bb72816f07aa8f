"""What a filter says: values only (invariant 2)."""

from dataclasses import replace

from gateway.mail.rendition import Edit
from gateway.value import value

# Octets of the received content: from, and to before.
Place = tuple[int, int]


@value()
class Finding:
    """One filter's result about one transaction.

    ``filter`` is the filter's name, ``result`` one of its declared result words, ``reason`` a short printable
    sentence for the journal, the trace and (when refused) the reply; ``detail`` further facts as pairs of text for
    evidence. ``weight`` multiplies the score that a policy gives to the result, for filters whose settings weigh what
    they find (a DNS list by its return codes): with a reaction of 1.0 the weight is the score. ``edits`` are what takes
    the evil out of the received octets: whoever gets the mail under a policy that asked this filter gets them applied.
    ``places`` are the octet ranges that it is about, where it is about nothing else. One that ``supersedes`` says all
    there is to say of its places: what others say of these alone counts no more.
    """

    filter: str
    result: str
    reason: str = ""
    detail: tuple[tuple[str, str], ...] = ()
    weight: float = 1.0
    edits: tuple[Edit, ...] = ()
    places: tuple[Place, ...] = ()
    supersedes: bool = False

    def editing(self, edits: tuple[Edit, ...]) -> "Finding":
        """Return the same finding with ``edits``."""
        return replace(self, edits=edits)

    def about(self, places: tuple[Place, ...]) -> "Finding":
        """Return the same finding as one about ``places`` only."""
        return replace(self, places=places)

    def superseding(self) -> "Finding":
        """Return the same finding as one that says all there is to say of its places."""
        return replace(self, supersedes=True)

    def is_within(self, places: tuple[Place, ...]) -> bool:
        """Tell whether it is about nothing but what lies in ``places``."""
        return bool(self.places) and all(
            any(first <= start and end <= last for first, last in places) for start, end in self.places
        )


# What one filter says about one transaction: nothing, one thing or several.
Findings = Finding | tuple[Finding, ...] | None

# In the place of a filter's name: the custom rules, whose results are their names.
RULE = "rule"
# RFC 8601 §2.7: the two words every filter may say beside its own.
TEMPERROR = "temperror"
PERMERROR = "permerror"
