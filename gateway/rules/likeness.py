"""``similar_to``: does a name or domain pass itself off as another.

Names: the same or look-alike letters (``gateway.mail.text.confusable``), in any order of their words, or as many edits
away as their length allows. Domains: the same, but never for the domain itself or one below it, which is no
impersonation; compared label by label from the right, so that ``examp1e.com`` and ``example.corn`` are alike and
``example.com.evil.net``, which begins with the whole name, is too.
"""

from gateway.mail.text import confusable
from gateway.rules.values import domain_shown, fold

# Below this many characters an edit makes another name of it: 张伟 and 张玮, Ann and Anna.
_ONE_EDIT_FROM = 5
_TWO_EDITS_FROM = 12
# Longer display names and domains are nobody's; likeness costs the product of the lengths.
MAX_CHARACTERS = 128


def resembles_name(shown: str, wanted: str) -> bool:
    """Tell whether a name is the wanted one or looks like it."""
    if len(shown) > MAX_CHARACTERS:
        return False
    here, there = fold(shown), fold(wanted)
    if here == there or _sorted_words(here) == _sorted_words(there):
        return True
    return confusable.similar(here, there, _edits(there)) or confusable.similar(
        _sorted_words(here), _sorted_words(there), _edits(there)
    )


def resembles_domain(shown: str, wanted: str) -> bool:
    """Tell whether a domain looks like the wanted one without being it or below it."""
    if len(shown) > MAX_CHARACTERS:
        return False
    here, there = fold(domain_shown(shown)), fold(domain_shown(wanted))
    if here == there or here.endswith("." + there):
        return False
    if here.startswith(there + ".") or f".{there}." in here:
        return True
    ending = ".".join(here.split(".")[-1 - there.count(".") :])
    return confusable.similar(ending, there, _edits(there))


def _edits(text: str) -> int:
    return 2 if len(text) >= _TWO_EDITS_FROM else 1 if len(text) >= _ONE_EDIT_FROM else 0


def _sorted_words(text: str) -> str:
    return "".join(sorted(text.replace(",", " ").replace(".", " ").split()))
