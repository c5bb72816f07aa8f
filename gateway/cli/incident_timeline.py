"""What a row of the incident record says, on one line for people."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.admin.lines import printable
from gateway.cli.incident_record import moment
from gateway.incidents.chain import Row

# What concerns the record's keeping, not the case.
_LONG_FACTS = ("salt", "about.")
_TIMES = ("until", "due_at")
_MAX_FACT = 100
# A fact in braces; one that a row does not have, or that retention erased, is "?".
_WORDS = {
    "opened-by-hand": "opened by hand: {reason}",
    "noted": "note: {text}",
    "reported": "reported to {to}: report {report}, {report_kind}, {format}",
    "clock-started": "clock runs: {clock_kind} until {due_at}",
    "clock-stopped": "clock {clock} stopped",
    "block-began": "{entry} blocked until {until} ({how}): {reason}",
    "block-ended": "block of {entry} ended: {reason}",
    "block-refused": "{entry} not blocked: {why}",
    "suspended": "{sender} suspended ({how}): {reason}",
    "guarantee-recorded": "guarantee {guarantee} of {company} for the {scope} {subject}, signed {signed_on}",
    "ticket-opened": "ticket {ticket} opened by a complaint ({format})",
    "ticket-answered": "ticket {ticket} answered: {answer}",
    "ticket-undelivered": "ticket {ticket}: its {answer} came back: {reason}",
    "mail-bounced": "mail {mail} came back: {reason}",
    "mail-answered": "mail {mail} was answered: {reason}",
    "exported": "exported: sha256 {sha256}",
}


def told(row: Row) -> str:
    """Return what a row of the chain says."""
    facts = row.facts
    match row.kind:
        case "opened":
            return "opened" + (f", after incident {facts['previous']}" if facts.get("previous") else "")
        case "moved" | "resumed" if "to" in facts:
            reason = f": {printable(str(facts['reason']))}" if facts.get("reason") else ""
            return f"{row.kind} {facts.get('from')} → {facts['to']}{reason}"
        case "restored":
            on = "without a guarantee: {override}" if facts.get("override") else "on guarantee {guarantee}"
            return _filled(f"{{sender}} restored {on}", facts)
        case kind if kind in _WORDS:
            return "".join((_filled(_WORDS[kind], facts), *_more(facts)))
    return f"{row.kind} {' '.join(_named(facts))}".rstrip()


def _filled(words: str, facts: Mapping[str, Any]) -> str:
    return words.format_map(_Shown(facts))


def _more(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what only some rows of a kind have."""
    if facts.get("proof"):
        yield f": {printable(str(facts['proof']))}"
    if facts.get("client"):
        yield f", with the relay client {_short('client', facts['client'])}"


class _Shown(dict[str, str]):
    """Facts as they are shown; one that is not there as "?"."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__({name: _short(name, value) for name, value in facts.items()})

    def __missing__(self, name: str) -> str:
        return "?"


def _named(facts: Mapping[str, Any]) -> Iterator[str]:
    for name, value in facts.items():
        if not name.startswith(_LONG_FACTS):
            yield f"{name}={_short(name, value)}"


def _short(name: str, value: Any) -> str:
    if name in _TIMES and isinstance(value, int | float):
        value = moment(value)
    text = printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _MAX_FACT else f"{text[:_MAX_FACT]}…"
