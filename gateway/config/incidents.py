"""``[incidents]`` of tidegate.toml and of policies: what becomes of spam sources (contract.md §4).

A policy's table says what makes an incident of the mail it judges; the node's what is kept, whom a block can never
reach, how a block ends, and how the senders of relay networks are watched. Durations are seconds once read.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.config.fields import Network, OptionalPath
from gateway.config.units import Duration, Rate, RateField, Size


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, allow_inf_nan=False)


class LocalSenders(_Table):
    """``[incidents.local]``: what one account, or one client of a relay network, may do; 0 switches a limit off.

    Beyond a limit its mail is an incident. What is counted is forgotten after the rate's time.
    """

    # A mail server behind us with some hundred users stays below all of these by a factor of three.
    messages: RateField = Rate(5000, 3600.0)
    recipients: RateField = Rate(20_000, 3600.0)
    # Recipients that this sender has not written to in the last 90 days: a broken-in account writes to strangers.
    first_time: RateField = Rate(1000, 3600.0)
    # Recipients refused by us or bounced by their servers: bought lists are stale.
    refused: RateField = Rate(300, 3600.0)
    # Verdicts that confirm an incident of a local sender.
    spam: RateField = Rate(5, 3600.0)
    # Suspend a sender whose incident is confirmed; else it waits for `tidegate account suspend`.
    suspend: bool = False


class Incidents(_Table):
    """``[incidents]`` of tidegate.toml."""

    # Whose Received fields are believed: mail that they pass on has its source in front of them.
    forwarders: tuple[Network, ...] = ()
    # Never blocked, beside our own addresses, relay networks, next hops and what allow lists hold.
    protected: tuple[Network, ...] = ()
    # Of one source: the first messages are kept as evidence, then one in so many.
    evidence_first: int = Field(default=5, ge=0, le=1000)
    evidence_every: int = Field(default=100, ge=1)
    # What may wait to be filed; beyond it samples are counted, not kept.
    evidence_backlog: Size = 256 * 1024**2
    # An automatic block ends then at the latest, and begins again with the next spam.
    block: Duration = Field(default=30 * 86_400.0, ge=60.0)
    # A blocked source that was not heard of for so long has stopped.
    quiet: Duration = Field(default=3 * 86_400.0, ge=1.0)
    # "quiet": a block is lifted when its source has stopped; "hand": only by `tidegate incident lift`.
    lift: Literal["quiet", "hand"] = "quiet"
    # A case that is open unconfirmed, quiet or lifted is closed when nothing came from its source for so long.
    close: Duration = Field(default=30 * 86_400.0, ge=60.0)
    # How long verdicts are kept one by one, messages of closed incidents, and closed incidents; totals stay.
    keep_sightings: Duration = Field(default=90 * 86_400.0, ge=86_400.0)
    keep_evidence: Duration = Field(default=180 * 86_400.0, ge=86_400.0)
    # The contract's evidence outlives a yearly report and the objections to it.
    keep_closed: Duration = Field(default=730 * 86_400.0, ge=86_400.0)
    # Whose network an address lies in: a CSV file of network, AS number, name. Nobody is asked.
    networks: OptionalPath = None
    local: LocalSenders = LocalSenders()


class IncidentTable(_Table):
    """``[incidents]`` of a policy: when mail to its domains confirms an incident by technique."""

    # Spam verdicts about one source within `window`, which wrong judgement alone does not give.
    confirm: int = Field(default=10, ge=1)
    # Messages with viruses; honest senders are infected too, and hear of it.
    confirm_virus: int = Field(default=3, ge=1)
    window: Duration = Field(default=86_400.0, ge=60.0)
    # Block a confirmed source at once; else it waits for `tidegate incident block`.
    block: bool = False
