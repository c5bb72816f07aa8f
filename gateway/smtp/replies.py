"""Every reply the gateway gives, by name (RFC 5321 §4.2, RFC 3463, RFC 5248, RFC 7372).

A call site says ``RELAY_DENIED``, never a digit. What differs from case to case comes from a factory in small
letters, or by ``Reply.saying`` (the wire) and ``Reply.because`` (the journal). 4yz: the same command may succeed
later; 5yz: it will not. A 421 closes the connection. Wire texts are generic and stable, and tell a stranger nothing
about the inside.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.smtp.reply import EnhancedStatus, Reply


def _reply(code: int, status: str, text: str) -> Reply:
    kind, subject, detail = status.split(".")
    return Reply(code, EnhancedStatus(int(kind), int(subject), int(detail)), text)


# --- Session: greeting, EHLO, end. RFC 2034 §4: the greeting, EHLO and HELO carry no enhanced status code.


def greeting(hostname: str) -> Reply:
    """Return the banner (RFC 5321 §3.1)."""
    return Reply(220, None, f"{hostname} ESMTP Tidegate")


def hello(hostname: str) -> Reply:
    """Return the answer to HELO (RFC 5321 §4.1.1.1)."""
    return Reply(250, None, hostname)


def extended_hello(hostname: str, extensions: tuple[str, ...]) -> Reply:
    """Return the answer to EHLO; one line for each of ``extensions``, keyword and parameters as they stand."""
    return Reply(250, None, "\n".join((hostname, *extensions)))


GREETING = greeting

GOODBYE = _reply(221, "2.0.0", "goodbye")
OK = _reply(250, "2.0.0", "ok")
VRFY_CANNOT = _reply(
    252, "2.5.0", "cannot verify the user, but will take a message and try to deliver it"
)  # RFC 5321 §3.5.3
HELP = _reply(214, "2.0.0", "commands: EHLO HELO STARTTLS MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT")

# --- STARTTLS (RFC 3207 §4). Clear text behind STARTTLS is injection; the connection is in no known state, hence 554.

READY_FOR_TLS = _reply(220, "2.0.0", "ready to start TLS")
TLS_NOT_AVAILABLE = _reply(454, "4.7.0", "TLS is not available for a temporary reason")
TLS_NOT_OFFERED = _reply(502, "5.5.1", "STARTTLS is not offered here")
TLS_ALREADY_ACTIVE = _reply(503, "5.5.1", "bad sequence of commands: TLS is already active")
TLS_REQUIRED = _reply(530, "5.7.0", "must issue a STARTTLS command first")
CLEARTEXT_AFTER_STARTTLS = _reply(554, "5.5.1", "clear text was sent behind STARTTLS")

# --- Commands: syntax and sequence (RFC 5321 §4.2.4, §4.3.2).

UNRECOGNISED = _reply(500, "5.5.1", "command not recognised")
SYNTAX_ERROR = _reply(500, "5.5.2", "command syntax error")
EMPTY_COMMAND = _reply(500, "5.5.2", "an empty line is not a command")
LINE_TOO_LONG = _reply(500, "5.5.2", "command line too long")
CONTROL_CHARACTERS = _reply(500, "5.5.2", "control characters in a command")
LINE_FEED_ALONE = _reply(500, "5.5.2", "a command line ends with CR LF")  # RFC 5321 §2.3.8
NON_ASCII = _reply(500, "5.5.2", "only ASCII is allowed in this command")
INVALID_UTF8 = _reply(500, "5.5.2", "the command is not valid UTF-8")  # RFC 6531 §3.3, RFC 3629
BAD_ARGUMENTS = _reply(501, "5.5.4", "syntax error in arguments")
NO_ARGUMENTS_ALLOWED = _reply(501, "5.5.4", "this command takes no arguments")
HELLO_NAME_MISSING = _reply(501, "5.5.4", "a domain name or an address literal must follow")  # RFC 5321 §4.1.1.1
HELLO_NAME_BAD = _reply(501, "5.5.4", "this is neither a domain name nor an address literal")
NOT_IMPLEMENTED = _reply(502, "5.5.1", "command not implemented")
BAD_SEQUENCE = _reply(503, "5.5.1", "bad sequence of commands")
HELLO_FIRST = _reply(503, "5.5.1", "bad sequence of commands: send EHLO or HELO first")
MAIL_FIRST = _reply(503, "5.5.1", "bad sequence of commands: send MAIL first")
RCPT_FIRST = _reply(503, "5.5.1", "bad sequence of commands: send RCPT first")
NESTED_MAIL = _reply(503, "5.5.1", "bad sequence of commands: a mail transaction is already open")
TRANSACTION_OPEN = _reply(503, "5.5.1", "bad sequence of commands: not inside a mail transaction")
EHLO_FOR_EXTENSIONS = _reply(503, "5.5.1", "bad sequence of commands: this extension needs EHLO")
# RFC 2920 §3.1: a client that saw no PIPELINING waits for each reply; and nobody sends text before 354. Either is
# smuggling or a bot.
PIPELINING_MISUSE = _reply(503, "5.5.0", "commands were sent without waiting for replies")
TEXT_BEFORE_354 = _reply(554, "5.5.0", "text was sent before the reply to DATA")
EARLY_TALKER = _reply(554, "5.5.0", "commands were sent before the greeting")  # RFC 5321 §4.3.1
# Postfix's XCLIENT_README: who may not say who its client is.
XCLIENT_DENIED = _reply(550, "5.7.0", "XCLIENT is not for you")
# An HTTP client is a browser or a proxy made to attack port 25; talking on would feed it replies.
HTTP_CUT_OFF = _reply(421, "4.7.0", "this is not a web server, closing connection")

# --- MAIL and its parameters.

SENDER_OK = _reply(250, "2.1.0", "sender ok")
BAD_SENDER_SYNTAX = _reply(501, "5.1.7", "bad reverse-path syntax")
SENDER_TOO_LONG = _reply(501, "5.1.7", "reverse-path too long")  # RFC 5321 §4.5.3.1.10
BAD_SENDER_DOMAIN = _reply(501, "5.1.7", "bad domain in the reverse-path")
SENDER_NOT_UTF8 = _reply(501, "5.1.7", "the reverse-path is not valid UTF-8")
SENDER_NON_ASCII = _reply(553, "5.6.7", "a non-ASCII reverse-path needs SMTPUTF8")  # RFC 6531 §3.5
SENDER_SUSPENDED = _reply(550, "5.7.1", "sender suspended")
SENDER_DENIED = _reply(550, "5.7.1", "sender not allowed here")
SENDER_DOMAIN_BAD = _reply(550, "5.1.8", "the sender's domain cannot take an answer")  # RFC 3463 §3.2
SENDER_DOMAIN_UNKNOWN = _reply(451, "4.1.8", "the sender's domain cannot be looked up at the moment, try again later")
BAD_PARAMETER = _reply(501, "5.5.4", "syntax error in a parameter")
DUPLICATE_PARAMETER = _reply(501, "5.5.4", "a parameter was given twice")
PARAMETER_TOO_LONG = _reply(501, "5.5.4", "a parameter is too long")
UNKNOWN_PARAMETER = _reply(555, "5.5.4", "parameter not recognised or not implemented")  # RFC 5321 §4.1.1.11
BINARYMIME_NOT_OFFERED = _reply(555, "5.5.4", "BODY=BINARYMIME is not offered here")  # RFC 3030 §3
# RFC 1870 §6.1 (permanent) and §6.2 (for the moment).
MESSAGE_TOO_BIG = _reply(552, "5.3.4", "message too big")
INSUFFICIENT_STORAGE = _reply(452, "4.3.1", "insufficient storage, try again later")
OUT_OF_MEMORY_BUDGET = _reply(452, "4.3.1", "too much mail in flight, try again later")

# --- RCPT.

RECIPIENT_OK = _reply(250, "2.1.5", "recipient ok")
BAD_RECIPIENT_SYNTAX = _reply(501, "5.1.3", "bad forward-path syntax")
RECIPIENT_TOO_LONG = _reply(501, "5.1.3", "forward-path too long")  # RFC 5321 §4.5.3.1.10
BAD_RECIPIENT_DOMAIN = _reply(501, "5.1.3", "bad domain in the forward-path")
RECIPIENT_NOT_UTF8 = _reply(501, "5.1.3", "the forward-path is not valid UTF-8")
RECIPIENT_NON_ASCII = _reply(553, "5.6.7", "a non-ASCII forward-path needs SMTPUTF8")  # RFC 6531 §3.5
UNSAFE_LOCAL_PART = _reply(553, "5.1.3", "mailbox name not allowed")  # RFC 5321 §4.2.3: 553
SOURCE_ROUTE_DENIED = _reply(550, "5.7.1", "source routes are not accepted")
RELAY_DENIED = _reply(550, "5.7.1", "relaying denied")
USER_UNKNOWN = _reply(550, "5.1.1", "user unknown")
RECIPIENT_UNVERIFIED = _reply(450, "4.1.1", "the mailbox cannot be verified at the moment, try again later")
# RFC 5321 §4.5.5: a null reverse-path carries notifications, which have one recipient each.
NULL_SENDER_ONE_RECIPIENT = _reply(452, "4.5.3", "a null reverse-path takes one recipient in a transaction")
TOO_MANY_RECIPIENTS = _reply(452, "4.5.3", "too many recipients in this transaction")  # RFC 5321 §4.5.3.1.10
NO_VALID_RECIPIENTS = _reply(554, "5.5.1", "no valid recipients")  # RFC 5321 §3.3

# --- DATA, BDAT and content.

START_MAIL_INPUT = Reply(354, None, "end data with <CR><LF>.<CR><LF>")
ACCEPTED = _reply(250, "2.0.0", "accepted")
BARE_NEWLINE = _reply(550, "5.5.2", "a bare CR or LF in the content")  # RFC 5321 §2.3.8
TRUNCATED = _reply(451, "4.4.2", "the transfer ended before the content did")
NUL_IN_CONTENT = _reply(550, "5.6.0", "a NUL in the content")  # RFC 5321 §4.5.2, RFC 5322 §2.2
LOOP_DETECTED = _reply(554, "5.4.6", "too many hops, a mail loop is likely")  # RFC 5321 §6.3
CONTENT_REJECT = _reply(550, "5.6.0", "message content rejected")
NON_ASCII_HEADER = _reply(550, "5.6.0", "non-ASCII header fields need SMTPUTF8")  # RFC 6532 §3


def chunk_received(octets: int) -> Reply:
    """Return the answer to a BDAT that is not the last (RFC 3030 §2)."""
    return _reply(250, "2.0.0", f"{octets} octets received")


BDAT_BAD_SIZE = _reply(501, "5.5.4", "BDAT needs a chunk size and at most LAST")
# RFC 3030 §2: DATA after BDAT, and a BDAT after a refused one, are out of sequence until RSET or MAIL.
BDAT_MIXED_WITH_DATA = _reply(503, "5.5.1", "bad sequence of commands: DATA cannot follow BDAT")
BDAT_TRANSACTION_FAILED = _reply(503, "5.5.1", "bad sequence of commands: an earlier chunk was refused")

# --- Policy, scanners, our own faults.

POLICY_REJECT = _reply(550, "5.7.1", "rejected by policy")
POLICY_DEFER = _reply(451, "4.7.1", "deferred by policy, try again later")
VIRUS_FOUND = _reply(550, "5.7.1", "a virus was found")
SCANNER_UNAVAILABLE = _reply(451, "4.3.0", "the content cannot be scanned at the moment, try again later")
INTERNAL_ERROR = _reply(451, "4.3.0", "local error, try again later")
RATE_LIMITED = _reply(450, "4.7.1", "too much mail from you, try again later")
# RFC 7372 §3, RFC 8617 §10.3: what sender authentication found, or could not find out for the moment.
SPF_REJECT = _reply(550, "5.7.23", "SPF does not allow you to send for this domain")
SPF_DEFER = _reply(451, "4.7.24", "SPF cannot be evaluated at the moment, try again later")
DKIM_REJECT = _reply(550, "5.7.20", "no acceptable DKIM signature")
DKIM_DEFER = _reply(451, "4.7.20", "DKIM cannot be evaluated at the moment, try again later")
DMARC_REJECT = _reply(550, "5.7.26", "the author's domain does not stand behind this message (DMARC)")
DMARC_DEFER = _reply(451, "4.7.26", "DMARC cannot be evaluated at the moment, try again later")
ARC_REJECT = _reply(550, "5.7.29", "the ARC chain does not hold")
ARC_DEFER = _reply(451, "4.7.29", "ARC cannot be evaluated at the moment, try again later")
IPREV_REJECT = _reply(550, "5.7.25", "reverse DNS does not name your address")
IPREV_DEFER = _reply(451, "4.7.25", "reverse DNS cannot be looked up at the moment, try again later")
GREYLISTED = _reply(451, "4.7.1", "not known here yet, try again in some minutes")  # RFC 6647 §2.2

# --- Replies that close the connection (RFC 5321 §3.8, §4.2.2).

SHUTTING_DOWN = _reply(421, "4.3.2", "service is shutting down, try again later")
TIMEOUT = _reply(421, "4.4.2", "timeout, closing connection")  # RFC 5321 §4.5.3.2
TOO_SLOW = _reply(421, "4.4.2", "transfer too slow, closing connection")
TOO_MANY_ERRORS = _reply(421, "4.7.0", "too many errors, closing connection")
TOO_MANY_UNKNOWN_RECIPIENTS = _reply(421, "4.7.0", "too many unknown recipients, closing connection")
TOO_MANY_CONNECTIONS = _reply(421, "4.7.0", "too many connections, try again later")
TOO_MANY_CONNECTIONS_FROM_CLIENT = _reply(421, "4.7.0", "too many connections from your network, try again later")
CONNECTION_RATE_LIMITED = _reply(421, "4.7.0", "connecting too often, try again later")
TOO_MANY_MESSAGES = _reply(421, "4.7.0", "too many messages in this session, connect again")
TOO_MANY_COMMANDS = _reply(421, "4.7.0", "too many commands without mail, closing connection")
CONNECTION_REFUSED = _reply(554, "5.7.1", "no service for you here")  # RFC 5321 §3.1
CONNECTION_DEFERRED = _reply(421, "4.7.1", "no service for you at the moment, try again later")

NAMED: Mapping[str, Reply] = MappingProxyType(
    {name: value for name, value in globals().items() if name.isupper() and isinstance(value, Reply)},
)
"""Every constant of this module by name, for documentation and tests."""
