"""Where backups are put together to be looked into: beside the data, where there is room for stores."""

import time
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from gateway.backup.errors import BackupError
from gateway.backup.sources import SCRATCH
from gateway.storage import free_octets

# What is older was left by a command that was killed: no drill takes as long.
_LEFT_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """``folder`` None: the system's temporary folder; ``floor_octets`` are always left free, for the mail."""

    folder: Path | None = None
    floor_octets: int = 0

    def room_for(self, octets: int) -> Path | None:
        """Return the folder, made and cleaned; BackupError when there is no room for so many octets."""
        if self.folder is None:
            return None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in self.folder.iterdir():
                if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
                    rmtree(left)
        except OSError as error:
            raise BackupError(f"{self.folder}: {error.strerror or error}") from error
        if (free := free_octets(self.folder)) - octets < self.floor_octets:
            wanted = f"{octets} are wanted, and {self.floor_octets} left free"
            raise BackupError(f"{self.folder}: {free} octets are free; {wanted}; --scratch names another folder")
        return self.folder


def scratch_of(data: Path, floor_octets: int) -> Scratch:
    """Return the scratch folder of a gateway's data folder."""
    return Scratch(folder=data / SCRATCH, floor_octets=floor_octets) if data.is_dir() else Scratch()
