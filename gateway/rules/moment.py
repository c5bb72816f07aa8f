"""When a rule can be judged: as soon as every subject its condition names is known."""

from enum import IntEnum


class Moment(IntEnum):
    """How much is known, in order.

    ENVELOPE at RCPT (connection, reverse-path, one recipient); CONTENT after the final dot, with the results of the
    filters that do not wait; RESULTS when the filters that wait have answered too.
    """

    ENVELOPE = 0
    CONTENT = 1
    RESULTS = 2
