"""Content and name together: ``inspect``."""

import re
from collections.abc import Callable

from gateway.mail.filetype.archives import read_7z, read_rar
from gateway.mail.filetype.facts import FileFacts
from gateway.mail.filetype.inside import NOTHING, Inside
from gateway.mail.filetype.kinds import KINDS, PROMISED
from gateway.mail.filetype.names import NameFacts, read_name
from gateway.mail.filetype.ole import read_ole
from gateway.mail.filetype.signatures import signed
from gateway.mail.filetype.unknown import guessed
from gateway.mail.filetype.zips import read_zip

# OpenPGP without its armour begins like much else; nothing is known of what such a file holds.
_PGP_NAMES = frozenset({"pgp", "gpg"})
# Names shown with a verdict; all that were read are judged.
MAX_NAMES = 200


def inspect(octets: bytes, name: str = "", declared_type: str = "") -> FileFacts:
    """Return the facts about a file of decoded ``octets`` that the sender calls ``name`` of type ``declared_type``.

    Never raises; linear in the octets, some microseconds for what has its own signature, 0.2 ms where libmagic is
    asked. ``name`` is as decoded, before invisible characters are removed: what turns its direction is a fact.
    """
    named = read_name(name)
    kind = signed(octets)
    media_type = ""
    if not kind:
        kind, media_type = guessed(octets)
    inside = _READERS.get(kind, _nothing)(octets)
    kind = inside.kind or kind
    known = KINDS[kind]
    return FileFacts(
        kind=kind,
        media_type=media_type or known.media_type,
        family=known.family,
        extension=named.extension,
        extensions=named.extensions,
        mismatch=_is_mismatch(kind, named, declared_type.lower()),
        executable=known.family in ("executable", "script") or named.runs,
        archive=known.family == "archive",
        encrypted=inside.encrypted or kind == "pgp" or (kind == "data" and named.extension in _PGP_NAMES),
        macros=inside.macros,
        double_extension=named.double_extension,
        rtl_override=named.turns,
        trailing=named.trails,
        members=inside.names[:MAX_NAMES],
        executable_member=any(read_name(member).runs for member in inside.names),
        truncated=inside.truncated,
    )


def _nothing(_: bytes) -> Inside:
    return NOTHING


# ISO 32000-1 §7.3.5: any character of a name may be written as a number sign and two digits.
_ENCRYPT = re.compile(
    rb"/"
    + b"".join(b"(?:%c|#%02[xX])".replace(b"%02[xX]", b"(?i:%02x)") % (c, c) for c in b"Encrypt")
    + rb"(?=[\s<(0-9/])"
)
# The trailer, or the cross-reference stream in its place, is at the end; in linearised files at the beginning too.
_PDF_LOOK = 1024 * 1024


def _read_pdf(octets: bytes) -> Inside:
    if len(octets) <= 2 * _PDF_LOOK:
        return Inside(encrypted=bool(_ENCRYPT.search(octets)))
    return Inside(encrypted=bool(_ENCRYPT.search(octets[:_PDF_LOOK]) or _ENCRYPT.search(octets[-_PDF_LOOK:])))


_READERS: dict[str, Callable[[bytes], Inside]] = {
    "zip": read_zip,
    "ole2": read_ole,
    "rar": read_rar,
    "7z": read_7z,
    "pdf": _read_pdf,
}

# Contents without a signature of their own: any of them may stand under any textual name.
_TEXTUAL = frozenset({"text", "html", "xml", "svg", "script", "url-shortcut", "encoded-script"})
# Extensions that programs use for whatever they like.
_LOOSE = frozenset(
    {"dat", "bin", "o", "a", "z", "et", "db", "img", "so", "lib", "sys", "com", "ai", "asc", "pkg", "one"}
)
_SEEN_OR_HEARD = ("image/", "audio/", "video/", "text/")


def _is_mismatch(kind: str, named: NameFacts, declared: str) -> bool:
    if kind == "empty":
        return False
    promised = PROMISED.get(named.extension, frozenset())
    if promised and named.extension not in _LOOSE and kind not in promised:
        return not (kind in _TEXTUAL and not promised.isdisjoint(_TEXTUAL))
    if kind in ("data", "text"):
        return False
    family = KINDS[kind].family
    # Senders name types loosely, but nobody calls a program or an archive a picture.
    return (declared.startswith(_SEEN_OR_HEARD) and family in ("executable", "archive")) or (
        declared == "application/pdf" and kind != "pdf"
    )
