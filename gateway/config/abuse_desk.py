"""``[complaints]`` and ``[reporting]`` of tidegate.toml: what the abuse desk reads, answers and sends (contract.md §4).

Complaints are read from a copy of what is sent to the abuse addresses, which goes to a Maildir of ours below ``data``;
so do the notifications that come back to our reports. Both are mailboxes at ``DESK_DOMAIN``, a name that nobody outside
can write to (RFC 6761 §6.4: ``.invalid`` is no domain), under a policy of their own without filters.
"""

import re
from datetime import time
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from gateway.config.fields import Address, ClockTime, Domain, Network, OptionalPath, Text
from gateway.config.units import Duration
from gateway.policy.domain_policy import DomainPolicy, NextHop, RecipientCheck
from gateway.smtp.address import Mailbox

DESK_DOMAIN = "desk.tidegate.invalid"
# Below the data folder.
DESK_FOLDER = Path("complaints")
# The mailbox at our host name to which notifications about our reports come back: "report+TOKEN".
RETURN_MAILBOX = "report"
# 80 bits: nobody guesses the address to which a report's bounces come.
TOKEN_OCTETS = 10
_RETURN = re.compile(rf"{RETURN_MAILBOX}\+[0-9a-f]{{{2 * TOKEN_OCTETS}}}")

NonEmptyAddress = Annotated[Address, Field(min_length=1)]


class Table(BaseModel):
    """A table: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, allow_inf_nan=False)


class Complaints(Table):
    """``[complaints]``: whose mail is read as complaints, and how they are answered."""

    # Without one: [contact] abuse.
    addresses: tuple[NonEmptyAddress, ...] = ()
    # A ticket number by return of mail; never to what a machine sent (RFC 3834).
    acknowledge: bool = True
    # Whether that is the contract's first response.
    acknowledgement_counts: bool = True
    # Of answers, where the complaint does not show the language of who wrote it.
    language: Literal["en", "zh"] = "en"
    # What was read and is no complaint, as it came; complaints are kept whole with their tickets.
    keep: Duration = 400 * 86_400.0
    # Tickets that are closed, with the mails of both sides: as long as the incidents they may be about.
    keep_tickets: Duration = Field(default=730 * 86_400.0, ge=86_400.0)


class ReportContact(Table):
    """A ``[[reporting.contact]]`` table: who is told about spam from a network."""

    network: Network
    address: NonEmptyAddress


class Association(Table):
    """``[reporting.association]``: batches for the Internet association, by mail or into a folder."""

    address: Address = ""
    folder: OptionalPath = None
    formats: tuple[Literal["csv", "xarf", "arf"], ...] = ("csv", "xarf")
    every: Duration = Field(default=86_400.0, ge=600.0)
    # UTC; of no account where batches are less than a day apart.
    at: ClockTime = time(1, 0)


class Reporting(Table):
    """``[reporting]``: what leaves about spam sources; nothing does while ``enabled`` is false."""

    enabled: bool = False
    # Who reports: a company's name, in reports and letters.
    organisation: Text = ""
    # Whom to ask about a report; without one: [contact] abuse.
    sender: Address = ""
    language: Literal["en", "zh"] = "en"
    association: Association = Association()
    # To the source's operator and its network.
    operators: bool = True
    contact: tuple[ReportContact, ...] = ()
    # A zone of contacts such as abuse-contacts.abusix.zone; "" asks nobody.
    contact_zone: Domain | Literal[""] = ""
    # Registration data, over HTTPS; needs the library whoisit.
    rdap: bool = False
    # How long a contact found is believed.
    contact_ttl: Duration = Field(default=7 * 86_400.0, ge=600.0)
    # A source sends spam all day; its operator reads one report of it.
    operators_per_day: int = Field(default=200, ge=1)
    contact_per_day: int = Field(default=20, ge=1)
    # Recipients' addresses become pseudonyms in what is reported (RFC 6590).
    redact: bool = True
    # What of the mail goes with a report.
    evidence: Literal["message", "headers"] = "message"
    # Reports as they left, once all they tell of is closed.
    keep: Duration = Field(default=730 * 86_400.0, ge=86_400.0)

    @field_validator("rdap", mode="after")
    @classmethod
    def _installed(cls, wanted: bool) -> bool:  # noqa: FBT001 - pydantic hands the value over
        from importlib.util import find_spec  # noqa: PLC0415 - only where it is asked for

        if wanted and find_spec("whoisit") is None:
            raise ValueError("needs a library that is not installed: pip install 'tidegate[rdap]'; or false")
        return wanted


def desk_mailbox(mailbox: Mailbox, hostname: str) -> Mailbox | None:
    """Return the desk's mailbox for an address to which our reports' notifications come, None for any other.

    The folder is one, whatever the token; the address stays as it was written. ``report+anything`` else is somebody's
    where the host name is a mail domain too.
    """
    if mailbox.domain == hostname and _RETURN.fullmatch(mailbox.local_part):
        return Mailbox(RETURN_MAILBOX, DESK_DOMAIN, mailbox.wire)
    return None


def desk_policy(data: Path) -> DomainPolicy:
    """Return the policy of the desk's own mailboxes: a Maildir, no filters, and no recipient that others could name."""
    path = str((data / DESK_FOLDER).absolute())
    return DomainPolicy(
        name="abuse desk",
        domains=(DESK_DOMAIN,),
        next_hop=(NextHop(url=f"maildir:{path}", scheme="maildir", port=0, tls="none", path=path),),
        recipients=RecipientCheck(mode="list", source="the abuse desk's own"),
    )
