"""Stages and actions."""

from enum import IntEnum, StrEnum


class Stage(StrEnum):
    """When a filter is asked: at connection, at each RCPT, or after the final dot."""

    CONNECT = "connect"
    ENVELOPE = "envelope"
    DATA = "data"


class Action(IntEnum):
    """What policy does about a finding, in ascending severity; the most severe wins (invariant 3).

    The order is configuration.md's: to defer is more than to hold, since what is unknown must not be taken; discard
    is never a default (invariant 9) and stands last because an administrator who writes it means it.
    """

    ACCEPT = 0
    TAG = 1
    QUARANTINE = 2
    DEFER = 3
    REJECT = 4
    DISCARD = 5

    @property
    def word(self) -> str:
        """The word used in configuration, headers, events and metrics."""
        return self.name.lower()


class Ground(StrEnum):
    """The five grounds of spam (contract.md §4)."""

    ADVERTISING = "advertising"
    NO_OPT_OUT = "no-opt-out"
    HIDDEN_SENDER = "hidden-sender"
    FALSE_SOURCE = "false-source"
    HARMFUL = "harmful"
