"""What a nursery of this gateway has imported, and forks: workers, and those who keep local lists for a round.

``python -P -m gateway.app.offspring FD`` is a nursery in a process that was started for it.
"""

import os
from collections.abc import Mapping, Sequence

from setproctitle import setproctitle

from gateway.app import nursery, worker
from gateway.blocklist.local import child as list_child


def _keep_lists(arguments: Sequence[str], descriptors: Sequence[int]) -> int:
    """Keep lists for one round; the descriptors are standard output and standard error."""
    setproctitle("tidegate: local lists")
    for standard, descriptor in enumerate(descriptors, 1):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    return list_child.begin(arguments)


ENTRIES: Mapping[str, nursery.Entry] = {"worker": worker.begin, "lists": _keep_lists}


if __name__ == "__main__":
    nursery.main(ENTRIES)
