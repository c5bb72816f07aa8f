"""Open files: standard ones are there, and the soft limit is raised towards the hard one.

Login shells and container engines give 1,024, which is half of ``limits.connections``; beyond it connections wait in
the kernel, and deliveries fail for a reason that looks like the next hop's. The low soft limit protects programs that
use select(2) on large descriptors; nothing here does.
"""

import os
import resource

# Many times what ``limits.connections`` and deliveries use; engines that allow a thousand million mean "any".
WANTED = 65_536
_STANDARD_ERROR = 2


def raise_limit() -> None:
    """Let this process, and those it starts, open as many files as they may need and the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def fill_standard() -> None:
    """Put /dev/null in the place of standard input, output and error that are closed (``serve <&- >&-``).

    The next file would lie there: a store, into which whatever prints would write, or a loop's, on which libuv aborts.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
