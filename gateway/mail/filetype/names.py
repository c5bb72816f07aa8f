r"""What a file's name says, and what it hides.

A desktop decides by the last extension what opening a file does, and shows the name in ways that deceive: extensions
that it hides, directions that characters turn round, white space that pushes the last extension out of sight, and
dots or spaces at the end that Windows drops.
"""

import re
from dataclasses import dataclass

from gateway.mail.filetype.kinds import PROMISED

# Longer than any file system's name (255), for names that are padded.
MAX_NAME = 1024
MAX_EXTENSIONS = 8

# What Windows, and Office within it, runs when it is opened: PATHEXT, script hosts, shortcuts, installers, control
# panels, help, add-ins, disk images of other systems. Compare Outlook's list of blocked attachments
# (https://support.microsoft.com/office/434752e1-02d3-4e90-9124-8b81e49a8519), without what people do send one another
# (certificates, mailboxes, web pages).
_RUNS = (
    "ade adp app appcontent-ms application appref-ms appx appxbundle apk bas bat cdxml chm cmd com command cpl csh "
    "deb desktop deskthemepack diagcab dll dmg elf exe fxp gadget hlp hpj hta htc inf ins iqy isp its jar jnlp js jse "
    "ksh library-ms lnk mad maf mag mam maq mar mas mau mav maw mcf mda mdb mde mdt mdw mdz mof msc msh msh1 msh1xml "
    "msh2 msh2xml mshxml msi msix msixbundle msp mst msu ocx ops osd pcd pif pkg pl plg prg ps1 ps1xml ps2 ps2xml "
    "psc1 psc2 psd1 psdm1 psm1 pyc pyo pyw pyz pyzw rdp reg rgs rpm run scf scr sct search-ms settingcontent-ms sh "
    "shb shs slk sys themepack udl url vb vbe vbp vbs vsmacros vsw vxd website workflow ws wsb wsc wsf wsh xbap xll xnk"
)
RUNS = frozenset(_RUNS.split())
# What people open without a thought: the first half of a double extension.
_OPENED = (
    "pdf doc docx xls xlsx ppt pptx txt rtf jpg jpeg png gif bmp tif tiff zip rar 7z mp3 mp4 avi mov csv html htm xml "
    "eml msg wav wps ofd odt ods ics"
)
_HARMLESS = frozenset(_OPENED.split())

# UAX #9 §2: characters that turn the direction of what follows. Not the marks that Hebrew and Arabic names have, nor
# U+202A, which Windows puts in front of a path that is copied from its dialogues.
_TURNS = re.compile("[\u202b\u202d\u202e\u2067\u2068]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\u061c\ufeff\x00-\x1f]")
# White space and what looks like it, and dots that are not full stops.
_EXTENSION = re.compile(r"[^.\s]{1,32}")
_BEHIND = re.compile(r"[\s.]$")
_PADDING = re.compile(r"[\s\u3164\u2800_]{5,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NameFacts:
    """What a name says: ``extensions`` in lower case, first to last, as a desktop takes them.

    ``trails``: white space or dots stand behind an extension that means something, where Windows drops them.
    """

    extensions: tuple[str, ...] = ()
    runs: bool = False
    double_extension: bool = False
    turns: bool = False
    trails: bool = False

    @property
    def extension(self) -> str:
        """The last one, "" for none."""
        return self.extensions[-1] if self.extensions else ""


def read_name(name: str) -> NameFacts:
    """Return what ``name`` says; a path's last component counts."""
    name = name[-MAX_NAME:] if len(name) > MAX_NAME else name
    turns = bool(_TURNS.search(name))
    # Windows drops dots and spaces at the end: "a.exe. ." is run as "a.exe"; "a.exe:$DATA" names the same octets.
    shown = _INVISIBLE.sub("", name).replace("\\", "/").rpartition("/")[2].partition(":")[0]
    plain = shown.rstrip(". ")
    pieces = plain.replace("\uff0e", ".").replace("\u2024", ".").split(".")[1:]
    extensions = tuple(piece.strip().lower() for piece in pieces[-MAX_EXTENSIONS:])
    extensions = tuple(piece for piece in extensions if _EXTENSION.fullmatch(piece))
    runs = bool(extensions) and extensions[-1] in RUNS
    before = extensions[-2] if len(extensions) > 1 else ""
    padded = runs and bool(_PADDING.search(plain))
    last = extensions[-1] if extensions else ""
    return NameFacts(
        extensions=extensions,
        runs=runs,
        double_extension=runs and (before in _HARMLESS or padded),
        turns=turns,
        trails=(runs or last in PROMISED) and bool(_BEHIND.search(shown)),
    )
