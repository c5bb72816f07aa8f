"""The envelope (RFC 5321 §2.3.1) with its extensions' parameters."""

from gateway.smtp.address import NULL_REVERSE_PATH, ForwardPath, ReversePath
from gateway.value import value


@value(kw_only=True)
class Envelope:
    """MAIL's half: reverse-path and parameters.

    ``body`` is "7BIT" or "8BITMIME" or None as declared (RFC 6152); ``ret`` "FULL", "HDRS" or None and ``envid``
    verbatim xtext (RFC 3461); ``declared_octets`` is SIZE's value (RFC 1870).
    """

    reverse_path: ReversePath = NULL_REVERSE_PATH
    body: str | None = None
    smtputf8: bool = False
    declared_octets: int | None = None
    ret: str | None = None
    envid: str | None = None


@value(kw_only=True)
class Recipient:
    """One accepted RCPT: ``path`` as received.

    ``notify`` is a set of NEVER, SUCCESS, FAILURE, DELAY, or None; ``orcpt`` verbatim (RFC 3461).
    """

    path: ForwardPath
    notify: frozenset[str] | None = None
    orcpt: str | None = None

    @property
    def key(self) -> str:
        """The address in comparison form."""
        return self.path.key


EMPTY_ENVELOPE = Envelope()
