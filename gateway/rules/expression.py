r"""A pattern as hyperscan may be asked for it: what RE2 finds, and perhaps more, never less.

Hyperscan speaks PCRE's language, which differs from RE2's in ``\s``, ``$``, ``^`` after a last line feed, Unicode
properties and case folding. So the pattern is not handed over as written: its tree (``gateway.rules.syntax``) is
written out in the few constructs that mean the same in both, and whatever is not one of them is widened: a set that
was not worked out, and a letter outside ASCII under ``(?i)``, stand for any character; assertions for nothing. A
regular expression has no "not" around its parts, so widening a part widens the whole.
"""

from collections.abc import Iterator

from gateway.rules.syntax import MAX_RUNE, Assertion, Chars, Choice, Node, Range, Repeat, Sequence, merged, parse

# Larger ones are large classes many times over; what they would save, compiling them costs.
MAX_CHARACTERS = 8_000

_ANYTHING = "(?s:.)"
_ALL: tuple[Range, ...] = ((0, MAX_RUNE),)
_SURROGATES = (0xD800, 0xDFFF)
_EDGES = {"begin": r"\A", "end": r"\z"}
# Blocks without case, whatever the version of Unicode: general punctuation; radicals, kana and Han; the planes of Han.
_CASELESS: tuple[Range, ...] = ((0x2000, 0x206F), (0x2E80, 0xA48F), (0x20000, 0x3FFFF))
_LAST_ASCII = 0x7F
# What RE2 takes for these under (?i) besides their other case: the Kelvin sign and the long s.
_FOREIGN_CASES = {"k": 0x212A, "s": 0x17F}


def expression(source: str, *, edges: bool) -> str | None:
    r"""Return a pattern that RE2 accepts, written for hyperscan; None when it could tell no texts apart.

    ``edges``: ``^`` and ``$`` count, which they may only where RE2 sees the same edges (``Pattern.reach``).
    """
    # \C is an octet, and may be a part of a character.
    tree = None if r"\C" in source else parse(source)
    if tree is None or _may_be_empty(tree):
        return None
    written = "".join(_written(tree, edges=edges))
    return written if len(written) <= MAX_CHARACTERS else None


def _may_be_empty(node: Node) -> bool:
    if isinstance(node, Chars):
        return False
    if isinstance(node, Assertion):
        return True
    if isinstance(node, Sequence):
        return all(map(_may_be_empty, node.parts))
    if isinstance(node, Choice):
        return any(map(_may_be_empty, node.parts))
    return node.low == 0 or _may_be_empty(node.part)


def _written(node: Node, *, edges: bool) -> Iterator[str]:
    if isinstance(node, Chars):
        yield _set(node)
    elif isinstance(node, Assertion):
        yield _EDGES.get(node.kind, "") if edges else ""
    elif isinstance(node, Sequence):
        for part in node.parts:
            yield from _written(part, edges=edges)
    elif isinstance(node, Choice):
        yield f"(?:{'|'.join(''.join(_written(part, edges=edges)) for part in node.parts)})"
    else:
        yield from _repeated(node, edges=edges)


def _repeated(node: Repeat, *, edges: bool) -> Iterator[str]:
    inner = "".join(_written(node.part, edges=edges))
    if inner and node.high != 0:
        yield f"(?:{inner}){{{node.low},{'' if node.high is None else node.high}}}"


def _set(node: Chars) -> str:
    ranges = node.ranges
    if ranges is None:
        return _ANYTHING
    if node.fold:
        ranges = _folded(ranges)
    ranges = tuple(_without_surrogates(ranges))
    if not ranges or ranges == tuple(_without_surrogates(_ALL)):
        # Nothing cannot be written, and anything is shorter so.
        return _ANYTHING
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return _rune(ranges[0][0])
    return f"[{''.join(_range(low, high) for low, high in ranges)}]"


def _range(low: int, high: int) -> str:
    return _rune(low) if low == high else f"{_rune(low)}-{_rune(high)}"


def _rune(rune: int) -> str:
    return f"\\x{{{rune:x}}}"


def _folded(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """Return the ranges with every other case of their characters; everything, when that is not certain."""
    found: list[Range] = []
    for low, high in ranges:
        if high > _LAST_ASCII and not any(first <= low and high <= last for first, last in _CASELESS):
            return _ALL
        found.append((low, high))
        for rune in range(low, min(high, _LAST_ASCII) + 1):
            letter = chr(rune).lower()
            other = [ord(letter), ord(letter.upper()), *filter(None, [_FOREIGN_CASES.get(letter)])]
            found.extend((each, each) for each in other)
    return merged(tuple(found))


def _without_surrogates(ranges: tuple[Range, ...]) -> Iterator[Range]:
    # UTF-8 has none, and hyperscan refuses them.
    first, last = _SURROGATES
    for low, high in ranges:
        if low < first:
            yield low, min(high, first - 1)
        if high > last:
            yield max(low, last + 1), high
