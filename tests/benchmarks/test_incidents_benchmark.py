"""The incident record's ruler: measures what it fills, and says when an answer is late."""

from incidents import Answer, main


def test_a_small_record_is_filled_asked_folded_into_and_pruned(capsys):
    sizes = ("--sightings", "3000", "--incidents", "200", "--fold", "600", "--times", "2", "--prune-seconds", "0.5")
    status = main(sizes)
    said = capsys.readouterr().out
    assert "filled: 3,000 sightings, 200 incidents" in said
    for name in ("folding:", "pruning:", "list --ip network/16", "top sources month", "search 发票", "show"):
        assert name in said
    assert status == int("MISSED" in said)


def test_a_late_answer_is_missed_and_a_single_one_is_not():
    assert Answer("x", (1.0,) * 9 + (300.0,)).missed
    assert not Answer("x", (1.0,) * 99 + (300.0,)).missed
    assert not Answer("x", ()).missed
