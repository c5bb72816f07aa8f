"""Mailboxes and paths (RFC 5321 §4.1.2, RFC 6531 §3.3): the types; ``gateway.smtp.path`` parses them."""

from gateway.value import value


@value()
class Mailbox:
    """``local_part@domain``.

    ``local_part`` is the text as the client wrote it without the quotes of a quoted-string and without escapes;
    ``domain`` is the normal form used for every comparison: lower case, A-label (RFC 5891), or an address literal
    with its brackets, or "" for the bare ``postmaster`` of RFC 5321 §4.5.1. ``wire`` is the address exactly as
    received, between the angle brackets, to be passed on.
    """

    local_part: str
    domain: str
    wire: str

    @property
    def key(self) -> str:
        """The comparison form ``local_part@domain``.

        Local part casefolded (every mailbox server here folds), domain normal.
        """
        return f"{self.local_part.casefold()}@{self.domain}" if self.domain else self.local_part.casefold()

    def __str__(self) -> str:
        return self.wire


@value()
class ReversePath:
    """MAIL FROM's path; ``mailbox`` is None for the null reverse-path ``<>`` (RFC 5321 §4.5.5)."""

    mailbox: Mailbox | None

    @property
    def is_null(self) -> bool:
        """Whether this is ``<>``."""
        return self.mailbox is None

    @property
    def wire(self) -> str:
        """The text between the angle brackets, as received."""
        return self.mailbox.wire if self.mailbox else ""

    @property
    def key(self) -> str:
        """The comparison form, "" for the null reverse-path."""
        return self.mailbox.key if self.mailbox else ""

    def __str__(self) -> str:
        return f"<{self.wire}>"


@value()
class ForwardPath:
    """RCPT TO's path, source route removed (RFC 5321 appendix C); bare ``postmaster`` has an empty domain.

    ``source_route`` tells that there was one, so that policy can refuse it.
    """

    mailbox: Mailbox
    source_route: bool = False

    @property
    def wire(self) -> str:
        """The text between the angle brackets, as received, without a source route."""
        return self.mailbox.wire

    @property
    def key(self) -> str:
        """The comparison form."""
        return self.mailbox.key

    @property
    def domain(self) -> str:
        """The domain's normal form."""
        return self.mailbox.domain

    def __str__(self) -> str:
        return f"<{self.wire}>"


NULL_REVERSE_PATH = ReversePath(None)
