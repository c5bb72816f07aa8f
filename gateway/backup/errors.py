"""What can go wrong with a backup, for people: each text names what, where and, if there is one, the way out."""


class BackupError(Exception):
    """It was not done, and nothing that was there before is worse for it."""


class BusyError(BackupError):
    """Another process works on the backup folder."""


class DamagedError(BackupError):
    """What is stored is not what was written; ``place`` is file and octet."""

    def __init__(self, place: str, why: str) -> None:
        self.place, self.why = place, why
        super().__init__(f"{place}: {why}")
