"""Long work in a thread beside the loop that carries mail: a reload of ten thousand rules takes seconds of Python."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# The loop asks for the interpreter's lock each time it has waited for a socket, a dozen times a message. At the usual
# 5 ms a message would take 60 ms longer, at 0.2 ms some 3.
SWITCH_SECONDS = 0.0002


@contextmanager
def beside_the_mail() -> Iterator[None]:
    """Let the loop have its turn soon while a thread works, and no collection of garbage hold both up.

    What the thread makes is exempted from later collections as well: it stays until the next reload, and is freed by
    its references, since configurations and gates make no cycles.
    """
    seconds = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        sys.setswitchinterval(seconds)
