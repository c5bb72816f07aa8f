"""Content and name together: ``inspect``."""

from gateway.mail.filetype.facts import FileFacts


def inspect(octets: bytes, name: str = "", declared_type: str = "") -> FileFacts:
    """Return the facts about a file of decoded ``octets`` that the sender calls ``name`` of type ``declared_type``."""
    extensions = tuple(name.lower().split(".")[1:])
    return FileFacts(
        kind="data" if octets else "empty",
        media_type=declared_type or "application/octet-stream",
        family="data",
        extension=extensions[-1] if extensions else "",
        extensions=extensions,
    )
