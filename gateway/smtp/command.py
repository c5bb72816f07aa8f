"""One command line → ``Command``, or ``CommandError`` with its named reply (RFC 5321 §4.1.1, RFC 6531 §3.3).

A line comes without its CR LF. Refused before anything looks at a verb: lines over ``MAX_COMMAND_LINE_OCTETS``, empty
lines, NUL and every other control character (a CR or LF that is left is bare, and so smuggling; a TAB is no separator
in RFC 5321), octets over 127 in the verb, in the argument of a command that takes no SMTPUTF8 address, or not valid
UTF-8. Trailing spaces are dropped (RFC 5321 §4.1.1: receivers SHOULD tolerate them). Whether the verb is known is the
intake's question.
"""

import re

from gateway.smtp import replies
from gateway.smtp.limits import MAX_COMMAND_LINE_OCTETS
from gateway.smtp.reply import RefusalError, Reply
from gateway.value import value


class CommandError(RefusalError):
    """The line is no command; ``reply`` answers it."""


@value()
class Command:
    """``verb`` in upper case.

    ``argument`` as received after the one space, trailing spaces dropped, "" when there is none.
    """

    verb: str
    argument: bytes


# Verbs of HTTP (RFC 9110 §9.3, RFC 5789, and WebDAV's commonest) and of proxies: their senders are cut off, not
# answered one by one.
HTTP_VERBS = frozenset(
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PROPFIND", "PRI"],
)

# RFC 6531 §3.1 (7): SMTPUTF8 reaches MAIL, RCPT, VRFY and EXPN; every other command stays ASCII.
_UTF8_VERBS = frozenset(["MAIL", "RCPT", "VRFY", "EXPN"])

# RFC 5321 §2.4: verbs are letters; digits and "-" follow for extensions (X-…, RFC 3848 style names).
_COMMAND = re.compile(rb"([A-Za-z][A-Za-z0-9-]*)(?: ([\x20-\x7e\x80-\xff]*))?")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def parse_command(line: bytes) -> Command:
    """Return the command in ``line`` (no CR LF); raise ``CommandError``."""
    # RFC 5321 §4.5.3.1.4 counts CR LF.
    if len(line) > MAX_COMMAND_LINE_OCTETS - 2:
        raise CommandError(replies.LINE_TOO_LONG)
    text = line.rstrip(b" ")
    match = _COMMAND.fullmatch(text)
    if match is None:
        raise CommandError(_refusal(text))
    verb = match[1].decode("ascii").upper()
    argument = match[2] or b""
    if not argument.isascii():
        _require_utf8(verb, argument)
    return Command(verb, argument)


def after_keyword(argument: bytes, keyword: bytes) -> bytes:
    """Return what follows ``FROM:`` of MAIL or ``TO:`` of RCPT (``keyword`` in upper case).

    Raise ``CommandError`` without it.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise CommandError(replies.BAD_ARGUMENTS.because(f"{keyword.decode('ascii')} missing"))
    return argument[len(keyword) :]


def _require_utf8(verb: str, argument: bytes) -> None:
    if verb not in _UTF8_VERBS:
        raise CommandError(replies.NON_ASCII)
    try:
        argument.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CommandError(replies.INVALID_UTF8) from error


def _refusal(text: bytes) -> Reply:
    if not text:
        return replies.EMPTY_COMMAND
    if _CONTROL.search(text):
        return replies.CONTROL_CHARACTERS
    if not text.split(b" ", 1)[0].isascii():
        return replies.NON_ASCII
    return replies.SYNTAX_ERROR
