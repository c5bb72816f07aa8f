"""CSV with named columns (RFC 4180, any usual separator), and JSON lines.

The first line of a CSV that is no comment names its columns. A JSON line is an object, or a text that is the entry;
``{"type": "metadata", …}`` lines, with which some feeds end, are passed over.
"""

import csv
import json
from collections.abc import Iterator

from gateway.blocklist.local.collected import Collected
from gateway.blocklist.local.fields import ENTRY, Fields, add_record

_COMMENTS = ("#", ";", "//")
_SEPARATORS = ",;\t|"
# A record of a list is short; a quotation mark that never closes must not swallow the file.
_FIELD_CHARACTERS = 8192


def read_csv(text: str, into: Collected, fields: Fields) -> None:
    """Read a whole text."""
    lines = _Numbered(text)
    head = next(lines, None)
    if head is None:
        return
    separator = max(_SEPARATORS, key=head.count)
    csv.field_size_limit(_FIELD_CHARACTERS)
    names = _cells(head, separator)
    places = fields.assigned(tuple(names))
    if ENTRY not in places:
        into.bad(lines.number, "the first line names no column that holds entries; name one with columns.entry", head)
        return
    reader = csv.reader(lines, delimiter=separator)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            into.bad(lines.number, f"not CSV: {error}")
            continue
        if row is None:
            return
        if any(cell.strip() for cell in row):
            record = {role: row[place] for role, place in places.items() if place < len(row)}
            add_record(into, lines.number, record)


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return []


class _Numbered(Iterator[str]):
    """The lines that are no comments and not blank, and the number of the last one given."""

    def __init__(self, text: str) -> None:
        self._lines = enumerate(text.split("\n"), 1)
        self.number = 0

    def __next__(self) -> str:
        for number, line in self._lines:
            self.number = number
            if line.strip() and not line.lstrip().startswith(_COMMENTS):
                # A carriage return within a line is no end of one; the csv module refuses it outside quotation marks.
                return line.rstrip("\r").replace("\r", " ")
        raise StopIteration


def read_json_lines(text: str, into: Collected, fields: Fields) -> None:
    """Read a whole text."""
    assigned: dict[tuple[str, ...], dict[str, int]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        line = _without_array(line.strip())  # noqa: PLW2901 - the line, trimmed
        if not line or line.startswith(("#", "//")):
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            into.bad(number, "not one JSON value on a line", line)
            continue
        if isinstance(value, str):
            add_record(into, number, {ENTRY: value})
        elif isinstance(value, dict):
            names = tuple(value)
            if names not in assigned:
                # Feeds have a handful of shapes; a hostile one does not fill the memory.
                assigned = assigned if len(assigned) < 1000 else {}  # noqa: PLR2004
                assigned[names] = fields.assigned(names)
            _add_object(into, number, value, assigned[names])
        else:
            into.bad(number, "an object or a text is wanted", line)


def _without_array(line: str) -> str:
    """Return a line without the signs of an array that has one record a line."""
    line = line.removesuffix(",")
    if line in {"[", "]"}:
        return ""
    if line.startswith(("[{", '["')):
        line = line[1:]
    return line[:-1].rstrip() if line.endswith(("}]", '"]')) else line


def _add_object(into: Collected, number: int, value: dict[str, object], places: dict[str, int]) -> None:
    if ENTRY not in places:
        if value.get("type") != "metadata":
            into.bad(number, "no field that holds an entry; name one with columns.entry", ", ".join(value))
        return
    texts = tuple(value.values())
    add_record(into, number, {role: _text(texts[place]) for role, place in places.items()})


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(item for item in value if isinstance(item, str))
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
