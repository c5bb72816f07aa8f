"""``tidegate guarantee``: the written guarantee of a customer whose sender is suspended (contract.md §4 h)."""

from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.account import record_change
from gateway.cli.incident_record import EXIT_BROKEN, moment, the_reader
from gateway.cli.options import ConfigOption, JsonOption, fail, load_snapshot, print_json
from gateway.cli.reach import data_folder

if TYPE_CHECKING:
    from gateway.incidents import Change
    from gateway.incidents.guarantees import Guarantee

app = typer.Typer(no_args_is_help=True, help="Written guarantees: the letter, its record, what restores a sender.")

# sysexits.h EX_NOINPUT
_EXIT_NO_INPUT = 66
# A scan of some pages in colour; larger is a wrong file.
MAX_SCAN_OCTETS = 64 * 1024**2

IncidentOption = Annotated[
    int, typer.Option("--incident", metavar="NUMBER", help="The incident behind the suspension.")
]
CompanyOption = Annotated[str, typer.Option("--company", help="The customer's full name.")]
ManagerOption = Annotated[str, typer.Option("--manager", help="Who manages the mail domain.")]
ContactOption = Annotated[str, typer.Option("--contact", help="Whom to ask at the customer's.")]
TelephoneOption = Annotated[str, typer.Option("--telephone", help="Their telephone number.")]


@app.command()
def template(
    incident: IncidentOption,
    *,
    lang: Annotated[str, typer.Option("--lang", help="zh or en.")] = "zh",
    company: CompanyOption = "",
    manager: ManagerOption = "",
    contact: ContactOption = "",
    telephone: TelephoneOption = "",
    config: ConfigOption = None,
) -> None:
    """Print the letter with the case filled in; what is not given is a blank to write on."""
    from gateway.abuse.guarantee import LANGUAGES, Customer, Provider, letter
    from gateway.incidents.suspensions import suspensions_of

    if lang not in LANGUAGES:
        raise typer.BadParameter(f"--lang {lang}; allowed: {', '.join(LANGUAGES)}")
    node = load_snapshot(config).config
    with the_reader(node.data) as reader:
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
    customer = Customer(company=company, manager=manager, contact=contact, telephone=telephone)
    typer.echo(letter(case, suspension, lang, provider=provider, customer=customer), nl=False)


@app.command()
def record(
    incident: IncidentOption,
    *,
    scan: Annotated[Path, typer.Option("--scan", metavar="FILE", help="The sealed letter, scanned.")],
    licence: Annotated[Path, typer.Option("--licence", metavar="FILE", help="The copy of the business licence.")],
    company: CompanyOption,
    manager: ManagerOption,
    contact: ContactOption,
    telephone: TelephoneOption,
    mailbox: Annotated[str, typer.Option("--mailbox", metavar="ADDRESS", help="What is to be reopened.")] = "",
    domain: Annotated[str, typer.Option("--domain", help="What is to be reopened: the whole domain.")] = "",
    signed: Annotated[str, typer.Option("--signed", metavar="DATE", help="The letter's date; default: today.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a written guarantee on record, in your name: the scan and the licence are kept with their SHA-256."""
    from gateway.incidents.guarantees import Guarantee, Letters, record_guarantee
    from gateway.incidents.schema import FOLDER
    from gateway.storage import StorageError

    scope, subject = _scope(mailbox, domain)
    data = data_folder(config)
    octets, licence_octets = _scan(scan), _scan(licence)
    letters = Letters(data / FOLDER)
    try:
        digests = letters.keep(octets), letters.keep(licence_octets)
    except (StorageError, OSError) as error:
        fail(str(error), EXIT_BROKEN)
    given = Guarantee(
        id=0,
        incident=incident,
        company=_said("--company", company),
        manager=_said("--manager", manager),
        scope=scope,
        subject=subject,
        contact=_said("--contact", contact),
        telephone=_said("--telephone", telephone),
        signed_on=_day(signed),
        letter_sha256=digests[0],
        letter_octets=len(octets),
        licence_sha256=digests[1],
        licence_octets=len(licence_octets),
        accepted_by="",
        recorded_at=0.0,
    )

    def act(change: "Change") -> dict[str, Any]:
        change.incident(incident)
        return asdict(record_guarantee(change, given))

    told = record_change(data, "guarantee record", f"incident {incident}", act)
    if as_json:
        print_json(told)
    else:
        typer.echo(f"guarantee {told['id']} for incident {incident} is on record; {subject} can be restored")


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
        print_json([asdict(each) | {"faults": _faults(each, faults)} for each in found])
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
        ("reopens", f"{given.scope} {given.subject}"),
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


def _scope(address: str, domain: str) -> tuple[str, str]:
    from gateway.config.fields import domain_name
    from gateway.config.fields import mailbox as parsed
    from gateway.incidents.guarantees import DOMAIN, MAILBOX

    if bool(address) == bool(domain):
        raise typer.BadParameter("either --mailbox ADDRESS or --domain DOMAIN says what is to be reopened")
    try:
        return (MAILBOX, parsed(address).key) if address else (DOMAIN, domain_name(domain))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


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
