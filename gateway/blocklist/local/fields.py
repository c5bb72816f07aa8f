"""Named fields, in CSV and JSON lines: which is the entry, and what the others say about it.

A list's declaration may name the fields; else the usual names are known, English and Chinese, upper or lower case.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from types import MappingProxyType

from gateway.blocklist.local.collected import Collected, Note, clean

_DAY_SECONDS = 86_400
# Until the year 9999; milliseconds since 1970 are told from seconds by being beyond it.
_MAX_SECONDS = 253_402_300_799
_COMPACT_DATE_DIGITS = 8

ENTRY = "entry"
REASON = "reason"
VALUE = "value"
SINCE = "since"
UNTIL = "until"
ROLES = (ENTRY, REASON, VALUE, SINCE, UNTIL)

_USUAL: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        ENTRY: (
            *("entry", "ip", "ip_address", "ipaddress", "ip address", "cidr", "network", "prefix", "range", "subnet"),
            *("domain", "domain_name", "host", "hostname", "fqdn", "url", "email", "mail", "address", "sender"),
            *("sha256", "sha256_hash", "hash", "indicator", "ioc", "ioc_value", "value"),
            *("ip地址", "地址", "ip", "网段", "域名", "邮箱", "邮件地址", "发件人", "网址", "服务器地址", "条目"),
        ),
        REASON: (
            *("reason", "comment", "description", "note", "threat", "category", "type", "tags", "sblid"),
            *("原因", "理由", "说明", "备注", "类型", "列入原因"),
        ),
        VALUE: ("code", "return_code", "a", "score"),
        SINCE: (
            *("since", "first_seen", "first_seen_utc", "firstseen", "dateadded", "date_added", "added", "listed"),
            *("列入时间", "发布时间", "加入时间", "生效时间", "日期"),
        ),
        UNTIL: ("until", "expires", "expiry", "valid_until", "有效期至", "失效时间", "截止时间", "到期时间"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Role → name of the field as a list's declaration has it; a role without one is found by the usual names."""

    names: tuple[tuple[str, str], ...] = ()

    def assigned(self, given: tuple[str, ...]) -> dict[str, int]:
        """Return role → index among the names ``given``; without ENTRY when none of them is known."""
        declared = dict(self.names)
        folded = [name.strip().casefold() for name in given]
        found: dict[str, int] = {}
        for role in ROLES:
            wanted = (declared[role].casefold(),) if role in declared else _USUAL[role]
            # "value" is a usual name of an entry; a field that has a role already has no second one.
            place = next(
                (folded.index(n) for n in wanted if n in folded and folded.index(n) not in found.values()), None
            )
            if place is not None:
                found[role] = place
        return found


USUAL_FIELDS = Fields()


def add_record(into: Collected, line: int, record: Mapping[str, str]) -> None:
    """Take one record, texts by role."""
    entry = record.get(ENTRY, "").strip()
    if not entry:
        into.bad(line, "no entry in this record")
        return
    try:
        note = Note(
            clean(record.get(REASON, "")),
            clean(record.get(VALUE, "")),
            instant(record.get(SINCE, "")),
            instant(record.get(UNTIL, ""), last=True),
        )
    except ValueError as error:
        into.bad(line, str(error), entry)
        return
    into.add_text(line, entry, note)


def instant(text: str, *, last: bool = False) -> float | None:
    """Return UTC seconds of a date, a time or a number of seconds, None for nothing; ValueError says what is allowed.

    A date without a time is its first moment, or with ``last`` the end of that day; without a zone it is UTC.
    """
    text = text.strip()
    if not text or text in {"-", "0"} or text.lower() in {"never", "none", "null"}:
        return None
    try:
        if text.replace(".", "", 1).isdecimal() and text.isascii() and len(text) > _COMPACT_DATE_DIGITS:
            return _counted(float(text))
        day_only = len(text) <= len("2026-01-01")
        found = datetime.fromisoformat(text.replace("/", "-"))
        found = found if found.tzinfo else datetime.combine(found, time.min if day_only else found.time(), UTC)
        return found.timestamp() + (_DAY_SECONDS if last and day_only else 0)
    except (ValueError, OverflowError):
        raise ValueError(
            f"a date such as 2026-11-22 or 2026-11-22T10:00+08:00 is wanted, not {clean(text)[:40]}"
        ) from None


def _counted(number: float) -> float:
    seconds = number / 1000 if number > _MAX_SECONDS else number
    if not math.isfinite(seconds) or seconds > _MAX_SECONDS:
        raise ValueError
    return seconds
