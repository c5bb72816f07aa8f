"""If one of these fails, mail that cannot be scanned is deferred until its sender gives up."""

from gateway.state.deferrals import REMEMBERED_SECONDS, Deferrals


def test_a_content_is_deferred_since_its_first_attempt(open_table, clock):
    deferrals = Deferrals(open_table(), clock)
    assert deferrals.note("digest") == 0
    clock.advance(600)
    assert deferrals.note("digest") == 600
    assert deferrals.note("other") == 0


def test_two_workers_share_what_they_saw(open_table, clock):
    one, other = (Deferrals(open_table(name="shared"), clock) for _ in range(2))
    one.note("digest")
    clock.advance(60)
    assert other.note("digest") == 60


def test_a_content_that_did_not_come_again_is_forgotten(open_table, clock):
    deferrals = Deferrals(open_table(), clock)
    deferrals.note("digest")
    clock.advance(REMEMBERED_SECONDS + 1)
    assert deferrals.note("digest") == 0
