"""The ``Received-SPF`` field (RFC 7208 §9.1)."""

from gateway.mail.trace_fields import text_field
from gateway.senderauth.spf.result import SpfResult
from gateway.smtp.reply import printable


def received_spf(result: SpfResult) -> bytes:
    """Return the field, CR LF included."""
    question = result.question
    pairs = {
        "client-ip": str(question.client),
        "envelope-from": _quoted(result.sender) if result.identity == "mailfrom" else "",
        "helo": _quoted(question.helo),
        "receiver": question.receiver,
        "identity": result.identity,
        "mechanism": _quoted(result.mechanism) if result.mechanism else "",
        "problem": _quoted(result.reason) if result.result in {"temperror", "permerror"} else "",
    }
    said = " ".join(f"{key}={value};" for key, value in pairs.items() if value)
    return text_field("Received-SPF", f"{result.result} ({_comment(question.receiver, result.reason)}) {said}")


def _comment(receiver: str, reason: str) -> str:
    # RFC 5322 §3.2.2: ctext has neither parentheses nor the backslash.
    text = printable(f"{receiver}: {reason}").replace("\\", "\\\\")
    return text.replace("(", "\\(").replace(")", "\\)")


def _quoted(text: str) -> str:
    escaped = printable(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
