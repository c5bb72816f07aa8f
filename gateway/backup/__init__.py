"""Backups: everything the gateway needs, saved while mail flows, provable and restorable as a whole (contract.md §7).

README.md beside this file is the operator's page. How it hangs together:

    sources    what there is to save: data, configuration, keys
    capture    one run: databases by SQLite's online backup interface, files as they are, cut into chunks
    packs      chunks of a run in a few large files          frames    compressed, encrypted, with a digest each
    manifest   what a run saved, and where each chunk lies   repository    runs in chains: a full one and its increments
    restore    a whole, or parts of it                       verify    every octet read back, every database opened
    retention  which chains may go, and why                  schedule  when the next run is due
    drill      a restore that is tried, with a gateway on it

Errors: ``BackupError`` says in one line why something was not done; ``DamagedError`` names file and place.
"""

from gateway.backup.errors import BackupError, BusyError, DamagedError

__all__ = ["BackupError", "BusyError", "DamagedError"]
