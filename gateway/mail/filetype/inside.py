"""What a look inside a container found: the value that every reader here returns."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """``kind`` is a better word for the container, "" for none; ``names`` its members', decoded."""

    kind: str = ""
    encrypted: bool = False
    macros: bool = False
    names: tuple[str, ...] = ()
    truncated: str = ""


NOTHING = Inside()
