"""``tidegate backup``: save everything, look at what is saved, restore it, prove it."""

import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from gateway.cli.auditing import put_on_record
from gateway.cli.backup_showing import print_list, size, summary, what_a_restore_gives, what_was_saved, when
from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, load_snapshot, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.backup.manifest import Manifest
    from gateway.backup.parts import Wanted
    from gateway.backup.repository import Repository, Run
    from gateway.backup.running import Outcome
    from gateway.config.snapshot import Snapshot

app = typer.Typer(no_args_is_help=True, help="Save everything, verify it, restore it.")

# sysexits.h EX_DATAERR, EX_IOERR, EX_TEMPFAIL and EX_CONFIG
_EXIT_DATA, _EXIT_IO, _EXIT_BUSY, _EXIT_CONFIG = 65, 74, 75, 78
_LOCKED_DAYS = 90

FolderOption = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="The backup folder, instead of the configuration's.")
]
KeyOption = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="Its key file, instead of the configuration's.")
]
RunArgument = Annotated[
    str, typer.Argument(metavar="[BACKUP]", help="A backup as `backup list` names it; default: the newest.")
]
ScratchOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Where to put databases for the time of it; default: beside the data."),
]
FastOption = Annotated[bool, typer.Option("--fast", help="As fast as it goes; mail beside it will feel it.")]
IntoOption = Annotated[Path, typer.Option("--into", metavar="DIR", help="An empty folder.")]


# Making ---------------------------------------------------------------------------------------------------------------


@app.command()
def init(folder: FolderOption = None, config: ConfigOption = None) -> None:
    """Make an empty folder a backup folder: only into such a one is anything saved."""
    from gateway.backup.repository import Repository

    where = folder or _settings_folder(config)
    _done(lambda: Repository.make(where))
    _done(lambda: _give_to_gateway(where, config))
    typer.echo(f"{where} is a backup folder now")


