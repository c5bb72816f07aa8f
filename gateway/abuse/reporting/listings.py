"""Our own address or domain on somebody's list: the association hears of it at once (contract.md §4 i).

The keeper meets in the journal when a listing begins and ends (``own_listing_changed``), again after each restart; what
the last report about an identity and a list said decides whether there is anything new to say.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gateway.abuse.complaints.octets import shown
from gateway.abuse.identity import signature
from gateway.abuse.reporting.draft import LISTING, Draft
from gateway.abuse.reporting.operators import moment
from gateway.abuse.writing import Letter, Writer, template, write
from gateway.config.abuse_desk import Reporting
from gateway.config.models import GatewayConfig
from gateway.incidents import IncidentReader
from gateway.journal.guard_events import OwnListingChanged
from gateway.journal.reader import JournalReader

LISTED, CLEARED = "listed", "cleared"
# A command that shows what would be told looks that far back.
LOOK_BACK_SECONDS = 7 * 86_400.0


def changes(data: Path, since: float) -> list[OwnListingChanged]:
    """Return what the journal tells since a UTC second, in the order of time."""
    journal = JournalReader(data / "journal")
    try:
        found = [e for e in journal.of_kind(OwnListingChanged.kind, since) if isinstance(e, OwnListingChanged)]
    finally:
        journal.close()
    return sorted(found, key=lambda event: event.at)


def drafts(
    found: Sequence[OwnListingChanged],
    config: GatewayConfig,
    writer: Writer,
    now: float,
    token: Callable[[], str],
) -> Iterator[Draft]:
    """Yield the notices that are due about what was found."""
    settings = config.reporting
    to = settings.association.address
    if not found or not to:
        return
    with IncidentReader(config.data) as reader:
        rows = reader.rows(
            "SELECT source_key, format FROM report WHERE kind = 'listing' AND recipient = ? ORDER BY id", (to,)
        )
    said = dict(rows)
    latest = {f"{event.identity} {event.zone}": event for event in found}
    for key, event in latest.items():
        if event.state in (LISTED, CLEARED) and event.state != said.get(key, CLEARED):
            yield _draft(event, key, settings, writer, (now, token()))


def _draft(event: OwnListingChanged, key: str, settings: Reporting, writer: Writer, made: tuple[float, str]) -> Draft:
    now, token = made
    subject, text = template(
        event.state,
        settings.language,
        {
            "identity": shown(event.identity),
            "zone": shown(event.zone),
            "at": moment(event.at),
            "code": shown(event.code) or "-",
            "reason": shown(event.reason) or "-",
            "signature": signature(writer),
        },
    )
    letter = Letter(
        to=settings.association.address,
        subject=subject,
        text=text,
        at=now,
        purpose="listing-notice",
        automatic="auto-generated",
    )
    return Draft(
        kind=LISTING,
        format=event.state,
        recipient=letter.to,
        source_key=key,
        written=write(letter, writer, token=token, returned=True),
    )
