"""What libmagic says of contents that have no exact signature: the door to python-magic.

It is not asked about text: its rules for that search, and 64 KiB of line ends took 280 ms. Where the library is not
installed, nothing more is known of the rest than that it is data.
"""

from functools import cache
from types import ModuleType

from gateway.mail.filetype.kinds import BY_MEDIA_TYPE, KINDS

# Its rules look at the beginning, and 0.2 ms go by.
_LOOK_OCTETS = 8 * 1024
_TEXT_OCTETS = 4096

# Its words for kinds of ours.
_SYNONYMS = {
    "application/x-dosexec": "dos",
    "application/x-rar": "rar",
    "application/x-gzip": "gzip",
    "application/vnd.ms-office": "ole2",
    "application/CDFV2": "ole2",
    "application/x-sharedlib": "elf",
    "application/x-pie-executable": "elf",
    "application/x-object": "elf",
    "application/x-lzma": "xz",
    "image/x-ms-bmp": "bmp",
    "image/x-icon": "ico",
    "image/heic": "heif",
    "audio/x-wav": "wav",
    "audio/mpegADTSlayerIII": "mp3",
    "video/quicktime": "mp4",
}


def guessed(octets: bytes) -> tuple[str, str]:
    """Return kind and media type of octets that no signature names."""
    if _is_text(octets[:_TEXT_OCTETS]):
        return "text", KINDS["text"].media_type
    library = _library()
    named = ""
    if library is not None:
        try:
            named = str(library.from_buffer(octets[:_LOOK_OCTETS], mime=True))
        except (library.MagicException, UnicodeDecodeError, ValueError):
            named = ""
    kind = BY_MEDIA_TYPE.get(named) or _SYNONYMS.get(named) or "data"
    return kind, named or KINDS[kind].media_type


def _is_text(octets: bytes) -> bool:
    return not octets.translate(None, _TEXT)


_TEXT = bytes((*range(7, 14), 27, *range(32, 127), *range(128, 256)))


@cache
def _library() -> ModuleType | None:
    # Loading looks for a shared library, which the package does not bring along.
    try:
        import magic  # noqa: PLC0415 - as said
    except ImportError:
        return None
    return magic
