"""The ``Authentication-Results`` field (RFC 8601 §2.2): written first and complete, one field for all methods.

``results_text`` is its value, authserv-id first, which ARC-Authentication-Results repeats (RFC 8617 §4.1.1);
``results_field`` the field. Every value is printable ASCII: a domain as A-labels, anything else escaped and quoted.
Untrusted copies of ours are removed by ``gateway.mail.trace_fields``.

Properties: RFC 8601 §2.7 for spf, dkim and iprev, with header.b of RFC 6008; header.oldest-pass for arc (RFC 8617
§10.2); policy.dmarc, the policy after t=, for dmarc (RFC 9989 §9.1).
"""

import re
from collections.abc import Iterable, Sequence

from gateway.mail.trace_fields import FOLD_AT, MAX_WORD
from gateway.senderauth.arc.validate import ArcResult
from gateway.senderauth.dkim.verify import DkimResult
from gateway.senderauth.dmarc.evaluate import DmarcResult
from gateway.senderauth.iprev import IprevResult
from gateway.senderauth.spf.result import SpfResult
from gateway.senderauth.word import Word
from gateway.smtp.reply import printable
from gateway.value import value

# RFC 2045 §5.1: token; RFC 8601 §2.2 takes an address without quotes as well where both halves are plain.
_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]*@?[A-Za-z0-9!#$%&'*+.^_`{|}~-]+")
# The header says what, the journal says why in full.
_MAX_REASON = 200


@value(kw_only=True)
class MethodResult:
    """One resinfo: ``properties`` are pairs such as ("smtp.mailfrom", "a@b.example"); empty values are left out."""

    method: str
    result: Word
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()


def results_field(authserv_id: str, results: Sequence[MethodResult]) -> bytes:
    """Return the field, CR LF included."""
    return b"Authentication-Results: " + results_text(authserv_id, results).encode("ascii") + b"\r\n"


def results_text(authserv_id: str, results: Sequence[MethodResult]) -> str:
    """Return the field's value, folded, without the last line's end."""
    if not results:
        # RFC 8601 §2.2: no-result.
        return f"{authserv_id}; none"
    parts = [_resinfo(result) for result in results]
    lines = [f"{authserv_id};"]
    for at, words in enumerate(parts):
        lines.extend(_folded(words, "" if at == len(parts) - 1 else ";"))
    return "\r\n\t".join(lines)


def of_spf(result: SpfResult) -> MethodResult:
    """Return SPF's (RFC 8601 §2.7.2)."""
    if result.identity == "helo":
        return MethodResult(
            method="spf", result=result.result, reason=result.reason, properties=(("smtp.helo", result.domain),)
        )
    return MethodResult(
        method="spf", result=result.result, reason=result.reason, properties=(("smtp.mailfrom", result.sender),)
    )


def of_dkim(results: Sequence[DkimResult]) -> tuple[MethodResult, ...]:
    """Return one for each signature, *none* when there is none (RFC 8601 §2.7.1)."""
    if not results:
        return (MethodResult(method="dkim", result=Word.NONE, reason="no signature"),)
    return tuple(
        MethodResult(
            method="dkim",
            result=result.result,
            reason=result.reason,
            properties=(
                ("header.d", result.domain),
                ("header.i", result.identity),
                ("header.a", result.algorithm),
                ("header.s", result.selector),
                ("header.b", result.value_start),
            ),
        )
        for result in results
    )


def of_dmarc(result: DmarcResult) -> MethodResult:
    """Return DMARC's (RFC 9989 §9.1)."""
    return MethodResult(
        method="dmarc",
        result=result.result,
        reason=result.reason,
        properties=(
            ("header.from", result.author.domain),
            ("policy.dmarc", result.policy.value if result.policy_domain else ""),
        ),
    )


def of_arc(result: ArcResult, client: str) -> MethodResult:
    """Return ARC's (RFC 8617 §10.2)."""
    passed = result.result is Word.PASS
    return MethodResult(
        method="arc",
        result=result.result,
        reason=result.reason,
        properties=(
            ("header.oldest-pass", str(result.oldest_pass) if passed else ""),
            ("smtp.remote-ip", client),
        ),
    )


def of_iprev(result: IprevResult) -> MethodResult:
    """Return iprev's (RFC 8601 §3)."""
    return MethodResult(
        method="iprev", result=result.result, reason=result.reason, properties=(("policy.iprev", result.client),)
    )


def _resinfo(result: MethodResult) -> list[str]:
    words = [f"{result.method}={result.result}"]
    if result.reason:
        words.append(f"reason={_quoted(printable(result.reason)[:_MAX_REASON])}")
    words.extend(f"{name}={_value(value)}" for name, value in result.properties if value)
    return words


def _value(value: str) -> str:
    if len(value) <= MAX_WORD and _PLAIN.fullmatch(value):
        return value
    # Quoting doubles a backslash or a quotation mark.
    return _quoted(printable(value)[: MAX_WORD // 2 - 1])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _folded(words: Iterable[str], end: str) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in words:
        if line and len(line) + 1 + len(word) >= FOLD_AT:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line + end]
