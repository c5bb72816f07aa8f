"""A merged configuration as TOML text, each key with the file and line it came from."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.config.flat import leaves
from gateway.config.layers import BUILT_IN, Origin
from gateway.config.problem import Path, dotted, quoted, quoted_key

Origins = Callable[[Path], Origin]

# Where the comments begin when the keys leave room.
COMMENT_COLUMN = 48


def toml_text(table: Mapping[str, Any], origins: Origins, *, defaults: bool) -> str:
    """Return TOML that reads back as ``table``; without ``defaults`` only what a file sets."""
    return "\n".join(_lines(table, (), origins, defaults=defaults)).strip("\n") + "\n"


def key_list(table: Mapping[str, Any], origins: Origins, *, defaults: bool) -> list[dict[str, Any]]:
    """Return the same for programs: key, value, file and line (0 for a built-in) of each."""
    found = ((path, value, origins(path)) for path, value in leaves(table))
    return [
        {"key": dotted(path), "value": value, "file": origin.file, "line": origin.line}
        for path, value, origin in found
        if defaults or origin is not BUILT_IN
    ]


def toml_value(value: Any) -> str:
    """Return one value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{quoted_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return repr(value)


def _lines(table: Mapping[str, Any], path: Path, origins: Origins, *, defaults: bool) -> Iterator[str]:
    for key, value in table.items():
        origin = origins((*path, key))
        if not _is_table(value) and not _is_tables(value) and (defaults or origin is not BUILT_IN):
            yield f"{f'{quoted_key(key)} = {toml_value(value)}':<{COMMENT_COLUMN}} # {origin}"
    for key, value in table.items():
        if _is_table(value):
            body = list(_lines(value, (*path, key), origins, defaults=defaults))
            # A table that holds tables only needs no header of its own.
            if body and body[0]:
                yield from ("", f"[{_header((*path, key))}]")
            yield from body
        elif _is_tables(value):
            for index, element in enumerate(value):
                yield from ("", f"[[{_header((*path, key))}]]")
                yield from _lines(element, (*path, key, index), origins, defaults=defaults)


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and _is_table(value[0])


def _header(path: Path) -> str:
    return ".".join(quoted_key(part) for part in path if isinstance(part, str))
