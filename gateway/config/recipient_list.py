"""``recipients = "list:FILE"``: the mailboxes that exist, one a line.

``@domain`` stands for all of a domain, ``#`` at the beginning of a line or after white space begins a comment.
"""

from collections.abc import Iterator
from pathlib import Path

from gateway.config.fields import domain_name, mailbox
from gateway.config.problem import ConfigError, Problem
from gateway.config.source import Files

# A wrong file (a spreadsheet, a mailbox) has an error on every line; the first ones tell.
MAX_PROBLEMS = 20


class ListReader:
    """Reads the lists of one load, each file once; ``texts`` is what was read, by name."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self.texts: dict[str, str] = {}
        self._lists: dict[Path, frozenset[str]] = {}

    def read(self, path: Path) -> frozenset[str]:
        """Return the address keys and ``@domain`` entries; raise ``ConfigError`` with each bad line."""
        if path not in self._lists:
            self._lists[path] = _entries(str(path), self.text(path))
        return self._lists[path]

    def text(self, path: Path) -> str:
        """Return a file's text, which is now one of the snapshot's; raise ``ConfigError``."""
        name = str(path)
        if name not in self.texts:
            self.texts[name] = self._files.text(path)
        return self.texts[name]


def _entries(name: str, text: str) -> frozenset[str]:
    entries: set[str] = set()
    problems: list[Problem] = []
    for line, entry in _lines(text):
        try:
            entries.add(_entry(entry))
        except ValueError as error:
            problems.append(Problem(name, line, "", f"{error}: {entry[:80]}"))
    if len(problems) > MAX_PROBLEMS:
        more = f"and {len(problems) - MAX_PROBLEMS} more lines like these"
        problems[MAX_PROBLEMS:] = [Problem(name, problems[MAX_PROBLEMS].line, "", more)]
    if problems:
        raise ConfigError(problems)
    return frozenset(entries)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        # RFC 5322 atext has "#": a comment begins a line or follows white space.
        entry = line.strip() if not line.lstrip().startswith("#") else ""
        entry = entry.partition(" #")[0].partition("\t#")[0].strip()
        if entry:
            yield number, entry


def _entry(text: str) -> str:
    if text.startswith("@"):
        return "@" + domain_name(text[1:])
    return mailbox(text).key
