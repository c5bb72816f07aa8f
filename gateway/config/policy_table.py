"""The keys of a policy file, merged: ``policies/*.toml`` as a typed table (configuration.md).

Defaults here are the built-in layer.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)

from gateway.config.fields import Domain, Folder, Text, several, wrong_at
from gateway.config.incidents import IncidentTable
from gateway.config.models import Section
from gateway.config.next_hop import parse_next_hop
from gateway.config.signing_keys import day, selector
from gateway.config.units import Size
from gateway.policy.domain_policy import NextHop

# Readable in a Subject header field without folding it.
MAX_TAG_CHARACTERS = 60


def _threshold(value: Any) -> Any:
    if value is False:
        return None
    if isinstance(value, bool) or value is None or not isinstance(value, int | float):
        raise ValueError("a number, or false to switch this off, is wanted")
    return float(value)


def _off_as_false(value: float | None) -> float | bool:
    return False if value is None else value


def _next_hop(value: Any, info: ValidationInfo) -> NextHop:
    if not isinstance(value, str) or not isinstance(info.context, Folder):
        raise ValueError('a text such as "smtp://10.1.0.5:25" is wanted')  # noqa: TRY004 - pydantic takes ValueError
    return parse_next_hop(value, info.context.path)


def _url(hop: NextHop) -> str:
    return hop.url


def _recipients(text: str) -> str:
    if text in {"any", "callout"} or (text.startswith("list:") and len(text) > len("list:")):
        return text
    raise ValueError('allowed: "any", "callout" or "list:FILE"')


def _tag(text: str) -> str:
    if len(text) > MAX_TAG_CHARACTERS or not text.isprintable():
        raise ValueError(f"at most {MAX_TAG_CHARACTERS} printable characters are allowed")
    return text


Threshold = Annotated[float | None, BeforeValidator(_threshold), PlainSerializer(_off_as_false)]
HopField = Annotated[NextHop, PlainValidator(_next_hop), PlainSerializer(_url)]
Recipients = Annotated[str, AfterValidator(_recipients)]


class Scores(Section):
    """``[scores]``: the sums at which a score becomes an action; false switches one off."""

    tag: Threshold = 5.0
    quarantine: Threshold = 9.0
    reject: Threshold = 14.0
    subject_tag: Annotated[str, AfterValidator(_tag)] = ""


class MailboxTable(Section):
    """The keys of a ``[mailbox."…"]`` table, and the part of a policy that a mailbox may change."""

    next_hop: Annotated[tuple[HopField, ...], BeforeValidator(several)] = ()
    recipients: Recipients = "any"
    max_message: Size | None = None
    scores: Scores = Scores()
    # Read by gateway.config.filter_settings, which knows the filters.
    filters: dict[str, Any] = Field(default_factory=dict)
    # The options of the filter of that name, read there too.
    antivirus: dict[str, Any] = Field(default_factory=dict)
    # Read by gateway.config.rule_layers, layer by layer; never here (policy_files.RULES).
    rule: Any = None
    rules_off: tuple[str, ...] = ()


class SharedTable(MailboxTable):
    """The keys of ``policies/default.toml``: what every policy starts from."""

    customer: Text = ""
    # Who answers for the next hop: waiting for a customer's own is no delay of ours (contract.md §2).
    next_hop_owner: Literal["operator", "customer"] = "operator"
    incidents: IncidentTable = IncidentTable()


class KeyTable(Section):
    """One of ``[signing] keys``; ``file`` is read by gateway.config.signing_keys."""

    selector: Annotated[str, AfterValidator(selector)]
    file: Text
    since: Annotated[str, AfterValidator(day)] = ""


class SigningTable(Section):
    """``[signing]``: keys for DKIM signatures and ARC seals, and when mail to these domains is sealed."""

    keys: tuple[KeyTable, ...] = ()
    seal: Literal["never", "altered", "always"] = "never"

    @model_validator(mode="after")
    def _with_a_key(self) -> Self:
        if self.seal != "never" and not self.keys:
            raise wrong_at(("seal",), 'needs a key in keys; "never" is allowed without')
        return self


class PolicyTable(SharedTable):
    """The keys of a policy file, but ``mailbox``."""

    domains: tuple[Domain, ...]
    signing: SigningTable = SigningTable()

    @field_validator("domains", mode="after")
    @classmethod
    def _each_once(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        for index, domain in enumerate(domains):
            if domain in domains[:index]:
                raise wrong_at((index,), f"{domain} is named twice")
        return domains

    @field_validator("domains", mode="after")
    @classmethod
    def _some(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        if not domains:
            raise ValueError('at least one domain is wanted, such as ["example.com"]')
        return domains

    @field_validator("next_hop", mode="after")
    @classmethod
    def _somewhere(cls, hops: tuple[NextHop, ...]) -> tuple[NextHop, ...]:
        if not hops:
            raise ValueError('at least one next hop is wanted, such as ["smtp://10.1.0.5:25"]')
        return hops
