"""``tidegate incident export|verify``: evidence handed on, and the proof that it is what was recorded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.incident_record import EXIT_BROKEN, Done, NumberArgument, changed, say, the_reader
from gateway.cli.options import EXIT_NEGATIVE, ConfigOption, JsonOption, fail, print_json
from gateway.cli.reach import data_folder

if TYPE_CHECKING:
    from gateway.incidents import Anchor, Change


def export(
    number: NumberArgument,
    output: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="The archive to write, such as case-17.tar.")
    ],
    *,
    whole: Annotated[
        bool, typer.Option("--whole", help="Leave personal data in: for the house only, or who may have them by law.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write an incident with its evidence and its part of the hash chain into one file that proves itself.

    Recipients become pseudonyms and notes are sealed (RFC 6590), unless --whole.
    """
    from gateway.cli.incident_record import operator
    from gateway.clock import SystemClock
    from gateway.incidents.bundle import BundleError, Export, Exporter
    from gateway.incidents.evidence import EvidenceBrokenError, EvidenceStore
    from gateway.incidents.redaction import redaction_key
    from gateway.storage import StorageError

    data = data_folder(config)
    if output.exists():
        fail(f"{output} is there already")
    try:
        key = None if whole else redaction_key(data)
        with the_reader(data) as reader:
            wanted = Export(at=SystemClock().stamp().utc, by=operator(), key=key)
            bundle = Exporter(reader, EvidenceStore(data)).export(number, wanted)
        output.write_bytes(bundle.octets)
    except BundleError as error:
        fail(str(error))
    except (EvidenceBrokenError, StorageError) as error:
        fail(f"not exported, the record is not sound: {error}; `tidegate incident verify` tells more", EXIT_BROKEN)
    except OSError as error:
        fail(f"{output}: {error.strerror}")

    def act(change: "Change") -> Done:
        facts = {"sha256": bundle.sha256, "octets": len(bundle.octets), "redacted": not whole}
        change.record("exported", number, facts)
        told = {"file": str(output), "sha256": bundle.sha256, "messages": bundle.messages, "redacted": not whole}
        return Done((f"exported {'whole' if whole else 'redacted'}: {bundle.sha256}",), told)

    done = changed(data, "incident export", f"incident {number}", act)
    say(done, f"{output}: {bundle.messages} messages, sha256 {bundle.sha256}", as_json=as_json)


def verify(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A bundle; default: the whole record of this node.")
    ] = None,
    *,
    anchor: Annotated[
        str, typer.Option("--anchor", metavar="NUMBER:DIGEST", help="A head of the chain that was noted elsewhere.")
    ] = "",
    alone: Annotated[
        bool, typer.Option("--alone", help="Judge a bundle by itself, as its receiver can: without this node's record.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that evidence and journal are as they were recorded; print the chain's head. Exit 65 when they are not."""
    from gateway.incidents import Anchor

    try:
        noted = [Anchor.parse(anchor)] if anchor else []
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if bundle is None:
        _verify_record(data_folder(config), noted, as_json=as_json)
    else:
        _verify_bundle(bundle, None if alone else data_folder(config), as_json=as_json)


def _verify_record(data: Path, noted: "list[Anchor]", *, as_json: bool) -> None:
    from gateway.cli.progress import counting
    from gateway.incidents.verification import verify as prove

    with counting("verifying", "rows") as progress:
        found = prove(data, anchors=[*noted, *_journalled(data)], progress=progress)
    flaws = [str(flaw) for flaw in found.flaws]
    told = {
        "sound": not flaws,
        "head": str(found.head),
        "rows": found.rows,
        "incidents": found.incidents,
        "sightings": found.sightings,
        "messages": found.messages,
        "flaws": flaws,
    }
    counted = (
        f"{found.rows} rows, {found.incidents} incidents, {found.sightings} sightings, {found.messages} messages;"
        f" the chain ends at {found.head}"
    )
    _end(told, f"sound: {counted}", flaws, as_json=as_json)


def _journalled(data: Path) -> "list[Anchor]":
    """Return the heads that commands and the keeper put into the journal."""
    from gateway.incidents import Anchor
    from gateway.journal.duty_events import RecordAnchored
    from gateway.journal.events import OperatorActed
    from gateway.journal.reader import JournalReader
    from gateway.storage import StorageError

    if not (data / "journal").exists():
        return []
    found = []
    try:
        reader = JournalReader(data / "journal")
        try:
            for event in reader.of_kind(OperatorActed.kind, 0.0):
                if isinstance(event, OperatorActed):
                    found += [change.removeprefix("chain ") for change in event.changes if change.startswith("chain ")]
            for event in reader.of_kind(RecordAnchored.kind, 0.0):
                if isinstance(event, RecordAnchored):
                    found.append(f"{event.number}:{event.digest}")
        finally:
            reader.close()
    except StorageError as error:
        typer.echo(f"the journal's anchors are not looked at: {error}", err=True)
    return [Anchor.parse(text) for text in found if text.count(":") == 1 and len(text.partition(":")[2]) == 64]  # noqa: PLR2004 - hexadecimal digits of SHA-256


def _verify_bundle(path: Path, data: Path | None, *, as_json: bool) -> None:
    from gateway.incidents.bundle import verify_bundle
    from gateway.incidents.schema import database_path

    known = data if data is not None and database_path(data).exists() else None
    try:
        found = verify_bundle(path, known)
    except OSError as error:
        fail(f"{path}: {error.strerror}", EXIT_NEGATIVE)
    flaws = [str(flaw) for flaw in found.flaws]
    told = {
        "sound": not flaws,
        "incident": found.incident,
        "rows": found.rows,
        "messages": found.messages,
        "redacted": found.redacted,
        "sha256": found.sha256,
        "against_record": known is not None,
        "flaws": flaws,
    }
    how = "and is what this record exported" if known is not None else "by itself; no record was asked"
    text = (
        f"sound: incident {found.incident}, {found.rows} rows, {found.messages} messages, {how}; sha256 {found.sha256}"
    )
    _end(told, text, flaws, as_json=as_json)


def _end(told: dict[str, object], sound: str, flaws: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
    elif flaws:
        for flaw in flaws:
            typer.echo(flaw)
    else:
        typer.echo(sound)
    if flaws:
        raise typer.Exit(EXIT_BROKEN)
