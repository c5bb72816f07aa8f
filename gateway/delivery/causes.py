"""Why a copy did not leave, by name: replies that no next hop gave (RFC 5321 §4.2, RFC 3463, RFC 7505).

They stand where a next hop's reply would: in attempts, events, ledger rows and delivery status notifications. What
differs from case to case comes by ``Reply.saying``. None of them reaches a wire.

Each carries a ``cause``, which tells it from a next hop's reply: those have none.
"""

from gateway.smtp.reply import EnhancedStatus, Reply


def _cause(code: int, status: str, text: str) -> Reply:
    kind, subject, detail = status.split(".")
    return Reply(code, EnhancedStatus(int(kind), int(subject), int(detail)), text, cause="local")


def is_remote(reply: Reply) -> bool:
    """Tell whether a next hop said it."""
    return not reply.cause


# --- The connection.

# A 5yz greeting or EHLO says something about the host at that moment, not about the mail; Postfix defers too.
HOST_REFUSES = _cause(451, "4.3.2", "the host refuses to talk")
CANNOT_CONNECT = _cause(451, "4.4.1", "cannot connect")
LOST_CONNECTION = _cause(451, "4.4.2", "lost connection")
TIMED_OUT = _cause(451, "4.4.2", "timed out")  # RFC 5321 §4.5.3.2
PROTOCOL_ERROR = _cause(451, "4.5.0", "the next hop does not speak SMTP")
TLS_NOT_OFFERED = _cause(451, "4.7.4", "TLS is required, but was not offered")
TLS_FAILED = _cause(451, "4.7.5", "TLS failed")
SUSPENDED = _cause(451, "4.4.1", "delivery temporarily suspended")

# --- The route.

# RFC 7505 §4.1: 556 5.1.10 is what a sender sees for a domain with a null MX.
NULL_MX = _cause(556, "5.1.10", "the domain takes no mail (null MX)")
NO_SUCH_DOMAIN = _cause(550, "5.1.2", "the domain does not exist")
NO_MAIL_HOST = _cause(550, "5.4.4", "the domain has no mail host")
LOOP = _cause(554, "5.4.6", "mail for the domain loops back to this host")
LOOKUP_FAILED = _cause(451, "4.4.3", "the mail host cannot be looked up")
# An administrator wrote a host that does not resolve: the sender's mail waits for the correction.
NEXT_HOP_UNKNOWN = _cause(451, "4.3.5", "the configured next hop does not resolve")
NO_NEXT_HOP = _cause(451, "4.3.5", "no next hop is configured for the recipient")

# --- The message.

# RFC 1870 §6.3 (2): what is larger than the announced maximum is not sent at all.
TOO_BIG = _cause(552, "5.3.4", "the message is larger than the next hop takes")
# RFC 6531 §3.5, RFC 5248: 5.6.7, non-ASCII addresses not permitted.
SMTPUTF8_NEEDED = _cause(553, "5.6.7", "the next hop does not offer SMTPUTF8, which the message needs")

# --- Here.

CANNOT_WRITE = _cause(451, "4.3.0", "the mailbox cannot be written")
MAILBOX_FULL = _cause(452, "4.3.1", "no space for the mailbox")
INTERNAL_ERROR = _cause(451, "4.3.0", "internal error")
CONTENT_UNREADABLE = _cause(451, "4.3.0", "the content cannot be read from the spool")
DELIVERED = _cause(250, "2.0.0", "delivered to the maildir")
EXPIRED = _cause(554, "5.4.7", "delivery time expired")  # RFC 3463 §3.5: X.4.7
SPOOL_BUSY = _cause(451, "4.3.0", "waiting for the spool")
