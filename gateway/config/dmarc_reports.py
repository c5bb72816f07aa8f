"""``[dmarc_reports]`` of tidegate.toml: telling domains daily what was found about mail in their name (RFC 9990)."""

from datetime import time
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.config.complaint import Complaint
from gateway.config.fields import Address, ClockTime, Text, wrong_at
from gateway.config.policy_set import PolicySet
from gateway.config.units import Size

_TABLE = "dmarc_reports"


class DmarcReports(BaseModel):
    """Whether, as whom and how many; only *sends*: what is found is on record either way."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False, allow_inf_nan=False)

    send: bool = False
    # The author of reports, at a domain of ours that has keys to sign with: RFC 9990 §3.5.2 wants DMARC to pass.
    author: Address = ""
    # What people call us; default: the host name.
    organisation: Text = ""
    # Another way to us, such as a page; "" for none.
    contact: Text = ""
    # UTC; the day before is reported. Some hours late is as good, and midnight is when everybody sends.
    at: ClockTime = time(1, 0)
    # The busiest domains first. A node that hears from more domains a day has another system for reports.
    most: int = Field(default=2000, ge=1)
    # Our own mail must not fill the queue in front of people's.
    per_minute: int = Field(default=60, ge=1, le=6000)
    # What most receivers take as a message; a report of 20,000 rows has some 700 KB.
    max_size: Size = 10 * 1024**2

    @model_validator(mode="after")
    def _an_author(self) -> "DmarcReports":
        if self.send and not self.author:
            raise wrong_at(("author",), 'missing; an author of the reports such as "dmarc@example.com" is wanted')
        if not self.author.isascii():
            raise wrong_at(("author",), "not ASCII; a receiver of reports may not take SMTPUTF8")
        return self


def unsigned_reports(settings: DmarcReports, policies: PolicySet) -> list[Complaint]:
    """Return what is wrong when reports are to be sent and could not be signed by their author's domain."""
    domain = settings.author.rpartition("@")[2]
    policy = policies.for_domain(domain)
    if not settings.send or (policy is not None and policy.signing.keys):
        return []
    path: tuple[Any, ...] = (_TABLE, "author")
    return [
        Complaint(path, f"{domain} is no domain of ours with [signing] keys, and unsigned reports are not believed")
    ]
