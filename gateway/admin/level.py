"""How loud a log line is, and what is said of an event before it is one."""

from enum import IntEnum
from typing import Any

Described = tuple["Level", dict[str, Any], str]
"""Level, fields in order, and the text for people."""


class Level(IntEnum):
    """``log.level``; the numbers are those of the standard library."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40

    @property
    def word(self) -> str:
        """The word of the configuration and of the line."""
        return self.name.lower()
