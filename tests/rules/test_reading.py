"""What is wrong with a rule is said at check time, with the path to it and with what is allowed."""

import tomllib

import pytest

GOOD = 'name = "a"\nscore = 1.0\n'


def complaints(reading, toml, lists=None):
    found = reading(tomllib.loads(toml)["rule"], lists)
    return [(".".join(map(str, complaint.path)), complaint.text) for complaint in found.complaints]


# A condition, the path below `when` of what is wrong, and words that its complaint has.
CONDITIONS = [
    ("{}", "", "empty table holds for every message"),
    ("'spam'", "", "a table such as"),
    ("{ subjct = 'x' }", "subjct", 'did you mean "subject"?'),
    ("{ subject.x = 'x' }", "subject.x", "no operator for subject, which is a text"),
    ("{ 'subject.x' = 'x' }", "subject.x", "no subject"),
    ("{ header = 'x' }", "header", "header.List-Id"),
    ("{ header.'a b' = 'x' }", "header.a b", "no name of a header field"),
    ("{ attachment.nme = 'x' }", "attachment.nme", 'did you mean "name"?'),
    ("{ filter.hello = 'x' }", "filter.hello", 'did you mean "helo"?'),
    ("{ spf = 'failed' }", "spf", "a result the filter never gives"),
    ("{ filter.helo = ['bareip'] }", "filter.helo.0", 'did you mean "bare-ip"?'),
    ("{ subject = { contans = 'x' } }", "subject.contans", 'did you mean "contains"?'),
    ("{ subject = {} }", "subject", "an operator is wanted; allowed: is, in"),
    ("{ subject = { '<' = 5 } }", "subject.<", "no operator for subject"),
    ("{ from = { raw_matches = 'x' } }", "from.raw_matches", "no operator for from"),
    ("{ subject = 5 }", "subject", "a text in quotes is wanted, not 5"),
    ("{ subject = ['a', 5] }", "subject.1", "a text in quotes is wanted, not 5"),
    ("{ subject = [] }", "subject", "1 to 10000 values"),
    ("{ subject = { contains = '' } }", "subject.contains", "a visible character"),
    ("{ subject = { contains = ' \u200b' } }", "subject.contains", "a visible character"),
    ("{ subject = { exists = 'yes' } }", "subject.exists", "true or false is wanted"),
    ("{ subject = { in_list = 5 } }", "subject.in_list", "the name of a file"),
    ("{ subject = { in_list = 'gone.txt' } }", "subject.in_list", "cannot be read"),
    ("{ client_ip = '192.0.2' }", "client_ip", "an address or a network such as"),
    ("{ client_ip = { cidr = ['10.0.0.0/8', 'x'] } }", "client_ip.cidr.1", "an address or a network such as"),
    ("{ from = 'anna' }", "from", "an address such as"),
    ("{ from_domain = 'a..b' }", "from_domain", "a domain such as"),
    ("{ size = '5X' }", "size", 'a size such as 4096 or "10M"'),
    ("{ size = true }", "", ""),
    ("{ recipient_count = '5' }", "recipient_count", "a number is wanted"),
    ("{ recipient_count = { '<' = [1, 2] } }", "recipient_count.<", "one value is wanted"),
    ("{ recipient_count = { between = [1] } }", "recipient_count.between", "two values are wanted"),
    ("{ recipient_count = { between = [3, 1] } }", "recipient_count.between", "must not be more than the last"),
    ("{ date_skew = { '>' = 60 } }", "date_skew.>", 'a duration such as "30m"'),
    ("{ time = { between = ['25:00', '01:00'] } }", "time.between.0", "a time of day such as"),
    ("{ attachment.macro = 'yes' }", "attachment.macro", "true or false is wanted"),
    ("{ any = { subject = 'x' } }", "any", "a list of tables"),
    ("{ any = [] }", "any", "with at least one"),
    ("{ any = [{ subject = 'x' }, { sub = 'x' }] }", "any.1.sub", "no subject"),
    ("{ not = {} }", "not", "empty table holds for every message"),
    ("{ not = 'x' }", "not", "a table such as"),
    ("{ subject = { matches = '(?=a)b' } }", "subject.matches", "use `all` and `not`"),
    ("{ subject = { matches = '\\u4e2d' } }", "subject.matches", "written as itself"),
    ("{ subject = { matches = ['ok', '(a'] } }", "subject.matches.1", "no RE2 pattern"),
    ("{ subject = { matches = '(a)\\1' } }", "subject.matches", "no RE2 pattern"),
    ("{ subject = { matches = 'x{1001}' } }", "subject.matches", "no RE2 pattern"),
    ("{ subject = { matches = 'a^b' } }", "subject.matches", "can never match"),
    ("{ subject = { matches = '[^\\s\\S]' } }", "subject.matches", "can never match"),
    ("{ subject = { matches = 'a\\b\\Bb' } }", "subject.matches", "can never match"),
    ("{ text = { matches = 'one\\ntwo' } }", "text.matches", "can never match"),
    ("{ text = { matches = 'one  two' } }", "text.matches", "one space"),
    ("{ text = { matches = '代\u200b开' } }", "text.matches", "U+200B is invisible"),
    ("{ text = { matches = '' } }", "text.matches", "matches every text"),
    ("{ text = { matches = '.*' } }", "text.matches", "matches every text"),
    ("{ text = { matches = '(spam)?' } }", "text.matches", "matches every text"),
    ("{ text = { matches = '$' } }", "text.matches", "matches every text"),
    ("{ text = { matches = '.' } }", "text.matches", "matches almost every text"),
    ("{ text = { matches = '\\S' } }", "text.matches", "matches almost every text"),
    ("{ text = { matches = 'x', raw_matches = '\\C' } }", "text.raw_matches", "matches almost every text"),
]


