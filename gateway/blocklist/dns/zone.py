"""A DNS list as an administrator writes it, and as it is asked.

```toml
lists = [
  { zone = "zen.example", codes = { "127.0.0.[2-8]" = 6.0, "127.0.0.10-11" = 3.0 } },
  { zone = "list.example", score = 4.0 },                             # any code
  { zone = "allow.example", codes = { "127.0.*.[1-3]" = -3.0 } },     # an allow list
  { zone = "multi.example", codes = { "&8" = 5.0, "&64" = 2.5 } },    # a bit mask
]
```

The strongest of the codes that match counts; a code that no pattern matches is worth ``score``, and nothing where
that is not written. Answers that mean anything but a listing are errors whatever ``codes`` says (see ``reading``);
``errors`` names further ones. ``probe`` is an entry that the list must have, for lists without those of RFC 5782 §5;
``probe = "none"`` leaves out that half of the test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from math import isfinite

from gateway.blocklist.dns.codes import CodePattern, parse_code, parse_codes
from gateway.smtp.domain import normalise_domain

# Codes by which lists say that they do not answer us, or that the question was wrong. 127.255.255.0/24: Spamhaus.
# 127.0.0.1: URIBL, SURBL, and resolvers that block a name; RFC 5782 §5 keeps it out of the lists. …255: DNSWL
# (127.0.0.255, over quota), DBL (127.0.1.255) and ZRD (127.0.2.255) when asked for an address.
REFUSALS = parse_codes(("127.255.255.0/24", "127.0.0.1", "127.*.*.255"))
# Lists that answer with a bit mask say by the lowest bit that they refuse (SURBL, URIBL).
MASK_REFUSAL = parse_code("&1")

NO_PROBE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsList:
    """One list; see the module."""

    zone: str
    codes: Mapping[str, float] = field(default_factory=dict)
    score: float | None = None
    errors: tuple[str, ...] = ()
    probe: str = ""

    def __post_init__(self) -> None:
        if not self.zone or normalise_domain(self.zone) != self.zone:
            raise ValueError(f'zone = "{self.zone}": a domain name in lower case is wanted')
        if not self.codes and self.score is None:
            raise ValueError(f"{self.zone}: codes = {{ CODE = SCORE }} or score is wanted")
        for text in (*self.codes, *self.errors):
            parse_code(text)
        if not all(isfinite(score) for score in (*self.codes.values(), self.score or 0.0)):
            raise ValueError(f"{self.zone}: a score is a number")


class CompiledList:
    """A list ready to be asked: its patterns parsed once."""

    __slots__ = ("_errors", "_weights", "list", "zone")

    def __init__(self, dns_list: DnsList) -> None:
        self.list = dns_list
        self.zone = dns_list.zone
        self._weights = tuple((parse_code(text), score) for text, score in dns_list.codes.items())
        masks = (MASK_REFUSAL,) if any(pattern.mask for pattern, _ in self._weights) else ()
        self._errors: tuple[CodePattern, ...] = (*REFUSALS, *masks, *parse_codes(dns_list.errors))

    def is_error(self, code: IPv4Address) -> bool:
        """Tell whether a code says something other than a listing."""
        return any(pattern.matches(code) for pattern in self._errors)

    def weight(self, code: IPv4Address) -> float | None:
        """Return what a code is worth, None when nothing was written for it."""
        matching = [score for pattern, score in self._weights if pattern.matches(code)]
        return max(matching, key=abs) if matching else self.list.score
