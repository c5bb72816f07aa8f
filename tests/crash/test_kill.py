"""Invariant 1 with signal 9: what was acknowledged is delivered or queued, whatever dies when."""

import asyncio
import importlib.util
import tempfile
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("kill_loop", Path(__file__).with_name("kill_loop.py"))
assert _SPEC
assert _SPEC.loader
kill_loop = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(kill_loop)


@pytest.mark.crash
@pytest.mark.real
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/usr/sbin/smtp-sink").exists(), reason="needs smtp-sink (Debian: postfix)")
def test_invariant_1_a_hundred_kills_lose_no_acknowledged_message():
    # Not below pytest's folder: the sink is another user, and a pytest that starts meanwhile closes that to others.
    with tempfile.TemporaryDirectory(prefix="tidegate-crash-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        tally = asyncio.run(kill_loop.run(100, 1, folder))
    print(tally)
    assert tally.kills == 100
    assert tally.acknowledged
    assert not tally.lost
    assert not tally.unasked
    # A duplicate needs a kill between the sink's 250 and its record: of transfers under way, and of those of the last
    # 20 ms, whose records wait for company (settler.GATHER_SECONDS). A connection brings hardly more than one in these.
    assert tally.duplicates <= tally.kills * 2 * kill_loop.CONNECTIONS
