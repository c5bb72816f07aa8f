"""``explain`` tells for each rule why it did or did not fire: the condition, the decoded text, its place."""

from rule_mails import CHINESE, ENGLISH, RECEIVED_UTC, transaction

from gateway.clock import FakeClock
from gateway.rules.facts import MailFacts
from gateway.rules.judging import RuleSet
from gateway.rules.story import explain
from tests.rules.conftest import group


def told(toml, mail=ENGLISH, off=frozenset()):
    return explain(RuleSet((group(toml),), off), MailFacts(transaction(mail), {}, FakeClock(RECEIVED_UTC)))


def rule(name, when, more="score = 1.0"):
    return f'[[rule]]\nname = "{name}"\nwhen = {{ {when} }}\n{more}\n'


def test_each_part_of_a_condition_is_told_in_the_order_written():
    story = told(
        rule("a", "text = { matches = 'Buy|Sell' }, subject = { contains = 'expensive' }, not = { size = { '<' = 5 } }")
    )[0]
    assert story.outcome == "not-fired"
    assert [(clause.depth, clause.condition, clause.held) for clause in story.clauses] == [
        (0, "all", False),
        (1, 'text matches "Buy|Sell"', True),
        (1, 'subject contains "expensive"', False),
        (1, "not", True),
        (2, "size < 5", False),
    ]
    assert (story.clauses[1].matched, story.clauses[1].place) == ("Buy", "body, character 1")
    assert story.clauses[2].values == ("Cheap Invoice service",)
    assert story.clauses[4].values == (str(len(ENGLISH)),)


def test_what_is_told_is_what_a_reader_sees():
    story = told(
        rule("a", "subject = { contains = ['发票vpn'] }, attachment = { extension = 'exe', size = { '>' = '1M' } }"),
        CHINESE,
    )[0]
    assert story.clauses[1].matched == "发票VPN"
    assert [clause.condition for clause in story.clauses[2:]] == [
        "same",
        'attachment.extension is "exe"',
        "attachment.size > 1048576",
    ]
    assert (story.clauses[3].matched, story.clauses[3].place) == ("exe", "part 5")


def test_a_rule_that_cannot_fire_is_told_all_the_same():
    always = "size = { '>' = 1 }"
    toml = (
        rule("off", always)
        + rule("disabled", always, "score = 1.0\nenabled = false")
        + rule("expired", always, "score = 1.0\nexpires = 2020-01-01")
        + rule("stops", always, "score = 1.0\nstop = true")
        + rule("behind", always)
    )
    stories = told(toml, off=frozenset({"off"}))
    assert [story.outcome for story in stories] == ["off", "disabled", "expired", "fired", "behind-stop"]
    assert all(story.clauses[0].held for story in stories)
    assert all(story.source == "default" and story.seconds >= 0 for story in stories)


def test_what_an_allow_rule_lacks_is_told():
    story = told(rule("friends", "from_domain = '.sender.example'", 'action = "accept"\nstop = true'))[0]
    assert story.outcome == "not-fired"
    assert [(clause.condition, clause.held) for clause in story.clauses] == [
        ("all", False),
        ('from_domain is ".sender.example"', True),
        ('dmarc is "pass"', False),
    ]


def test_long_lists_are_told_shortly():
    values = ", ".join(f"'x{n}.example'" for n in range(30))
    story = told(rule("a", f"from_domain = [{values}]"))[0]
    assert story.clauses[0].condition.endswith('"x4.example" and 25 more')
