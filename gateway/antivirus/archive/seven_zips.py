"""The one door to py7zr: encrypted 7z archives with a password, which libarchive does not open. In the child only."""

from collections.abc import Sequence
from io import BytesIO

import py7zr
from py7zr.io import Py7zIO, WriterFactory

from gateway.antivirus.archive.budget import Budget, LimitReachedError
from gateway.antivirus.archive.member import Member


class _Kept(Py7zIO):
    """One entry as it is unpacked, counted by the budget."""

    def __init__(self, name: str, budget: Budget) -> None:
        self.name = name
        self.octets = BytesIO()
        self._budget = budget

    def write(self, s: bytes | bytearray) -> int:
        self._budget.unpacked(len(s))
        return self.octets.write(s)

    def read(self, size: int | None = None) -> bytes:
        return self.octets.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.octets.seek(offset, whence)

    def flush(self) -> None:
        """Nothing waits."""

    def size(self) -> int:
        return len(self.octets.getbuffer())


class _Entries(WriterFactory):
    """Keeps every entry, those of the same name too."""

    def __init__(self, budget: Budget) -> None:
        self.kept: list[_Kept] = []
        self._budget = budget

    def create(self, filename: str) -> Py7zIO:
        self._budget.entry()
        self.kept.append(_Kept(filename, self._budget))
        return self.kept[-1]


def unlock_7z(octets: bytes, passwords: Sequence[str], budget: Budget) -> list[Member]:
    """Return the entries of an encrypted 7z that one of the passwords opens to its end; [] when none does.

    Every entry's sum is checked. Deriving a key takes a tenth of a second, as 7-Zip means it to.
    """
    for password in passwords:
        with budget.trial():
            members = _opened(octets, password, budget)
        if members:
            for member in members:
                budget.entry()
                budget.unpacked(len(member.octets or b""))
            return members
    return []


def _opened(octets: bytes, password: str, budget: Budget) -> list[Member]:
    entries = _Entries(budget)
    try:
        with py7zr.SevenZipFile(BytesIO(octets), password=password) as archive:
            archive.extractall(factory=entries)
            # Data under attributes that it leaves out, and that other programs do not look at.
            if any(not file.emptystream and (file.is_directory or file.is_socket) for file in archive.files):
                return []
    except (MemoryError, LimitReachedError):
        raise
    except Exception:  # noqa: BLE001 - a wrong password makes octets that its decoders raise anything of
        return []
    return [
        Member(name=one.name, octets=one.octets.getvalue(), encrypted=True, unlocked=True, opaque=True)
        for one in entries.kept
    ]
