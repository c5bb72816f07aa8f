"""What breaks if these fail: a command that edits a policy file loses a comment, or changes what nobody asked for."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.rule_editing import EditError, RuleSpot, spots, switched_off, switched_on, with_key, with_rule

FILE = """# mail for example.com
domains = ["example.com"]   # and no other

[scores]
tag = 4.0

[[rule]]
name = "fapiao"  # the invoice sellers
when = { subject = { contains = "发票" } }
score = 6.0      # enough to mark it

[mailbox."boss@example.com".scores]
reject = false

[[mailbox."boss@example.com".rule]]
name = "friends"
when = { from_domain = { in = ["friend.example"] } }
action = "accept"
"""


def changed_lines(before, after):
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_a_rule_is_found_in_the_file_and_in_a_mailboxs_table():
    assert spots(FILE, "fapiao") == (RuleSpot("", 0),)
    assert spots(FILE, "friends") == (RuleSpot("boss@example.com", 0),)
    assert spots(FILE, "nothing") == ()


@pytest.mark.parametrize(
    ("spot", "key", "value", "gone", "new"),
    [
        (
            RuleSpot("", 0),
            "score",
            4.5,
            ["score = 6.0      # enough to mark it"],
            ["score = 4.5      # enough to mark it"],
        ),
        (RuleSpot("", 0), "enabled", False, [], ["enabled = false"]),
        (RuleSpot("boss@example.com", 0), "enabled", False, [], ["enabled = false"]),
    ],
)
def test_a_key_is_set_and_every_comment_stays(spot, key, value, gone, new):
    assert changed_lines(FILE, with_key(FILE, spot, key, value)) == (gone, new)


def test_what_says_so_already_is_told():
    with pytest.raises(EditError, match="it says so already"):
        with_key(FILE, RuleSpot("", 0), "score", 6.0)


def test_a_rule_with_an_action_gets_no_score():
    text = '[[rule]]\nname = "a"\nwhen = { tls = false }\naction = "reject"\n'
    with pytest.raises(EditError, match='has an action, "reject"'):
        with_key(text, RuleSpot("", 0), "score", 1.0)


@pytest.mark.parametrize("braces", ["{{ {} }}", "{}"])
@pytest.mark.parametrize(
    ("mailbox", "header"), [("", "[[rule]]"), ("boss@example.com", '[[mailbox."boss@example.com".rule]]')]
)
def test_a_rule_is_added_behind_the_others_with_its_condition_as_written(mailbox, header, braces):
    when = 'text = { contains = ["培训", "群发"] }, not = { tls = true }'
    after = with_rule(FILE, mailbox, {"name": "training", "score": 2.0}, braces.format(when))
    assert after.startswith(FILE)
    added = after.removeprefix(FILE).strip().splitlines()
    assert added == [header, 'name = "training"', "score = 2.0", f"when = {{ {when} }}"]
    data = tomllib.loads(after)
    table = data["mailbox"][mailbox] if mailbox else data
    assert table["rule"][-1]["when"]["text"] == {"contains": ["培训", "群发"]}


@pytest.mark.parametrize(
    "when", ["", "subject", 'subject = "a" }\n[[rule]]\nname = "b"\nx = {', "a = 1 }\nscore = { b = 2"]
)
def test_a_condition_that_is_no_table_or_brings_more_along_is_refused(when):
    if not when:
        assert tomllib.loads(with_rule("", "", {"name": "a"}, when))["rule"] == [{"name": "a", "when": {}}]
        return
    with pytest.raises(EditError, match="condition"):
        with_rule(FILE, "", {"name": "a", "score": 1.0}, when)


@pytest.mark.parametrize("mailbox", ["", "boss@example.com", "new@example.com"])
def test_an_inherited_rule_is_switched_off_and_on_again(mailbox):
    off = switched_off(FILE, mailbox, "bulk")
    data = tomllib.loads(off)
    assert (data["mailbox"][mailbox] if mailbox else data)["rules_off"] == ["bulk"]
    assert "# the invoice sellers" in off
    with pytest.raises(EditError, match="already"):
        switched_off(off, mailbox, "bulk")
    on = tomllib.loads(switched_on(off, mailbox, "bulk"))
    assert (on["mailbox"][mailbox] if mailbox else on)["rules_off"] == []
    with pytest.raises(EditError, match="not switched off"):
        switched_on(FILE, mailbox, "bulk")


@pytest.mark.parametrize(
    "text",
    [
        'rule = [{ name = "inline", score = 1.0, when = { tls = true } }]\n',
        'mailbox = { "a@b.test" = { rule = [{ name = "inline", score = 1.0 }] } }\n',
    ],
)
def test_a_file_written_otherwise_is_refused_or_changed_rightly(text):
    """An inline array takes no further [[rule]]; its members can be changed."""
    with pytest.raises(EditError, match="mechanically"):
        with_rule(text, "a@b.test" if "mailbox" in text else "", {"name": "b"}, "tls = true")
    spot = spots(text, "inline")[0]
    assert spots(with_key(text, spot, "score", 2.0), "inline") == (spot,)


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(name=WORDS, mailbox=st.sampled_from(["", "boss@example.com", '"odd one"@example.com']), comment=WORDS)
def test_whatever_the_words_the_rule_is_what_was_asked_for(name, mailbox, comment):
    keys = {"name": name, "score": 1.5, "comment": comment}
    after = with_rule(FILE, mailbox, keys, "tls = false")
    assert RuleSpot(mailbox, 1 if mailbox == "boss@example.com" or not mailbox else 0) in spots(after, name)
    off = switched_off(after, mailbox, name)
    assert off.startswith("# mail for example.com\n")