@app.command()
def key(file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that is not there yet.")]) -> None:
    """Make a key, to encrypt backups with; whoever loses it has lost them."""
    from gateway.backup.frames import new_key

    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    with os.fdopen(descriptor, "w", encoding="ascii") as opened:
        opened.write(new_key())
    typer.echo(f"{file} has a new key; keep a copy where neither this machine's nor the backup's end reaches it")


@app.command()
def run(
    *,
    full: Annotated[bool, typer.Option("--full", help="Save everything anew, whatever the plan says.")] = False,
    fast: FastOption = False,
    scheduled: Annotated[bool, typer.Option("--scheduled", hidden=True)] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Save everything while mail flows; then remove what is older than is kept, and send the folder elsewhere."""
    from gateway.backup.running import name, without_pace
    from gateway.cli.backup_telling import operator, tell

    snapshot = load_snapshot(config)
    if fast:
        snapshot = without_pace(snapshot)
    _as_owner(snapshot.config.data)
    who = "schedule" if scheduled else operator()
    outcome = _done(lambda: _save(snapshot, full, who))
    tell(snapshot.config.data, outcome.events)
    if not scheduled:
        put_on_record(snapshot.config.data, "backup run", name(outcome.manifest), [outcome.manifest.kind])
    if as_json:
        print_json(summary(outcome.manifest) | {"removed": [asdict(removal) for removal in outcome.removals]})
    else:
        typer.echo(f"{name(outcome.manifest)}: {what_was_saved(outcome.manifest)}")
        for removal in outcome.removals:
            typer.echo(f"removed {removal.chain}: {removal.why}")
    for omitted, why in outcome.manifest.omitted:
        typer.echo(f"left out: {omitted}: {why}", err=True)
    for problem in (*outcome.manifest.problems, *outcome.troubles):
        typer.echo(problem, err=True)
    if outcome.manifest.problems or outcome.troubles:
        raise typer.Exit(EXIT_NEGATIVE)


def _save(snapshot: "Snapshot", full: bool, who: str) -> "Outcome":
    from gateway.backup.errors import BackupError, BusyError
    from gateway.backup.running import failed, run_now
    from gateway.cli.backup_telling import tell
    from gateway.cli.progress import showing
    from gateway.clock import SystemClock
    from gateway.storage import StorageError

    clock = SystemClock()
    try:
        with showing("saving") as progress:
            return run_now(snapshot, clock, kind="full" if full else None, operator=who, progress=progress)
    except (BackupError, StorageError, OSError) as error:
        # The schedule tells of its own by itself; a run that finds another one at it has not failed.
        if who != "schedule" and not isinstance(error, BusyError):
            tell(snapshot.config.data, [failed(clock.stamp().utc, str(error))])
        raise


@app.command()
def keep(
    account: Annotated[str, typer.Argument(help="The mailbox or domain that was locked.")],
    *,
    locked: Annotated[str, typer.Option(metavar="DATE", help="When: 2026-11-22, or with a time; default: now.")] = "",
    reason: Annotated[str, typer.Option(help="Why it was locked.")],
    folder: FolderOption = None,
    config: ConfigOption = None,
) -> None:
    """Keep a locked account's data: the backups that hold them stay until 90 days after the lock."""
    from gateway.backup.retention import LOCKED_SECONDS, KeptAccount, keep_account
    from gateway.cli.backup_telling import operator
    from gateway.clock import SystemClock

    at = _moment_of(locked) if locked else SystemClock().stamp().utc
    repository = _repository(folder, None, config)
    kept = KeptAccount(
        account=account.strip().casefold(), locked_at=at, until=at + LOCKED_SECONDS, reason=reason, who=operator()
    )
    _done(lambda: keep_account(repository, kept))
    typer.echo(f"backups with the data of {kept.account} stay until {when(kept.until)}")
    if folder is None:
        from gateway.cli.reach import data_folder

        changes = [f"locked {when(at)}: {reason}", f"until {when(kept.until)}"]
        put_on_record(data_folder(config), "backup keep", kept.account, changes)


# Looking --------------------------------------------------------------------------------------------------------------


@app.command("list")
def list_backups(
    folder: FolderOption = None, key: KeyOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Print every backup: what it would give back, its size, its deadline; drills and accounts kept longer."""
    from gateway.backup.drill import drills
    from gateway.backup.retention import kept_accounts

    repository = _repository(folder, key, config)
    runs = _done(repository.runs)
    found: list[Manifest] = []
    damaged: list[str] = []
    locked: list[str] = []
    for each in runs:
        _read(repository, each, found, damaged, locked)
    if locked and not found:
        fail(locked[0])
    tried, accounts = _done(lambda: drills(repository)), _done(lambda: kept_accounts(repository))
    if as_json:
        print_json(
            {
                "backups": [summary(manifest) for manifest in found],
                "damaged": damaged,
                "other_key": locked,
                "drills": [asdict(each) | {"passed": each.passed} for each in tried],
                "kept": [asdict(each) for each in accounts],
            }
        )
    else:
        print_list(found)
        for each_drill in tried[-1:]:
            result = "passed" if each_drill.passed else f"failed: {'; '.join(each_drill.problems)}"
            typer.echo(f"last drill {when(each_drill.started_at)} on {each_drill.run}: {result}")
        for account in accounts:
            typer.echo(f"kept until {when(account.until)}: {account.account}, locked {when(account.locked_at)}")
    for text in (*damaged, *locked):
        typer.echo(text, err=True)
    if damaged:
        raise typer.Exit(_EXIT_DATA)
    if not runs:
        fail(f"{repository.folder} has no finished backup")
    if locked:
        raise typer.Exit(EXIT_NEGATIVE)


@app.command()
def verify(
    backup: RunArgument = "",
    *,
    fast: FastOption = False,
    scratch: ScratchOption = None,
    folder: FolderOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every octet back, check digests and chains, open every database; exit 65 when anything is damaged.

    At the pace of a run, but with --folder or --fast.
    """
    from gateway.backup.pace import Aside
    from gateway.backup.scratch import Scratch, scratch_of
    from gateway.backup.verify import Verification
    from gateway.cli.progress import showing

    repository = _repository(folder, key, config) if folder or fast else _repository_at_pace(key, config)
    where = Scratch(folder=scratch)
    if scratch is None and folder is None:
        settings = load_snapshot(config).config
        _as_owner(settings.data)
        where = scratch_of(settings.data, settings.limits.free_disk_floor)
    with showing("reading") as progress, Aside(repository.pace) as aside:
        found = _done(lambda: aside.do(lambda: Verification(repository, progress).run(backup, where)))
    if as_json:
        print_json(
            {
                "backup": found.run,
                "sound": found.sound,
                "runs": found.runs,
                "octets": found.octets,
                "databases": found.databases,
                "damages": [asdict(damage) for damage in found.damages],
                "other_key": list(found.locked),
                "notes": list(found.notes),
                "restores": summary(found.manifest) if found.manifest else None,
            }
        )
    else:
        typer.echo(f"{found.runs} backups, {size(found.octets)} read, {found.databases} databases opened")
        if found.manifest is not None:
            typer.echo(f"a restore of {found.run} gives {what_a_restore_gives(found.manifest)}")
    for damage in found.damages:
        needed = f"; needed by {', '.join(damage.needed_by)} in {', '.join(damage.runs)}" if damage.needed_by else ""
        typer.echo(f"DAMAGED {damage.place}: {damage.why}{needed}", err=True)
    for chain in found.locked:
        typer.echo(f"{chain} has another key (--key FILE): the octets there were checked, not what they hold", err=True)
    for note in found.notes:
        typer.echo(note, err=True)
    if not found.sound:
        raise typer.Exit(_EXIT_DATA)
    if found.locked:
        raise typer.Exit(EXIT_NEGATIVE)


# Restoring ------------------------------------------------------------------------------------------------------------


@app.command()
def restore(
    backup: RunArgument = "",
    *,
    into: IntoOption,
    message: Annotated[list[str] | None, typer.Option(metavar="ID", help="Only this message; repeatable.")] = None,
    account: Annotated[str, typer.Option(metavar="ADDRESS", help="Only this account's mail, log and record.")] = "",
    incident: Annotated[
        list[int] | None, typer.Option(metavar="NUMBER", help="Only this incident, with its evidence; repeatable.")
    ] = None,
    path: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Only these saved files.")] = None,
    surviving: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What is left of the old data folder: its ledger says what was delivered."),
    ] = None,
    salvage: Annotated[bool, typer.Option("--salvage", help="Leave out what is damaged, and name it.")] = False,
    folder: FolderOption = None,
    key: KeyOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore everything into an empty folder, or a part of it."""
    repository = _repository(folder, key, config)
    chosen = _done(lambda: repository.find(backup))
    if folder is None:
        numbers = [f"incident {number}" for number in incident or ()]
        what = [*(message or ()), *([account] if account else ()), *numbers, *(path or ())] or ["everything"]
        _record_restore(config, chosen, f"{', '.join(what)} into {into}")
    if message or account or incident or path:
        from gateway.backup.parts import Wanted

        wanted = Wanted(
            trace_ids=tuple(message or ()), account=account, paths=tuple(path or ()), incidents=tuple(incident or ())
        )
        if folder is None and load_snapshot(config).config.backup.rate:
            from gateway.backup.pace import give_way

            # No more than that: somebody waits for it.
            give_way()
        _restore_parts(repository, chosen, into, wanted, as_json)
    else:
        _restore_all(repository, chosen, into, surviving, salvage, as_json)


def _record_restore(config: Path | None, chosen: "Run", what: str) -> None:
    """Put who takes mail out of a backup on record before it is out; on the day there is no journal to write it to."""
    from gateway.cli.reach import data_folder

    data = data_folder(config)
    if data.is_dir():
        put_on_record(data, "backup restore", str(chosen), [what])


def _restore_all(
    repository: "Repository", chosen: "Run", into: Path, surviving: Path | None, salvage: bool, as_json: bool
) -> None:
    from gateway.backup.restore import Wishes, restore
    from gateway.cli.progress import showing

    with showing("restoring") as progress:
        wishes = Wishes(surviving=surviving, salvage=salvage)
        done = _done(lambda: restore(repository, chosen, into, progress, wishes))
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(f"{done.run} is in {into}: {done.files} files, {size(done.octets)}")
        if done.known:
            typer.echo(f"{done.known} copies were taken out of the queue: they are known as ended")
        typer.echo(f"what came after {when(done.complete_until)} is not in it")
        typer.echo("next: put data/ and configuration/ in their places and start `tidegate serve`")
    for lost, why in done.lost:
        typer.echo(f"LOST {lost}: {why}", err=True)
    if done.lost:
        raise typer.Exit(EXIT_NEGATIVE)


def _restore_parts(repository: "Repository", chosen: "Run", into: Path, wanted: "Wanted", as_json: bool) -> None:
    from gateway.backup.parts import Who, extract
    from gateway.cli.backup_telling import operator
    from gateway.clock import SystemClock

    who = Who(operator(), SystemClock().stamp().utc)
    done = _done(lambda: extract(repository, chosen, into, wanted, who))
    if as_json:
        print_json(asdict(done) | {"backup": str(chosen)})
    else:
        found = f"{done.messages} messages, {done.events} events, {done.delays} delays, {done.files} files"
        typer.echo(f"from {chosen} into {into}: {found}, {done.records} records, {done.incidents} incidents")
    if done.nothing:
        fail(f"{chosen} has nothing of it")


@app.command()
def drill(
    backup: RunArgument = "",
    *,
    fast: FastOption = False,
    scratch: ScratchOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a temporary folder and start a gateway on it that delivers nothing; put it on record.

    At the pace of a run, but with --fast.
    """
    from gateway.backup import running
    from gateway.backup.drill import drill as tried
    from gateway.backup.drill import record
    from gateway.backup.scratch import Scratch, scratch_of
    from gateway.cli.backup_telling import tell
    from gateway.cli.progress import showing
    from gateway.clock import SystemClock

    snapshot = load_snapshot(config)
    _as_owner(snapshot.config.data)
    if fast:
        snapshot = running.without_pace(snapshot)
    repository = _done(lambda: running.repository_beside_mail(snapshot))
    where = (
        Scratch(folder=scratch) if scratch else scratch_of(snapshot.config.data, snapshot.config.limits.free_disk_floor)
    )
    with showing("restoring") as progress:
        found = _done(
            lambda: tried(repository, repository.find(backup), clock=SystemClock(), progress=progress, scratch=where)
        )
    _done(lambda: record(repository, found))
    tell(snapshot.config.data, [running.drilled(found)])
    if as_json:
        print_json(asdict(found) | {"passed": found.passed})
    else:
        copies = ", ".join(f"{count} {state}" for state, count in sorted(found.copies.items())) or "nothing"
        result = "passed" if found.passed else "FAILED"
        typer.echo(
            f"{found.run} {result} in {found.seconds:.0f} s: a gateway started on it and has {copies} in custody"
        )
    for text in (*found.problems, *found.notes):
        typer.echo(text, err=True)
    if not found.passed:
        raise typer.Exit(EXIT_NEGATIVE)


def _give_to_gateway(folder: Path, config: Path | None) -> None:
    from gateway.cli.reach import data_folder

    data = data_folder(config)
    if os.geteuid() == 0 and data.is_dir():
        for path in (folder, *folder.iterdir()):
            os.chown(path, data.stat().st_uid, data.stat().st_gid)


def _as_owner(data: Path) -> None:
    """Work as the gateway's user: files of root's in the backup folder would keep the gateway out of it."""
    if os.geteuid() == 0 and data.is_dir():
        status = data.stat()
        os.setegid(status.st_gid)
        os.seteuid(status.st_uid)


# What they share ------------------------------------------------------------------------------------------------------


def _done(work: "Callable[[], Any]") -> Any:
    """Return what ``work`` gives; what keeps it from succeeding is said in a line."""
    from gateway.backup.errors import BackupError, BusyError, DamagedError
    from gateway.storage import StorageError

    try:
        return work()
    except BusyError as error:
        fail(str(error), _EXIT_BUSY)
    except DamagedError as error:
        fail(f"DAMAGED {error}", _EXIT_DATA)
    except BackupError as error:
        fail(str(error))
    except (StorageError, OSError) as error:
        fail(str(error), _EXIT_IO)


def _repository(folder: Path | None, key: Path | None, config: Path | None) -> "Repository":
    from gateway.backup.frames import read_key
    from gateway.backup.repository import Repository

    if folder is None:
        # On the day there may be no configuration: then --folder and --key say all that is needed.
        settings = load_snapshot(config).config.backup
        folder, key = settings.folder or _no_folder(), key or settings.key
    repository = Repository(folder, _done(lambda: read_key(key)))
    _done(repository.check)
    return repository


def _repository_at_pace(key: Path | None, config: Path | None) -> "Repository":
    """Return the configuration's, to be read beside its gateway's mail."""
    from gateway.backup.running import repository_beside_mail

    snapshot = load_snapshot(config)
    if snapshot.config.backup.folder is None:
        _no_folder()
    repository: Repository = _done(lambda: repository_beside_mail(snapshot, key))
    _done(repository.check)
    return repository


def _settings_folder(config: Path | None) -> Path:
    return load_snapshot(config).config.backup.folder or _no_folder()


def _no_folder() -> NoReturn:
    fail("no backup folder: [backup] folder in tidegate.toml, or --folder, names it", _EXIT_CONFIG)


def _read(repository: "Repository", run: "Run", found: "list[Manifest]", damaged: list[str], locked: list[str]) -> None:
    from gateway.backup.errors import BackupError, DamagedError

    try:
        found.append(repository.manifest(run))
    except DamagedError as error:
        damaged.append(f"{run}: {error}")
    except BackupError as error:
        locked.append(f"{run}: {error}")


def _moment_of(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text}: a date such as 2026-11-22 or 2026-11-22T15:00 is wanted", 2)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
