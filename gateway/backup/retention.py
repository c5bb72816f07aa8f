"""Which chains may go, and why (contract.md §7): kept for a month, locked accounts' data for 90 days after the lock.

A chain goes as a whole, so nothing that a kept increment needs is ever removed. It goes when its last run is older than
``keep`` and a newer chain is there; the newest chain never goes. For a locked account two runs hold everything that was
there at the lock: the last one before it and the first one after it. Their chains stay.

Who is locked stands in ``kept.json`` in the backup folder, beside what it protects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.backup.errors import BackupError
from gateway.backup.records import Records
from gateway.backup.repository import Repository, Run

NAME = "kept.json"
# contract.md §7.
LOCKED_SECONDS = 90 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAccount:
    """An account (a mailbox or a domain) that was locked; times are UTC seconds, ``who`` told us."""

    account: str
    locked_at: float
    until: float
    reason: str
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A chain that may go, and why."""

    chain: str
    why: str


def _records(repository: Repository) -> Records[KeptAccount]:
    return Records(repository.folder / NAME, KeptAccount)


def kept_accounts(repository: Repository) -> tuple[KeptAccount, ...]:
    """Return whose data are kept longer; DamagedError."""
    return _records(repository).read()


def keep_account(repository: Repository, account: KeptAccount) -> None:
    """Keep an account's data; of two locks each has its own 90 days. Waits for no run. BackupError."""
    with repository.noting():
        lock = (account.account, account.locked_at)
        others = [kept for kept in kept_accounts(repository) if (kept.account, kept.locked_at) != lock]
        _records(repository).write((*others, account))


def removable(
    finished: Mapping[Run, float], accounts: Sequence[KeptAccount], now: float, keep_seconds: float
) -> list[Removal]:
    """Return the chains that may go now; ``finished`` are all runs with the UTC second each began at."""
    chains = sorted({run.chain for run in finished})
    protected = {run.chain for kept in accounts if now < kept.until for run in _of_lock(finished, kept.locked_at)}
    found = []
    for chain in chains[:-1]:
        last = max(at for run, at in finished.items() if run.chain == chain)
        if now - last > keep_seconds and chain not in protected:
            days = (now - last) / 86_400
            found.append(
                Removal(chain=chain, why=f"its last run is {days:.1f} days old, {keep_seconds / 86_400:g} are kept")
            )
    return found


def _of_lock(finished: Mapping[Run, float], locked_at: float) -> list[Run]:
    """Return the runs that hold what was there at a lock."""
    before = [run for run, at in finished.items() if at <= locked_at]
    after = [run for run, at in finished.items() if at > locked_at]
    return [*sorted(before)[-1:], *sorted(after)[:1]]


def prune(repository: Repository, now: float, keep_seconds: float) -> list[Removal]:
    """Remove the chains that may go; return them with the reasons. BackupError."""
    with repository.writing():
        finished = {run: _began(repository, run) for run in repository.runs()}
        removals = removable(finished, kept_accounts(repository), now, keep_seconds)
        for removal in removals:
            repository.remove_chain(removal.chain)
    return removals


def _began(repository: Repository, run: Run) -> float:
    """Return when a run began; of one that cannot be read, of another key or damaged, when its manifest was written."""
    try:
        return repository.manifest(run).started_at
    except BackupError:
        return repository.manifest_path(run).stat().st_mtime
