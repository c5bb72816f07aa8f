"""Names of entries as a reader sees them. They are shown and judged by their ending; no path is ever made of one.

APPNOTE 4.4.4: a zip's names are UTF-8 when bit 11 is set and cp437 otherwise, which hardly any Chinese archiver obeys:
Windows writes GBK there, macOS UTF-8.
"""

# A name beyond this is cut when it is shown; no file system takes 255 octets more.
MAX_NAME_CHARACTERS = 255
_GUESSES = ("ascii", "utf-8", "gb18030")


def decode_name(raw: bytes, *, utf8: bool = False) -> str:
    """Return a name of unknown encoding; never raises."""
    for charset in ("utf-8",) if utf8 else _GUESSES:
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace") if utf8 else raw.decode("cp437")


def shown(name: str) -> str:
    """Return a name that does no harm in a log or a notice: unprintable characters escaped, not too long."""
    cut = name if len(name) <= MAX_NAME_CHARACTERS else f"{name[: MAX_NAME_CHARACTERS - 1]}…"
    if cut.isprintable():
        return cut
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in cut)
