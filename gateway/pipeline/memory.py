"""What filters that wait have said at an earlier stage of the same session or transaction.

CONNECT and ENVELOPE findings count after the final dot too, and asking DNS or a counter twice would cost time or
count twice. The memory is bounded, and nothing depends on it: what has been forgotten (or was asked by the gate of an
earlier snapshot) is asked again.
"""

from collections import OrderedDict
from collections.abc import Mapping

from gateway.pipeline.plan import AnyFilter
from gateway.policy.finding import Finding

# An entry is a tuple and a small dict, under 1 KiB: some 64 MiB at worst, which 2,000 sessions (`limits.connections`)
# do not reach honestly.
MOST_ENTRIES = 65_536

# Session or trace id, and whom the answer is about: a client, a recipient, or nobody more particular.
Key = tuple[str, str]
# What each filter asked has said; () for nothing.
Answers = Mapping[AnyFilter, tuple[Finding, ...]]


class Memory:
    """Answers by session or transaction; the oldest are forgotten first."""

    def __init__(self, most_entries: int = MOST_ENTRIES) -> None:
        self._most_entries = most_entries
        self._entries: OrderedDict[Key, Answers] = OrderedDict()

    def recall(self, key: Key) -> Answers:
        """Return what is known; a filter that is absent has not been asked."""
        return self._entries.get(key, {})

    def keep(self, key: Key, answers: Answers) -> None:
        """Remember answers beside those already there."""
        self._entries[key] = {**self.recall(key), **answers}
        self._entries.move_to_end(key)
        while len(self._entries) > self._most_entries:
            self._entries.popitem(last=False)
