"""The facts about one file, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What is known of one file.

    ``kind`` is a short word for the content ("pdf", "pe", "docx", "zip"; "text" and "data" when nothing better is
    known, "empty"), ``media_type`` the type of that kind, ``family`` one of "executable", "script", "archive",
    "document", "image", "audio", "video", "font", "text", "data". ``extension`` is the name's last one in lower case
    without the dot, ``extensions`` all of them.
    """

    kind: str
    media_type: str
    family: str
    extension: str = ""
    extensions: tuple[str, ...] = ()
    # The extension, or the declared type, promises another kind than the content is.
    mismatch: bool = False
    # The content is a program, or the name is one that a desktop runs when it is opened.
    executable: bool = False
    archive: bool = False
    encrypted: bool = False
    macros: bool = False
    # A harmless extension in front of one that runs: "invoice.pdf.exe".
    double_extension: bool = False
    # The name turns its reading direction round: "gpj.exe" shown as "exe.jpg" (U+202E and its kin).
    rtl_override: bool = False
    # White space or dots behind the extension: "invoice.exe .".
    trailing: bool = False
    # Names of an archive's members, decoded, as far as they were read.
    members: tuple[str, ...] = ()
    # A member's name is one that a desktop runs.
    executable_member: bool = False
    # Which limit ended the reading, "" for none.
    truncated: str = ""