@pytest.mark.parametrize(("when", "path", "words"), CONDITIONS)
def test_a_wrong_condition_is_named_where_it_stands(when, path, words, reading):
    found = complaints(reading, f"[[rule]]\n{GOOD}when = {when}\n")
    if not words:
        assert found == []
        return
    assert [where for where, _ in found] == [f"0.when.{path}".rstrip(".")]
    assert words in found[0][1]


# Keys of a rule instead of the good ones.
KEYS = [
    ("name = ''\nscore = 1", "name", "1 to 100 printable characters"),
    ("name = 5\nscore = 1", "name", "1 to 100 printable characters"),
    ("score = 1", "name", "missing"),
    ("name = 'a'", "", "score or action is wanted"),
    ("name = 'a'\nscore = 'much'", "score", "a number from"),
    ("name = 'a'\nscore = nan", "score", "a number from"),
    ("name = 'a'\nscore = 0", "score", "other than 0"),
    ("name = 'a'\nscore = 1\naction = 'tag'", "action", "exclude each other"),
    ("name = 'a'\naction = 'rejct'", "action", 'did you mean "reject"?'),
    ("name = 'a'\naction = 'accept'", "action", "stop = true"),
    ("name = 'a'\nscore = 1\nreply = 'no'", "reply", 'only with action = "reject" or "defer"'),
    ("name = 'a'\naction = 'reject'\nreply = '不要'", "reply", "printable ASCII"),
    ("name = 'a'\naction = 'reject'\nreply = \"a\\nb\"", "reply", "printable ASCII"),
    ("name = 'a'\naction = 'reject'\nreply = '450 4.7.1 later'", "reply", "5yz 5.x.y"),
    ("name = 'a'\naction = 'defer'\nreply = '451 5.7.1 later'", "reply", "4yz 4.x.y"),
    ("name = 'a'\naction = 'defer'\nreply = '421 4.7.0 later'", "reply", "closes the connection"),
    ("name = 'a'\naction = 'reject'\nreply = '550 no'", "reply", '"550 5.7.1 TEXT"'),
    ("name = 'a'\naction = 'defer'\nreply = '450-4.7.1 no'", "reply", "enhanced code"),
    ("name = 'a'\nscore = 1\nground = 'spam'", "ground", "allowed: advertising"),
    ("name = 'a'\nscore = 1\nstop = 'yes'", "stop", "true or false"),
    ("name = 'a'\nscore = 1\nenabled = 1", "enabled", "true or false"),
    ("name = 'a'\nscore = 1\nexpires = '2027-01-01'", "expires", "without quotes"),
    ("name = 'a'\nscore = 1\nunauthenticated = true", "unauthenticated", "only for"),
    ("name = 'a'\nscore = 1\ncomment = 5", "comment", "a text in quotes"),
    ("name = 'a'\nscore = 1\ncommment = 'x'", "commment", 'did you mean "comment"?'),
]


