"""How much of a hostile content is looked at. Reaching a limit shows in ``MimeTree.truncated``, never in silence."""

from dataclasses import dataclass

from gateway.mail.header import MAX_HEADER_OCTETS

# RFC 2046 §5.1.1 allows 70; mail in the wild has a few more. A delimiter fits between two windows of a file's octets.
MAX_BOUNDARY_OCTETS = 8 * 1024
# White space that a relay may have added to a delimiter line (RFC 2046 §5.1.1: transport-padding); a line of SMTP.
MAX_PADDING_OCTETS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class MimeLimits:
    """Bounds of one scan; the name in parentheses is what ``MimeTree.truncated`` says."""

    # ("depth") Postfix's mime_nesting_limit is 100, mail that people write ends at ten.
    max_depth: int = 50
    # ("parts") A digest of a busy list has some hundreds; 5,000 cost about 50 ms.
    max_parts: int = 5000
    # ("delimiters") Lines that begin as a delimiter and are none: 100,000 cost about 100 ms.
    max_near_delimiters: int = 100_000
    # ("header") What `gateway.mail.header` looks at; Postfix cuts at 100 KiB.
    max_header_octets: int = MAX_HEADER_OCTETS
    # ("decoded") Decoding makes no more than it is given, but for BinHex and uuencode that lie; above the largest mail.
    max_decoded_octets: int = 128 * 1024 * 1024
    # ("readings") Sixteen ways to read one mail is what no honest mail comes near.
    max_readings: int = 16


DEFAULT_LIMITS = MimeLimits()
