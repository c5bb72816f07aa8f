"""A keeper killed with signal 9 where it hurts: nothing is counted twice, nothing lost, nothing left without effect.

What breaks if this fails: a restart of the gateway makes spammers of honest senders, or forgets spammers.
"""

import subprocess
import sys
import textwrap

import pytest

from tests.abuse.conftest import CONFIGURATION

MESSAGES = 300
KEEPER = textwrap.dedent(
    """
    import os, signal, sys
    from pathlib import Path
    from gateway.abuse import keeper as keeping, tail
    from gateway.abuse.local_senders import LocalWatch
    from gateway.abuse.protection import Protection
    from gateway.blocklist.local.lists import LocalLists
    from gateway.clock import FakeClock
    from gateway.config.loader import load
    from gateway.filters import catalogue
    from gateway.incidents import IncidentBook
    from gateway.storage import shared

    def dying(owner, name, calls):
        whole, left = getattr(owner, name), [calls]
        def dies(*arguments, **named):
            done = whole(*arguments, **named)
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            return done
        setattr(owner, name, dies)

    PLACES = {
        "in the schema": (shared, "migrate"),
        "within a transaction": (keeping.Keeper, "_fold"),
        "behind the commit": (tail.JournalTail, "stored"),
        "before the lists": (keeping, "enforce"),
    }
    folder, now, place, calls = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    dying(*PLACES[place], calls)
    tail.BATCH_ROWS = 7
    clock = FakeClock(utc=now)
    snapshot = load(folder / "tidegate.toml", catalogue())
    data = snapshot.config.data
    book = IncidentBook(data, clock=clock)
    keeper = keeping.Keeper(data, clock=clock, book=book, local=LocalWatch({}), gather_seconds=0.0)
    keeper.use(snapshot, Protection(snapshot, LocalLists(data), {}))
    while keeper.round().sightings:
        pass
    """
)


@pytest.mark.parametrize(
    ("place", "calls"),
    [("in the schema", 1), ("within a transaction", 5), ("behind the commit", 5), ("before the lists", 1)],
)
def test_a_keeper_that_is_killed_counts_every_verdict_once(world, place, calls):
    (world.folder / "tidegate.toml").write_text(f'data = "data"\n{CONFIGURATION}', encoding="utf-8")
    sent = [world.mail(f"198.51.100.{number % 40}") for number in range(MESSAGES)]
    world.journal(sent[::2], worker=0)
    world.journal(sent[1::2], worker=1)
    arguments = [str(world.folder), str(world.now), place, str(calls)]
    died = subprocess.run([sys.executable, "-c", KEEPER, *arguments], capture_output=True, timeout=50, check=False)
    assert died.returncode == -9, died.stderr
    world.new_keeper().enforce()
    world.rounds()
    with world.reader() as reader:
        rows = reader.rows("SELECT count(*), count(DISTINCT trace_id) FROM sighting")
    assert rows == [(MESSAGES, MESSAGES)]
    assert sum(each.sightings for each in world.incidents()) == MESSAGES
    assert all(world.listed(each.source.key.removesuffix("/32")) for each in world.incidents())
