"""The conformance suites: data beside the project, absent in most clones."""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.dns.answer import Answer, found, no_such_name, no_such_record, temperror
from gateway.dns.resolver import Resolver

MATERIAL = Path(__file__).parents[3] / "shared/material"
ABSENT = f"the conformance suites are not there ({MATERIAL.relative_to(MATERIAL.parents[1])} beside the project)"


def documents(path: str) -> list[dict[str, Any]]:
    """Return the documents of a YAML suite, none where it is absent."""
    file = MATERIAL / path
    if not file.exists():
        return []
    with file.open(encoding="utf-8") as stream:
        return list(yaml.load_all(stream, Loader=_LOADER))


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def cases(path: str) -> list[Any]:
    """Return pytest parameters (document, case), one that is skipped where the suite is absent."""
    found_cases = [
        pytest.param(document, case, id=f"{document['description'].strip()}-{name}".replace(" ", "-"))
        for document in documents(path)
        for name, case in document["tests"].items()
    ]
    return found_cases or [pytest.param({}, {}, id=path, marks=pytest.mark.skip(reason=ABSENT))]


class TextZone(Resolver):
    """DNS of the ARC suite and the DKIM corpus: TXT records by name, a list of names that fail."""

    def __init__(self, texts: Mapping[str, str], failing: Sequence[str] = ()) -> None:
        self._texts = {name.lower(): text for name, text in texts.items()}
        self._failing = set(failing)
        self.asked: list[tuple[str, str]] = []

    async def query(self, name: str, rdtype: str) -> Answer:
        self.asked.append((name, rdtype))
        if name.lower() in self._failing:
            return temperror(name, rdtype, "SERVFAIL")
        text = self._texts.get(name.lower()) if rdtype == "TXT" else None
        return no_such_name(name, rdtype, 300) if text is None else found(name, rdtype, (text,), 300)


class SuiteZone(Resolver):
    """DNS of one scenario of the SPF suite (its zonedata), with its rules.

    SPF records stand for TXT where a name has no TXT of its own; "NONE" is no record; TIMEOUT answers whatever has
    no record above it.
    """

    def __init__(self, zonedata: Mapping[str, Sequence[Any]]) -> None:
        self._names = {name.lower().removesuffix("."): list(_records(records)) for name, records in zonedata.items()}

    async def query(self, name: str, rdtype: str) -> Answer:
        target = name.lower().removesuffix(".")
        for _ in range(8):
            records = self._names.get(target)
            if records is None:
                return no_such_name(name, rdtype, 300)
            alias = [value for kind, value in records if kind == "CNAME"]
            if not alias or rdtype == "CNAME":
                return _answer(name, rdtype, records)
            target = alias[0]
        return temperror(name, rdtype, "alias chain too long")


def _records(records: Sequence[Any]) -> Iterator[tuple[str, str]]:
    own_txt = any(isinstance(record, dict) and "TXT" in record for record in records)
    for record in records:
        if record == "TIMEOUT":
            yield "TIMEOUT", ""
            continue
        ((kind, value),) = record.items()
        if value == "NONE":
            continue
        if kind == "SPF" and not own_txt:
            yield "TXT", _text(value)
        elif kind == "MX":
            yield kind, f"{value[0]} {str(value[1]).lower().removesuffix('.') or '.'}"
        elif kind == "AAAA":
            yield kind, str(ip_address(value))
        elif kind in {"CNAME", "PTR"}:
            yield kind, value.lower().removesuffix(".")
        else:
            yield kind, _text(value)


def _text(value: Any) -> str:
    joined = "".join(value) if isinstance(value, list) else str(value)
    return joined.encode("utf-8").decode("latin-1")


def _answer(name: str, rdtype: str, records: Sequence[tuple[str, str]]) -> Answer:
    values = tuple(value for kind, value in records if kind == rdtype)
    if values:
        return found(name, rdtype, values, 300)
    if any(kind == "TIMEOUT" for kind, _ in records):
        return temperror(name, rdtype, "timeout")
    return no_such_record(name, rdtype, 300)
