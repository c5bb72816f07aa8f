"""The contract's words as letters have them, in English and Chinese (contract.md §4).

Tables and files that programs read have the short ones.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

_GROUNDS: Mapping[str, Mapping[str, str]] = {
    "zh": {
        "advertising": "未经同意的广告、刊物、宣传品",
        "no-opt-out": "收件人无法拒收",
        "hidden-sender": "隐藏发件人身份、地址或标题",
        "false-source": "虚假的信息源、发件人、路由",
        "harmful": "病毒、恶意代码、色情或其他有害内容",
    },
    "en": {
        "advertising": "unsolicited advertising",
        "no-opt-out": "cannot be refused by its recipients",
        "hidden-sender": "hides the sender's identity, address or subject",
        "false-source": "false source, sender or route",
        "harmful": "viruses or otherwise harmful content",
    },
}
# A ground has commas of its own.
_BETWEEN = {"zh": "；", "en": "; "}  # noqa: RUF001 - Chinese punctuation
# By where a contact was found (``reporting.contacts``).
_ORIGINS: Mapping[str, Mapping[str, str]] = {
    "zh": {"table": "我方联系人名录", "zone": "DNS 中的投诉联系人记录", "rdap": "RDAP 注册信息"},
    "en": {"table": "our list of contacts", "zone": "the contact on record in DNS", "rdap": "registration data (RDAP)"},
}
_MOMENTS = {"zh": "%Y年%m月%d日 %H:%M", "en": "%Y-%m-%d %H:%M"}
_SHANGHAI = "Asia/Shanghai"


def grounds_in(language: str, grounds: Iterable[str]) -> str:
    """Return an incident's grounds as a letter names them, "" for none."""
    return _BETWEEN[language].join(_GROUNDS[language][ground] for ground in grounds)


def origin_in(language: str, origin: str) -> str:
    """Return where a contact was found as a letter names it, "" for a place that has no name."""
    return _ORIGINS[language].get(origin, "")


def moment_in(language: str, utc: float, zone: str) -> str:
    """Return an instant in a time zone as a letter has it."""
    text = f"{datetime.fromtimestamp(utc, ZoneInfo(zone)):{_MOMENTS[language]}}"
    if language == "zh":
        return f"{text}（{'北京时间' if zone == _SHANGHAI else zone}）"  # noqa: RUF001 - Chinese punctuation
    return f"{text} ({zone})"
