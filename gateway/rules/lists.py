"""The files of ``in_list``: one entry a line, ``#`` at the beginning of a line or behind white space is a comment."""

from collections.abc import Callable, Iterator

from gateway.policy.rule import Value

# A wrong file (a spreadsheet, a mailbox) is wrong on every line; the first ones tell.
MAX_BAD_LINES = 5


class ListError(ValueError):
    """The file has lines that are no entries; the message names the first ones."""


def entries(text: str, entry: Callable[[str], Value]) -> tuple[Value, ...]:
    """Return the entries, each once, in order; ``entry`` reads one or raises ``ValueError``."""
    found: dict[Value, None] = {}
    bad: list[str] = []
    for number, line in _lines(text):
        try:
            found[entry(line)] = None
        except ValueError as error:
            bad.append(f"line {number}: {error}")
            if len(bad) > MAX_BAD_LINES:
                break
    if bad:
        more = "; and more lines like these" if len(bad) > MAX_BAD_LINES else ""
        raise ListError("; ".join(bad[:MAX_BAD_LINES]) + more)
    return tuple(found)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        written = line.strip()
        if not written.startswith("#"):
            entry = written.partition(" #")[0].partition("\t#")[0].strip()
            if entry:
                yield number, entry