@pytest.mark.parametrize(("keys", "path", "words"), KEYS)
def test_a_wrong_key_is_named_where_it_stands(keys, path, words, reading):
    found = complaints(reading, f"[[rule]]\n{keys}\nwhen = {{ subject = 'x' }}\n")
    assert [where for where, _ in found] == [f"0.{path}".rstrip(".")]
    assert words in found[0][1]


def test_every_mistake_is_told_at_once(reading):
    toml = (
        "[[rule]]\nname = 'a'\nwhen = { sub = 1, text = { matches = '(' } }\n[[rule]]\nname = 'a'\nscore = 1\nx = 1\n"
    )
    assert {path for path, _ in complaints(reading, toml)} == {
        "0",
        "0.when.sub",
        "0.when.text.matches",
        "1.x",
        "1.when",
        "1.name",
    }


def test_tables_that_are_none_are_told(reading):
    assert [c.path for c in reading("x").complaints] == [()]
    assert [c.path for c in reading([5]).complaints] == [(0,)]


def test_a_rule_is_read_as_written(reading):
    toml = """
[[rule]]
name = "发票"
when = { subject = "x" }
action = "reject"
reply = "554 5.7.9 Not here"
ground = "advertising"
stop = true
enabled = false
expires = 2027-01-31T08:00:00+08:00
comment = "asked for by the helpdesk"
"""
    rule = reading(tomllib.loads(toml)["rule"]).rules[0]
    assert str(rule.reply) == "554 5.7.9 Not here"
    assert (rule.name, rule.stop, rule.enabled, rule.place) == ("发票", True, False, "rules.toml:0")
    assert rule.expires_utc == 1_801_353_600  # 2027-01-31T00:00Z
    assert rule.comment == "asked for by the helpdesk"


def test_bad_lines_of_a_list_are_named(reading):
    lists = {"d.txt": "good.example\n# a comment\nbad..example\n"}
    found = complaints(reading, f"[[rule]]\n{GOOD}when = {{ from_domain = {{ in_list = 'd.txt' }} }}\n", lists)
    assert found[0][0] == "0.when.from_domain.in_list"
    assert "line 3" in found[0][1]


def test_results_of_a_filter_that_is_not_there_are_refused(reading):
    tables = tomllib.loads(f"[[rule]]\n{GOOD}when = {{ dmarc = 'pass' }}\n")["rule"]
    assert "does not have" in reading(tables, None, {}).complaints[0].text


def test_deep_nesting_is_refused_not_followed(reading):
    when = {"subject": "x"}
    for _ in range(60):
        when = {"not": when}
    found = reading([{"name": "a", "score": 1, "when": when}]).complaints
    assert "nested deeper" in found[0].text


# Found sound: each looks doubtful and can match.
@pytest.mark.parametrize(
    "pattern",
    [
        r"\bfoo\b",
        "^发票$",
        r"[\d\-]+元",
        r"(?i)a.*b",
        r"\x{4e2d}",
        "[，。]发票",
        r"a\b\.",
        "(^a|b)c",
        r"\pL{3}x",
        "a{2,3}",
    ],
)
def test_sound_patterns_pass(pattern, reading):
    table = {"name": "a", "score": 1, "when": {"text": {"matches": pattern}}}
    assert reading([table]).complaints == ()
