"""What a scan says, as values. Only ``CLEAN`` is clean; whatever was not answered is a temperror with its cause.

A signature's name says which outcome a find is: clamd reports encrypted archives, macros and limits it ran into
(AlertEncryptedArchive, AlertOLE2Macros, AlertExceedsMax) by names of its own beside those of viruses.
"""

from enum import StrEnum

from gateway.value import value


class Outcome(StrEnum):
    """What is known of one scanned piece, in the words of configuration, headers, events and metrics."""

    CLEAN = "clean"
    INFECTED = "infected"
    TEMPERROR = "temperror"
    TOO_LARGE = "too-large"
    # A limit of depth, entries, octets, ratio or time was reached, or something cannot be read to its end: what lies
    # behind it nobody has seen.
    UNSCANNABLE = "unscannable"
    ENCRYPTED = "encrypted"
    MACROS = "macros"


# From the gravest to the lightest: a message is what its worst piece is. A known virus is known even where the rest
# could not be scanned; what could not be scanned at all weighs more than what was looked at and is merely risky.
GRAVITY = (
    Outcome.INFECTED,
    Outcome.TEMPERROR,
    Outcome.TOO_LARGE,
    Outcome.UNSCANNABLE,
    Outcome.ENCRYPTED,
    Outcome.MACROS,
    Outcome.CLEAN,
)


class Cause(StrEnum):
    """Why there is no answer that counts."""

    NONE = ""
    # Nobody listens, or the host cannot be reached in time.
    CONNECT = "connect"
    # Every scanner has failed several times in a row; asked again when one answers a ping.
    CIRCUIT_OPEN = "circuit-open"
    # No place was free in time.
    BUSY = "busy"
    TIMEOUT = "timeout"
    # The connection broke before the answer.
    RESET = "reset"
    # The connection was closed in good order, without the answer.
    SILENCE = "silence"
    # The scanner answered `… ERROR`.
    ERROR = "error"
    # Beyond StreamMaxLength.
    SIZE_LIMIT = "size-limit"
    # An answer that is none.
    GARBAGE = "garbage"
    # Signatures were loaded between the first and the last piece of one message.
    VERSION_CHANGED = "version-changed"


# Another scanner, or the same one a moment later, may well answer.
WORTH_ANOTHER = frozenset(Cause) - {Cause.NONE, Cause.TIMEOUT}


@value(kw_only=True)
class ScanResult:
    """One piece's result.

    ``name`` is the signature's name for what was found; ``reason`` a short printable sentence for the journal;
    ``scanner`` the address that answered and ``version`` its engine and signatures; ``cause`` is set for a temperror.
    """

    outcome: Outcome
    name: str = ""
    cause: Cause = Cause.NONE
    reason: str = ""
    scanner: str = ""
    version: str = ""
    cached: bool = False

    @property
    def clean(self) -> bool:
        """Whether a scanner said that it is clean."""
        return self.outcome is Outcome.CLEAN

    def by(self, scanner: str, version: str) -> "ScanResult":
        """Return the same result with who gave it."""
        # Written out: dataclasses.replace costs five times as much, and this is done for each piece of each mail.
        return ScanResult(
            outcome=self.outcome, name=self.name, cause=self.cause, reason=self.reason, scanner=scanner, version=version
        )


CLEAN = ScanResult(outcome=Outcome.CLEAN)


def temperror(cause: Cause, reason: str) -> ScanResult:
    """Return the result of a scan that has none."""
    return ScanResult(outcome=Outcome.TEMPERROR, cause=cause, reason=reason)


def found(name: str) -> ScanResult:
    """Return the result for a signature's name."""
    for prefix, outcome in _HEURISTICS:
        if name.startswith(prefix):
            return ScanResult(outcome=outcome, name=name, reason=f"{outcome}: {name}")
    return ScanResult(outcome=Outcome.INFECTED, name=name, reason=f"infected: {name}")


_HEURISTICS = (
    ("Heuristics.Encrypted.", Outcome.ENCRYPTED),
    ("Heuristics.Limits.Exceeded", Outcome.UNSCANNABLE),
    ("Heuristics.OLE2.ContainsMacros", Outcome.MACROS),
)


def worst(results: "tuple[ScanResult, ...] | list[ScanResult]") -> ScanResult:
    """Return the gravest result; the first of those that weigh the same. Nothing scanned is not clean."""
    if not results:
        return temperror(Cause.SILENCE, "nothing was scanned")
    return min(results, key=lambda result: GRAVITY.index(result.outcome))
