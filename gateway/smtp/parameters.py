"""Parameters of MAIL and RCPT → values, or ``ParameterError`` with its named reply.

MAIL takes SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET and ENVID (RFC 3461); RCPT takes NOTIFY and
ORCPT (RFC 3461). Keywords count in any case, ENVID and ORCPT are kept verbatim for the next hop. 501 5.5.4 answers
bad syntax, a parameter given twice and one too long; 555 5.5.4 answers what is not known or not offered,
BODY=BINARYMIME among it.

AUTH= (RFC 4954 §5) is checked for syntax and then ignored, whatever it says: that section makes a server which does
not trust its client act as for ``AUTH=<>``, and no listener trusts such a claim. Refusing it would turn away relays
that send it unasked, and gain nothing.

xtext that decodes to anything but printable ASCII is refused although its syntax is good (RFC 3461 §4.2, §4.4 demand
it): an encoded line feed would otherwise surface in a delivery status notification.
"""

import re
from dataclasses import dataclass

from gateway.smtp import replies
from gateway.smtp.address import ReversePath
from gateway.smtp.limits import (
    MAX_AUTH_PARAMETER_OCTETS,
    MAX_ENVID_OCTETS,
    MAX_ORCPT_OCTETS,
    MAX_SIZE_DIGITS,
)
from gateway.smtp.path import AddressError, parse_reverse_path
from gateway.smtp.reply import RefusalError


class ParameterError(RefusalError):
    """A parameter is refused; ``reply`` answers the command."""


@dataclass(frozen=True, slots=True)
class MailParameters:
    """MAIL's parameters: ``size`` in octets, ``body`` 7BIT or 8BITMIME, ``ret`` FULL or HDRS, ``envid`` as xtext."""

    size: int | None = None
    body: str | None = None
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class RcptParameters:
    """RCPT's parameters: ``notify`` of NEVER, SUCCESS, FAILURE, DELAY; ``orcpt`` as ``type;xtext``."""

    notify: frozenset[str] | None = None
    orcpt: str | None = None


NO_MAIL_PARAMETERS = MailParameters()
NO_RCPT_PARAMETERS = RcptParameters()


def parse_mail(text: bytes) -> tuple[ReversePath, MailParameters]:
    """Return the path and the parameters that follow ``MAIL FROM:``; raise ``AddressError`` or ``ParameterError``.

    This is the order that SMTPUTF8 needs: the parameter stands behind the path that it allows to be non-ASCII.
    """
    path, rest = parse_reverse_path(text, smtputf8=True)
    parameters = parse_mail_parameters(rest)
    if not parameters.smtputf8 and not path.wire.isascii():
        raise AddressError(replies.SENDER_NON_ASCII)
    return path, parameters


def parse_mail_parameters(rest: bytes) -> MailParameters:
    """Return the parameters in ``rest``, what follows the reverse-path; raise ``ParameterError``."""
    if not rest:
        return NO_MAIL_PARAMETERS
    size = body = ret = envid = None
    smtputf8 = False
    for keyword, value in _split(rest).items():
        match keyword:
            case "SIZE":
                size = _size(value)
            case "BODY":
                body = _body(value)
            case "SMTPUTF8":
                smtputf8 = _flag(value)
            case "RET":
                ret = _ret(value)
            case "ENVID":
                envid = _envid(value)
            case "AUTH":
                _check_auth(value)
            case _:
                raise _unknown(keyword)
    return MailParameters(size, body, smtputf8, ret, envid)


def parse_rcpt_parameters(rest: bytes) -> RcptParameters:
    """Return the parameters in ``rest``, what follows the forward-path; raise ``ParameterError``."""
    if not rest:
        return NO_RCPT_PARAMETERS
    notify = orcpt = None
    for keyword, value in _split(rest).items():
        match keyword:
            case "NOTIFY":
                notify = _notify(value)
            case "ORCPT":
                orcpt = _orcpt(value)
            case _:
                raise _unknown(keyword)
    return RcptParameters(notify, orcpt)


# RFC 5321 §4.1.2: esmtp-keyword ["=" esmtp-value]. RFC 6531 §3.3 lets values be UTF-8; none of ours is, RFC 6533 §3
# has an ASCII form for ORCPT (utf-8-addr-xtext), so that a value can go on to any next hop.
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*+)(?:=([\x21-\x3c\x3e-\x7e]++))?")

