"""One run: everything saved as chunks beside the mail that flows, then the manifest that makes it a backup.

Order and consistency. Each shard is read as of one moment (messages, states and ledger are one transaction's work);
then the content files that its rows name are saved. A file that is gone by then belonged to a message whose custody
ended after that moment, which the serving shard confirms: it is listed as ended, and a restore takes it out. Journals
and other stores follow, then plain files, again and again until none has changed, so that a list and what it names
agree. What has not changed since the run before, by size, modification time and inode, is not read again.

When anything fails, the run removes what it wrote; the runs before it are as they were.
"""

from dataclasses import replace
from pathlib import Path
from shutil import rmtree

from gateway import __version__
from gateway.backup.errors import BackupError
from gateway.backup.manifest import FORMAT, Kind, Manifest, SavedFile
from gateway.backup.pace import Aside, Pace
from gateway.backup.packs import PackWriter, Room, check_sizes
from gateway.backup.repository import MAX_RUNS, Repository, Run
from gateway.backup.saving import Job, Saver
from gateway.storage import free_octets
from gateway.storage.errors import from_os


def capture(repository: Repository, job: Job, kind: Kind) -> Manifest:
    """Save everything; an increment with nothing sound to stand on becomes a full run. BackupError or StorageError."""
    with repository.writing(), Aside(Pace(job.rate, job.sources.commits)) as aside:
        aside.do(repository.clean)
        before, problem = aside.do(lambda: _before(repository, kind))
        try:
            return _run(repository, job, before, (problem,) if problem else (), aside)
        except OSError as error:
            raise from_os(error, Path(error.filename or job.sources.data)) from error


def _before(repository: Repository, kind: Kind) -> tuple[Manifest | None, str]:
    """Return the run that an increment stands on, None for a full run, and why there is none although wanted."""
    newest = repository.newest() if kind == "increment" else None
    if newest is None or newest.number + 1 > MAX_RUNS:
        return None, ""
    try:
        found = repository.manifest(newest)
        check_sizes(repository.folder / newest.chain, found)
    except BackupError as error:
        return None, f"nothing can stand on the backup before, so this one is full: {error}"
    return found, ""


def _run(
    repository: Repository, job: Job, before: Manifest | None, problems: tuple[str, ...], aside: Aside
) -> Manifest:
    started = job.clock.stamp().utc
    run = Run(before.chain, before.number + 1) if before else Run(repository.begin_chain(started), 0)
    folder = repository.folder / run.chain
    room = Room(free=lambda: free_octets(folder), floor_octets=job.floor_octets)
    writer = aside.do(lambda: PackWriter(folder, run.number, repository.sealer(run.chain), before, room))
    saver = Saver(job, writer, before, aside, keys="saved" if repository.encrypts else "omitted")
    try:
        saved = saver.everything()
        files = aside.do(lambda: _placed(saved, writer))
        manifest = Manifest(
            format=FORMAT,
            version=__version__,
            hostname=job.sources.hostname,
            chain=run.chain,
            number=run.number,
            kind="increment" if before else "full",
            previous=repository.digest(Run(run.chain, run.number - 1)) if before else "",
            started_at=started,
            finished_at=job.clock.stamp().utc,
            deadline_at=started + job.deadline_seconds,
            files=files,
            chunks=tuple(writer.chunks),
            packs=tuple(writer.packs),
            spool=tuple(saver.spool),
            omitted=tuple(saver.omitted),
            problems=(*problems, *saver.problems),
        )
        aside.do(lambda: repository.put_manifest(manifest))
    except BaseException:
        aside.give_up()
        writer.abandon()
        if before is None:
            rmtree(folder, ignore_errors=True)
        raise
    return manifest


def _placed(files: list[SavedFile], writer: PackWriter) -> tuple[SavedFile, ...]:
    """Return the files with their chunks where they are once all is durable."""
    places = writer.finish({index for file in files for index in file.chunks})
    return tuple(replace(file, chunks=tuple(places[index] for index in file.chunks)) for file in files)
