"""What the C library keeps of freed memory, bounded: a large attachment's octets go back to the system with it.

glibc takes blocks above a threshold from the system and gives them back, but raises that threshold up to 32 MiB with
every such block that is freed, and keeps twice as much of each thread's heap: after a few large mails a process stays
as large as all of them together. Set by hand, the thresholds stay where they are (mallopt(3)).
"""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Above what most mail needs in one piece, so that the mail path asks the system for nothing.
LARGE_OCTETS = 1024 * 1024
# What a heap may keep at its end; giving back less than comes again at once would cost a system call each time.
_KEPT_OCTETS = 8 * LARGE_OCTETS


def give_back_large_blocks() -> None:
    """Have every block of LARGE_OCTETS and more go back to the system when freed; once, when a process begins."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Other C libraries have no such thing, and no need of it.
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_OCTETS)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_OCTETS)
