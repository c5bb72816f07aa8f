"""``[service]`` of tidegate.toml: the contract's numbers, for all customers and for each (contract.md §§1 to 3).

What a customer's own table leaves out is as for all. Durations are seconds once read.
"""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from gateway.config.units import Duration

# Availability is written in per cent.
MOST = 100.0


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError("a time zone such as Asia/Shanghai is wanted") from error
    return name


class ServiceTerms(BaseModel):
    """What is promised to one customer. The limits are the contract's words: at most, at least."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, allow_inf_nan=False)

    # A month is the calendar's where the customer is.
    zone: Annotated[str, AfterValidator(_zone)] = "Asia/Shanghai"
    availability: float = Field(default=99.9, gt=0.0, le=MOST)
    # The contract's other words for it, "under 44 minutes a month", judged by themselves.
    unreachable_minutes: int = Field(default=44, ge=1)
    average_delay: Duration = 60.0
    maximum_delay: Duration = 3600.0
    # "Exceeded more than twice": the source wording allows both readings.
    over_maximum: Literal[">2", ">=2"] = ">2"
    # Time in quarantine and in greylisting of our own: shown apart either way.
    count_quarantine: bool = False
    count_greylisting: bool = False
    # A minute of which nothing is known.
    count_unknown: bool = True
    fault_minutes: int = Field(default=100, ge=0)
    adjustment_minutes: int = Field(default=100, ge=0)
    operation_availability: float = Field(default=99.99, gt=0.0, le=MOST)
    fault_free_days: int = Field(default=360, ge=0, le=366)
    billing_error: float = Field(default=3e-5, ge=0.0, le=1.0)
    page_seconds: float = Field(default=10.0, gt=0.0)
    page_seconds_narrowband: float = Field(default=30.0, gt=0.0)
    signature_days: float = Field(default=7.0, gt=0.0)

    @property
    def most_over(self) -> int:
        """How often the maximum may be exceeded in a month before it is missed."""
        return 2 if self.over_maximum == ">2" else 1


class CustomerTerms(BaseModel):
    """A ``[[service.customer]]`` table: whose, and the terms that differ; what is left out is as for all."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, allow_inf_nan=False)

    name: str = Field(min_length=1)
    zone: Annotated[str, AfterValidator(_zone)] | None = None
    availability: float | None = Field(default=None, gt=0.0, le=MOST)
    unreachable_minutes: int | None = Field(default=None, ge=1)
    average_delay: Duration | None = None
    maximum_delay: Duration | None = None
    over_maximum: Literal[">2", ">=2"] | None = None
    count_quarantine: bool | None = None
    count_greylisting: bool | None = None
    count_unknown: bool | None = None
    fault_minutes: int | None = Field(default=None, ge=0)
    adjustment_minutes: int | None = Field(default=None, ge=0)
    operation_availability: float | None = Field(default=None, gt=0.0, le=MOST)
    fault_free_days: int | None = Field(default=None, ge=0, le=366)
    billing_error: float | None = Field(default=None, ge=0.0, le=1.0)
    page_seconds: float | None = Field(default=None, gt=0.0)
    page_seconds_narrowband: float | None = Field(default=None, gt=0.0)
    signature_days: float | None = Field(default=None, gt=0.0)


class ServiceLevel(ServiceTerms):
    """``[service]``: the terms for all customers, and how the gateway watches itself."""

    customer: tuple[CustomerTerms, ...] = ()
    # The gateway's own doors and every next hop are tried that often; a minute is what the contract counts.
    probe_every: Duration = Field(default=60.0, ge=1.0, le=60.0)
    # A whole message through each kind of door, to its delivery; it writes as much as any other. 0: none is sent.
    probe_message_every: Duration = Field(default=900.0, ge=0.0, le=86_400.0)

    def terms_of(self, customer: str) -> ServiceTerms:
        """Return what holds for one customer."""
        terms = {name: getattr(self, name) for name in ServiceTerms.model_fields}
        for own in self.customer:
            if own.name == customer:
                terms |= {name: value for name in terms if (value := getattr(own, name)) is not None}
        return ServiceTerms(**terms)
