"""The result words of RFC 8601 §2.7, one set for all methods."""

from enum import StrEnum


class Word(StrEnum):
    """What a method says."""

    NONE = "none"
    PASS = "pass"  # noqa: S105 - a result word, no password
    FAIL = "fail"
    SOFTFAIL = "softfail"
    NEUTRAL = "neutral"
    POLICY = "policy"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"
