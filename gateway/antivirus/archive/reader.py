"""The one door to libarchive: every other kind of archive, and encrypted zips with a password. Runs in the child only.

libarchive is C and reads what attackers write: that is why it runs in a process with limits, and why nothing it says
is taken for more than a name, some octets, or a failure.
"""

import logging
from collections.abc import Iterator, Sequence
from ctypes import create_string_buffer, string_at
from typing import Any

import libarchive
from libarchive import ffi
from libarchive.exception import ArchiveError

from gateway.antivirus.archive.budget import Budget
from gateway.antivirus.archive.kinds import KNOWN_TO_CLAMD, STREAMS
from gateway.antivirus.archive.member import Member
from gateway.antivirus.archive.names import decode_name

_BLOCK_OCTETS = 256 * 1024
# Asked by name: "all" would take any text for an mtree and any octets for raw.
_FORMATS = {
    "7z": "7zip",
    "rar": "all",
    "tar": "tar",
    "cab": "cab",
    "iso": "iso9660",
    "ar": "ar",
    "xar": "xar",
    "cpio": "cpio",
    "lha": "lha",
}
# libarchive's own names for an entry it cannot read without a password.
_WANTS_PASSWORD = ("passphrase", "encrypt")
_entry_is_encrypted = ffi.ffi("entry_is_encrypted", [ffi.c_archive_entry_p], ffi.c_int)
# It writes a warning for every oddity; what counts is in the report.
logging.getLogger("libarchive").disabled = True


def read_archive(octets: bytes, kind: str, budget: Budget) -> Iterator[Member]:
    """Yield the entries of an archive of ``kind``; of a compressed stream the tar in it, or its one content."""
    if kind in STREAMS:
        yield from _read_stream(octets, kind, budget)
        return
    yield from _read(octets, _FORMATS[kind], budget, opaque=kind not in KNOWN_TO_CLAMD)


def _read_stream(octets: bytes, kind: str, budget: Budget) -> Iterator[Member]:
    """Yield what a compressed stream holds, under no name; a tar in it is found as such when it is looked into."""
    for member in _read(octets, "raw", budget, opaque=kind not in KNOWN_TO_CLAMD, stream=kind):
        # What it does not recognise behind the first octets it gives as it is.
        as_it_is = member.octets == octets
        damaged = "no stream" if as_it_is else member.damaged
        yield Member(name="", octets=None if as_it_is else member.octets, opaque=member.opaque, damaged=damaged)


def _read(
    octets: bytes, form: str, budget: Budget, *, opaque: bool, password: bytes | None = None, stream: str = "none"
) -> Iterator[Member]:
    # One layer at a time: for some kinds of stream libarchive starts programs, which a stream within must not choose.
    try:
        with libarchive.memory_reader(octets, form, stream, passphrase=password) as archive:
            for entry in archive:
                budget.entry()
                if entry.isdir:
                    continue
                yield _member(entry, budget, opaque=opaque)
    except ArchiveError as error:
        wants = any(word in str(error).lower() for word in _WANTS_PASSWORD)
        yield Member(name="", encrypted=wants, damaged="" if wants else _reason(error))


def _member(entry: Any, budget: Budget, *, opaque: bool) -> Member:
    name = _name(entry)
    encrypted = bool(_entry_is_encrypted(entry._entry_p))  # noqa: SLF001 - the only way to ask
    made: list[bytes] = []
    damaged = ""
    try:
        for block in _blocks(entry):
            budget.unpacked(len(block))
            made.append(block)
    except ArchiveError as error:
        if any(word in str(error).lower() for word in _WANTS_PASSWORD):
            return Member(name=name, encrypted=True)
        damaged = _reason(error)
    if encrypted and damaged:
        # The wrong password: ZIP's own check lets one of 256 pass, and the sum at the end tells.
        return Member(name=name, encrypted=True)
    octets = b"".join(made)
    return Member(
        name=name,
        octets=octets,
        encrypted=encrypted,
        unlocked=encrypted,
        opaque=opaque or encrypted,
        damaged=damaged,
    )


def _blocks(entry: Any) -> Iterator[bytes]:
    """Yield an entry's octets; ArchiveError at the end also for what libarchive only warns of, such as a wrong sum.

    libarchive-c's own loop takes the number of a warning for a length, and yields what the buffer held before.
    """
    buffer = create_string_buffer(_BLOCK_OCTETS)
    warning = ""
    while count := ffi.read_data(entry._archive_p, buffer, _BLOCK_OCTETS):  # noqa: SLF001 - what libarchive-c reads by
        if count > 0:
            yield string_at(buffer, count)
        elif warning:
            break
        else:
            # Behind a warning there may be more of the data.
            warning = _text(ffi.error_string(entry._archive_p))  # noqa: SLF001 - as above
    if warning:
        raise ArchiveError(warning)


def _text(said: bytes | None) -> str:
    return (said or b"a warning").decode("utf-8", "replace")


def unlock_zip(octets: bytes, passwords: Sequence[str], budget: Budget) -> list[Member]:
    """Return the entries of an encrypted zip that one of the passwords opens; [] when none does."""
    for password in passwords:
        with budget.trial():
            members = [
                m
                for m in _read(octets, "zip", budget, opaque=True, password=password.encode())
                if m.encrypted or m.damaged
            ]
        if members and all(member.unlocked and not member.damaged for member in members):
            for member in members:
                budget.unpacked(len(member.octets or b""))
            return members
    return []


def _name(entry: Any) -> str:
    raw = ffi.entry_pathname(entry._entry_p)  # noqa: SLF001 - the octets, before anybody guesses at them
    if raw:
        return decode_name(raw)
    # What is stored as UTF-16 (7z, rar) has no octets in the C locale.
    return str(entry.pathname or "")


def _reason(error: ArchiveError) -> str:
    return "".join(c for c in str(error.msg or error) if c.isprintable())[:100] or "damaged"
