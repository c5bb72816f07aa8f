"""The written guarantee (contract.md §4 h): the letter with the case filled in, in Chinese or English.

Three parts: the guarantee, the statement of the block, the copy of the business licence. What only the customer knows
is a blank to write on. The texts lie in ``letters/``; a lawyer may change them, the names behind ``$`` stay. What
happened is said as it was: spam over some time (``sent``), at one moment (``sent-once``), or a suspension with no spam
on record (``unseen``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from string import Template
from zoneinfo import ZoneInfo

from gateway.abuse.blocking import BY_HAND
from gateway.abuse.terms import grounds_in
from gateway.incidents.suspensions import Suspension
from gateway.incidents.values import Incident, SourceKind

LANGUAGES = ("zh", "en")
BLANK = "________________"
_TICKED, _OPEN = "[x]", "[ ]"
# What the keeper writes down is for operators; a customer puts a seal to this.
_AUTOMATIC = {"zh": "系统监测到异常发信后自动暂停，记录为：", "en": "suspended by the system, on record as: "}  # noqa: RUF001 - Chinese punctuation
_NEVER = {"zh": "无记录", "en": "none on record"}
_DATES = {"zh": "%Y年%m月%d日 %H:%M", "en": "%Y-%m-%d %H:%M"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """Who runs this gateway, as the letter names it; ``zone`` is the time zone of its dates."""

    name: str
    abuse: str = ""
    telephone: str = ""
    zone: str = "Asia/Shanghai"


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """What is known of the customer; "" leaves a blank."""

    company: str = ""
    manager: str = ""
    contact: str = ""
    telephone: str = ""


def letter(
    incident: Incident, suspension: Suspension | None, language: str, *, provider: Provider, customer: Customer
) -> str:
    """Return the letter for a case, in ``zh`` or ``en``."""
    facts = _case(incident, suspension, language, provider.zone)
    return _text("guarantee", language).substitute(
        facts,
        case=_text(_what_happened(incident, facts), language).substitute(facts).strip(),
        provider=provider.name,
        abuse=provider.abuse or BLANK,
        abuse_telephone=provider.telephone,
        company=customer.company or BLANK,
        manager=customer.manager or BLANK,
        contact=customer.contact or BLANK,
        telephone=customer.telephone or BLANK,
        date=BLANK,
    )


def _text(name: str, language: str) -> Template:
    return Template(files("gateway.abuse.letters").joinpath(f"{name}.{language}.txt").read_text(encoding="utf-8"))


def _what_happened(incident: Incident, facts: Mapping[str, str]) -> str:
    if not incident.sightings:
        return "unseen"
    return "sent-once" if facts["first_seen"] == facts["last_seen"] else "sent"


def _case(incident: Incident, suspension: Suspension | None, language: str, zone: str) -> dict[str, str]:
    def moment(at: float | None) -> str:
        return f"{datetime.fromtimestamp(at, ZoneInfo(zone)):{_DATES[language]}}" if at is not None else BLANK

    sender = suspension.sender if suspension else incident.source.key
    kind = suspension.kind if suspension else incident.source.kind.value
    account = kind == SourceKind.ACCOUNT
    # A relay client sends for a whole domain; which one only the customer knows.
    whole = sender.startswith("@") or kind == SourceKind.CLIENT
    return {
        "incident": str(incident.id),
        "sender": sender,
        "mailbox": sender if account and not whole else BLANK,
        "mailbox_box": _TICKED if account and not whole else _OPEN,
        "domain": sender.rpartition("@")[2] if account else BLANK,
        "domain_box": _TICKED if whole else _OPEN,
        "first_seen": moment(incident.first_seen) if incident.sightings else _NEVER[language],
        "last_seen": moment(incident.last_seen) if incident.sightings else _NEVER[language],
        "sightings": str(incident.sightings),
        "viruses": str(incident.viruses),
        "grounds": grounds_in(language, incident.grounds) or BLANK,
        "suspended_at": moment(suspension.began_at if suspension else incident.blocked_at),
        "reason": _reason(suspension, language),
    }


def _reason(suspension: Suspension | None, language: str) -> str:
    """Return why a sender was suspended; what a machine wrote down says that a machine did."""
    if suspension is None:
        return BLANK
    return suspension.reason if suspension.how == BY_HAND else f"{_AUTOMATIC[language]}{suspension.reason}"
