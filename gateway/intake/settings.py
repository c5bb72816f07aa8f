"""One configuration snapshot, compiled for one listener: bounds, and the octets of banner and EHLO reply made once.

A session reads them through its listener, which compiles again when the gate brings a new snapshot; a transaction
keeps what it began with.
"""

from dataclasses import dataclass

from gateway.config.models import GatewayConfig, Limits, Listen
from gateway.intake.content import ContentRules
from gateway.smtp import replies

# RFC 9422 §4: a limit has one to six digits.
_MOST_LIMIT = 999_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the door reads of the configuration; ``ehlo`` by (TLS is active, XCLIENT is offered)."""

    config: GatewayConfig
    limits: Limits
    hostname: str
    banner: bytes
    helo: bytes
    ehlo: dict[tuple[bool, bool], bytes]
    content: ContentRules
    command_seconds: float
    block_seconds: float
    min_rate: int
    reply_budget_seconds: float


def compile_settings(config: GatewayConfig, listen: Listen) -> Settings:
    """Return the settings of one listener under one configuration."""
    smtp = config.smtp
    return Settings(
        config=config,
        limits=config.limits,
        hostname=config.hostname,
        banner=replies.greeting(config.hostname).wire(),
        helo=replies.hello(config.hostname).wire(),
        ehlo={
            (tls, xclient): _ehlo(config, listen, tls, xclient) for tls in (False, True) for xclient in (False, True)
        },
        content=ContentRules(
            max_octets=config.max_message,
            spill_octets=smtp.spill,
            normalise_newlines=smtp.bare_newline == "normalise",
        ),
        command_seconds=smtp.command_timeout,
        block_seconds=smtp.data_block_timeout,
        min_rate=smtp.min_rate,
        reply_budget_seconds=smtp.data_reply_budget,
    )


def _ehlo(config: GatewayConfig, listen: Listen, tls: bool, xclient: bool) -> bytes:  # noqa: FBT001 - a key of the table above
    keywords = [
        "PIPELINING",  # RFC 2920
        f"SIZE {config.max_message}",  # RFC 1870
        "8BITMIME",  # RFC 6152
        "SMTPUTF8",  # RFC 6531
        "CHUNKING",  # RFC 3030, without BINARYMIME
        "DSN",  # RFC 3461
        "ENHANCEDSTATUSCODES",  # RFC 2034
        _limits(config.limits),
    ]
    # RFC 3207 §4.2: not offered again once TLS is active.
    if listen.tls and not tls:
        keywords.append("STARTTLS")
    if xclient:
        keywords.append("XCLIENT NAME ADDR PORT PROTO HELO")
    return replies.extended_hello(config.hostname, tuple(keywords)).wire()


def _limits(limits: Limits) -> str:
    # A limit that is off is not named.
    named = {"MAILMAX": limits.messages_per_session, "RCPTMAX": limits.recipients_per_message}
    return " ".join(["LIMITS", *(f"{name}={value}" for name, value in named.items() if 0 < value <= _MOST_LIMIT)])
