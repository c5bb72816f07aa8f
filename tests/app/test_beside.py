"""Work beside the mail leaves the process as it was; a reload that did not would slow every message after it."""

import gc
import sys

import pytest

from gateway.app.beside import SWITCH_SECONDS, beside_the_mail


def test_the_loop_gets_its_turn_soon_and_no_collection_holds_it_up():
    before = sys.getswitchinterval()
    with beside_the_mail():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
        assert not gc.isenabled()
    assert sys.getswitchinterval() == before
    assert gc.isenabled()


def test_a_failure_leaves_nothing_changed_either():
    before = sys.getswitchinterval()
    with pytest.raises(KeyError), beside_the_mail():
        raise KeyError
    assert (sys.getswitchinterval(), gc.isenabled()) == (before, True)
    gc.unfreeze()


def test_what_was_made_is_spared_later_collections_but_not_for_ever():
    with beside_the_mail():
        frozen = gc.get_freeze_count()
        made = [[] for _ in range(1000)]
    assert gc.get_freeze_count() >= frozen + len(made)
    gc.unfreeze()