# RFC 3461 §4: xtext = *(xchar / hexchar); hexchar = "+" and two upper case hexadecimal digits, here of printable ASCII.
_XTEXT = re.compile(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+(?:[2-6][0-9A-F]|7[0-9A-E]))*+")
_HEXCHAR = re.compile(r"\+([0-9A-F]{2})")
_NOT_XCHAR = re.compile(rb"[^\x21-\x2a\x2c-\x3c\x3e-\x7e]")

# RFC 3461 §4.2: original-recipient-address = addr-type ";" xtext; addr-type is an atom of RFC 822.
_ORCPT = re.compile(rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]++;{_XTEXT.pattern}")

_BODIES = frozenset(["7BIT", "8BITMIME"])
_RETS = frozenset(["FULL", "HDRS"])
_NOTIFIES = frozenset(["NEVER", "SUCCESS", "FAILURE", "DELAY"])
_NEVER = frozenset(["NEVER"])


def _split(rest: bytes) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for word in rest.split(b" "):
        if not word:
            continue
        match = _PARAMETER.fullmatch(word)
        if match is None:
            raise ParameterError(replies.BAD_PARAMETER)
        keyword = match[1].decode("ascii").upper()
        if keyword in found:
            raise ParameterError(replies.DUPLICATE_PARAMETER.because(keyword))
        found[keyword] = match[2].decode("ascii") if match[2] else None
    return found


def _bad(keyword: str) -> ParameterError:
    return ParameterError(replies.BAD_PARAMETER.saying(f"syntax error in parameter {keyword}"))


def _too_long(keyword: str) -> ParameterError:
    return ParameterError(replies.PARAMETER_TOO_LONG.saying(f"parameter {keyword} is too long"))


def _unknown(keyword: str) -> ParameterError:
    return ParameterError(replies.UNKNOWN_PARAMETER.because(keyword))


def _size(value: str | None) -> int:
    # The pattern of a value is ASCII, so isdigit() means RFC 5234 DIGIT.
    if value is None or not value.isdigit():
        raise _bad("SIZE")
    if len(value) > MAX_SIZE_DIGITS:
        raise _too_long("SIZE")
    return int(value)


def _body(value: str | None) -> str:
    body = (value or "").upper()
    if body == "BINARYMIME":
        raise ParameterError(replies.BINARYMIME_NOT_OFFERED)
    if body not in _BODIES:
        raise _bad("BODY")
    return body


def _flag(value: str | None) -> bool:
    if value is not None:
        raise _bad("SMTPUTF8")
    return True


def _ret(value: str | None) -> str:
    ret = (value or "").upper()
    if ret not in _RETS:
        raise _bad("RET")
    return ret


def _envid(value: str | None) -> str:
    if value is None:
        raise _bad("ENVID")
    if len(value) > MAX_ENVID_OCTETS:
        raise _too_long("ENVID")
    if not _XTEXT.fullmatch(value):
        raise _bad("ENVID")
    return value


def _check_auth(value: str | None) -> None:
    if value is None:
        raise _bad("AUTH")
    if len(value) > MAX_AUTH_PARAMETER_OCTETS:
        raise _too_long("AUTH")
    # "<>" is made of xchars too.
    if not _XTEXT.fullmatch(value):
        raise _bad("AUTH")


def _notify(value: str | None) -> frozenset[str]:
    notify = frozenset((value or "").upper().split(","))
    # RFC 3461 §4.1: NEVER stands alone.
    if not notify <= _NOTIFIES or ("NEVER" in notify and notify != _NEVER):
        raise _bad("NOTIFY")
    return notify


def _orcpt(value: str | None) -> str:
    if value is None:
        raise _bad("ORCPT")
    if len(value) > MAX_ORCPT_OCTETS:
        raise _too_long("ORCPT")
    if not _ORCPT.fullmatch(value):
        raise _bad("ORCPT")
    return value


def decode_xtext(text: str) -> str:
    """Return what ``text`` encodes; raise ``ParameterError`` when it is not xtext of printable ASCII (RFC 3461 §4)."""
    if not _XTEXT.fullmatch(text):
        raise ParameterError(replies.BAD_PARAMETER)
    return _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)


def encode_xtext(text: str) -> str:
    """Return ``text`` as xtext; what is not ASCII is encoded as its UTF-8 octets (RFC 3461 §4)."""
    octets = text.encode("utf-8", "backslashreplace")
    return _NOT_XCHAR.sub(lambda match: b"+%02X" % match[0][0], octets).decode("ascii")
