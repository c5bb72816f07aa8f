"""``tidegate guarantee``: the written guarantee of a customer whose sender is suspended (contract.md §4 h)."""

from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.account import ours
from gateway.cli.grouping import grouped
from gateway.cli.incident_record import EXIT_BROKEN, Done, changed, dated, moment, say, the_reader
from gateway.cli.options import ConfigOption, JsonOption, fail, load_snapshot, print_json
from gateway.cli.reach import data_folder, reachable

if TYPE_CHECKING:
    from gateway.config.snapshot import Snapshot
    from gateway.incidents import Change
    from gateway.incidents.guarantees import Guarantee
    from gateway.incidents.suspensions import Suspension

app = typer.Typer(no_args_is_help=True, help="Written guarantees: the letter, its record, what restores a sender.")

# sysexits.h EX_NOINPUT
_EXIT_NO_INPUT = 66
# A scan of some pages in colour; larger is a wrong file.
MAX_SCAN_OCTETS = 64 * 1024**2

IncidentOption = Annotated[
    int, typer.Option("--incident", metavar="NUMBER", help="The incident behind the suspension.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerOptions:
    """Who stands for the guarantee."""

    company: Annotated[str, typer.Option("--company", help="The customer's full name.")] = ""
    manager: Annotated[str, typer.Option("--manager", help="Who manages the mail domain.")] = ""
    contact: Annotated[str, typer.Option("--contact", help="Whom to ask at the customer's.")] = ""
    telephone: Annotated[str, typer.Option("--telephone", help="Their telephone number.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperOptions:
    """What was handed in."""

    scan: Annotated[Path, typer.Option("--scan", metavar="FILE", help="The sealed letter, scanned.")]
    licence: Annotated[Path, typer.Option("--licence", metavar="FILE", help="The copy of the business licence.")]
    signed: Annotated[str, typer.Option("--signed", metavar="DATE", help="The letter's date; default: today.")] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReopenOptions:
    """What the letter asks to be reopened: a mailbox, or a whole domain with the relay client that it sends through."""

    mailbox: Annotated[str, typer.Option("--mailbox", metavar="ADDRESS", help="What is to be reopened.")] = ""
    domain: Annotated[str, typer.Option("--domain", help="What is to be reopened: the whole domain.")] = ""
    client: Annotated[
        str,
        typer.Option("--client", metavar="ADDRESS", help="With --domain: the suspended relay client that it names."),
    ] = ""


@app.command()
@grouped
def template(
    incident: IncidentOption,
    customer: CustomerOptions,
    *,
    lang: Annotated[str, typer.Option("--lang", help="zh or en.")] = "zh",
    config: ConfigOption = None,
) -> None:
    """Print the letter with the case filled in; what is not given is a blank to write on."""
    from gateway.abuse.guarantee import LANGUAGES, Customer, Provider, letter
    from gateway.incidents.suspensions import suspensions_of

    if lang not in LANGUAGES:
        raise typer.BadParameter(f"--lang {lang}; allowed: {', '.join(LANGUAGES)}")
    node = load_snapshot(config).config
    with the_reader(reachable(node.data)) as reader:
        case = reader.incident(incident)
        if case is None:
            fail(f"there is no incident {incident}", 2)
        suspension = next(iter(suspensions_of(reader.rows, incident)), None)
    provider = Provider(
        name=node.reporting.organisation or node.hostname,
        abuse=node.contact.abuse,
        telephone=node.contact.telephone,
        zone=node.service.zone,
    )
    text = letter(case, suspension, lang, provider=provider, customer=Customer(**asdict(customer)))
    typer.echo(text, nl=False)


@app.command()
@grouped
def record(
    incident: IncidentOption,
    papers: PaperOptions,
    customer: CustomerOptions,
    reopen: ReopenOptions,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a written guarantee on record, in your name: the scan and the licence are kept with their SHA-256."""
    from gateway.incidents.guarantees import Guarantee, record_guarantee
    from gateway.incidents.suspensions import suspensions_of

    snapshot = load_snapshot(config)
    reachable(snapshot.config.data)
    promised: dict[str, Any] = {name: _said(f"--{name}", text) for name, text in asdict(customer).items()}
    given = Guarantee(
        id=0,
        incident=incident,
        **promised,
        **_reopened(reopen, snapshot),
        **_kept(papers, snapshot.config.data),
        signed_on=_day(papers.signed),
        accepted_by="",
        recorded_at=0.0,
    )

    def act(change: "Change") -> Done:
        change.incident(incident)
        made = record_guarantee(change, given)
        standing = [each for each in suspensions_of(change.execute, incident) if each.ended_at is None]
        value = asdict(made) | {"suspended": _fit(made, standing)}
        papers_kept = f"letter {made.letter_sha256}", f"licence {made.licence_sha256}"
        what = f"guarantee {made.id} for the {made.scope} {made.subject}" + (f", {made.client}" if made.client else "")
        return Done((what, f"of {made.company}, signed {made.signed_on}", *papers_kept), value)

    done = changed(snapshot.config.data, "guarantee record", f"incident {incident}", act)
    said = [f"guarantee {done.value['id']} for incident {incident} is on record"]
    for sender, why in done.value["suspended"].items():
        said.append(
            f"it does not cover {sender}: it {why}" if why else f"restore now: tidegate account restore {sender}"
        )
    say(Done(done.changes, dated(done.value)), "\n".join(said), as_json=as_json)


def _fit(given: "Guarantee", standing: "list[Suspension]") -> dict[str, str]:
    """Return each suspended sender with why the guarantee does not cover it, "" where it does."""
    from gateway.abuse.suspending import misfit

    return {each.sender: misfit(given, each) for each in standing}


@app.command()
def show(
    incident: IncidentOption,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an incident's guarantees, and whether their scans are as recorded; exit 1 for none, 65 for damage."""
    from gateway.incidents.guarantees import Letters, guarantees_of
    from gateway.incidents.schema import FOLDER

    data = data_folder(config)
    with the_reader(data) as reader:
        found = guarantees_of(reader.rows, incident)
    letters = Letters(data / FOLDER)
    faults = {sha: letters.fault(sha) for each in found for sha in (each.letter_sha256, each.licence_sha256)}
    if as_json:
        print_json(dated([asdict(each) | {"faults": _faults(each, faults)} for each in found]))
    for each in found if not as_json else ():
        _print(each, letters, faults)
    if not found:
        fail(f"no guarantee is on record for incident {incident}")
    if any(faults.values()):
        raise typer.Exit(EXIT_BROKEN)


def _print(given: "Guarantee", letters: Any, faults: dict[str, str]) -> None:
    from gateway.admin.lines import printable

    for name, value in (
        ("guarantee", str(given.id)),
        ("company", given.company),
        ("domain managed by", given.manager),
        ("reopens", f"{given.scope} {given.subject}" + (f", relay client {given.client}" if given.client else "")),
        ("contact", f"{given.contact}, {given.telephone}"),
        ("signed", given.signed_on),
        ("accepted", f"{moment(given.recorded_at)} by {given.accepted_by}"),
        ("letter", f"{letters.path(given.letter_sha256)} {faults[given.letter_sha256] or 'as recorded'}"),
        ("licence", f"{letters.path(given.licence_sha256)} {faults[given.licence_sha256] or 'as recorded'}"),
    ):
        typer.echo(f"{name:<18} {printable(value)}")


def _faults(given: "Guarantee", faults: dict[str, str]) -> list[str]:
    told = (("letter", given.letter_sha256), ("licence", given.licence_sha256))
    return [f"{name} {faults[sha]}" for name, sha in told if faults[sha]]


def _reopened(asked: ReopenOptions, snapshot: "Snapshot") -> dict[str, Any]:
    """Return what is to be reopened, as a guarantee has it; ends where it is nothing of ours."""
    from gateway.incidents import SourceKind
    from gateway.incidents.guarantees import DOMAIN, MAILBOX

    if bool(asked.mailbox) == bool(asked.domain):
        raise typer.BadParameter("either --mailbox ADDRESS or --domain DOMAIN says what is to be reopened")
    if asked.client and not asked.domain:
        raise typer.BadParameter("--client: a relay client is reopened with the whole --domain that it sends for")
    subject = ours(asked.mailbox or asked.domain, snapshot)
    if subject.kind is not SourceKind.ACCOUNT or subject.key.startswith("@") != bool(asked.domain):
        raise typer.BadParameter(f"{asked.mailbox or asked.domain} is no {'domain' if asked.domain else 'mailbox'}")
    client = ours(asked.client, snapshot) if asked.client else None
    if client is not None and client.kind is not SourceKind.CLIENT:
        raise typer.BadParameter(f"--client {asked.client}: an IP address or a network is wanted")
    return {
        "scope": DOMAIN if asked.domain else MAILBOX,
        "subject": subject.key.removeprefix("@"),
        "client": client.key if client else "",
    }


def _kept(papers: PaperOptions, data: Path) -> dict[str, Any]:
    """Keep letter and licence, and return their digests and sizes as a guarantee has them."""
    from gateway.incidents.guarantees import Letters
    from gateway.incidents.schema import FOLDER
    from gateway.storage import StorageError

    octets, licence = _scan(papers.scan), _scan(papers.licence)
    if octets == licence:
        fail(f"{papers.licence} is the letter once more: a copy of the business licence is wanted", EXIT_BROKEN)
    letters = Letters(data / FOLDER)
    try:
        digests = letters.keep(octets), letters.keep(licence)
    except (StorageError, OSError) as error:
        fail(str(error), EXIT_BROKEN)
    return {
        "letter_sha256": digests[0],
        "letter_octets": len(octets),
        "licence_sha256": digests[1],
        "licence_octets": len(licence),
    }


def _said(option: str, text: str) -> str:
    if not text.strip():
        raise typer.BadParameter(f"{option} says who stands for the guarantee")
    return text.strip()


def _day(text: str) -> str:
    from gateway.clock import SystemClock

    # It may be tomorrow already where the letter was signed.
    latest = (datetime.fromtimestamp(SystemClock().stamp().utc, UTC) + timedelta(days=1)).date()
    today = latest - timedelta(days=1)
    try:
        day = date.fromisoformat(text) if text else today
    except ValueError as error:
        raise typer.BadParameter(f"--signed {text}: a date such as 2026-11-22 is wanted") from error
    if day > latest:
        raise typer.BadParameter(f"--signed {text} lies in the future")
    return day.isoformat()


def _scan(file: Path) -> bytes:
    try:
        octets = file.read_bytes()
    except OSError as error:
        fail(f"{file}: {error.strerror}", _EXIT_NO_INPUT)
    if not octets or len(octets) > MAX_SCAN_OCTETS:
        fail(f"{file}: a scan of 1 octet to {MAX_SCAN_OCTETS // 1024**2} MiB is wanted", 65)
    return octets
