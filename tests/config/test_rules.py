"""Custom rules as the configuration holds them: whose they are, what is switched off, where each stands.

If these fail an administrator's rule judges mail of another domain, or a change of a file does not reach the gateway.
"""

import pytest

from gateway.config.difference import diff
from gateway.config.loader import load
from gateway.config.problem import ConfigError
from gateway.config.rule_layers import rule_lines
from gateway.config.rule_states import rule_states
from gateway.config.source import Kept, parse_source
from gateway.smtp.address import Mailbox

DOMAIN = 'domains = ["example.com"]\nnext_hop = ["smtp://10.1.0.5"]\n'
OTHER = DOMAIN.replace(".com", ".org")
AT = 1_800_000_000.0


def rule(name, *more, subject="x"):
    lines = (f'name = "{name}"', f'when = {{ subject = "{subject}" }}', *(more or ("score = 1",)))
    return "[[rule]]\n" + "".join(f"{line}\n" for line in lines)


def mailbox_rule(address, name):
    return rule(name).replace("[[rule]]", f'[[mailbox."{address}".rule]]')


def policy(snapshot, address):
    local_part, _, domain = address.partition("@")
    return snapshot.policies.for_mailbox(Mailbox(local_part, domain, address))


def names(found):
    return [rule.name for layer in found.rules for rule in layer.rules]


def test_rules_of_inner_layers_stand_behind_those_they_inherit(configured):
    snapshot = configured(
        {
            "policies/default.toml": rule("everywhere"),
            "policies/a.toml": DOMAIN + rule("domain") + mailbox_rule("boss@example.com", "boss"),
            "policies/b.toml": OTHER,
        }
    )
    assert names(policy(snapshot, "anna@example.com")) == ["everywhere", "domain"]
    assert names(policy(snapshot, "boss@example.com")) == ["everywhere", "domain", "boss"]
    assert names(policy(snapshot, "anna@example.org")) == ["everywhere"]
    assert names(snapshot.policies.default) == ["everywhere"]
    assert [layer.source for layer in policy(snapshot, "boss@example.com").rules] == [
        "default",
        "a",
        "boss@example.com",
    ]


def test_policies_that_inherit_a_layer_share_one_object(configured):
    # A thousand domains that inherit ten thousand rules hold and compile them once.
    snapshot = configured(
        {
            "policies/default.toml": rule("everywhere"),
            "policies/a.toml": DOMAIN + '[mailbox."boss@example.com".scores]\ntag = 1\n',
            "policies/b.toml": OTHER,
        }
    )
    layers = {id(policy(snapshot, a).rules[0]) for a in ("a@example.com", "boss@example.com", "a@example.org")}
    assert layers == {id(snapshot.policies.default.rules[0])}


def test_mailboxes_whose_rules_are_alike_are_still_their_own(configured):
    snapshot = configured(
        {
            "policies/a.toml": DOMAIN
            + mailbox_rule("a@example.com", "own")
            + mailbox_rule("b@example.com", "own")
            + '[mailbox."c@example.com"]\nrules_off = []\n'
        }
    )
    a, b = policy(snapshot, "a@example.com"), policy(snapshot, "b@example.com")
    assert a.rules[-1].rules[0].place.endswith("policies/a.toml:3")
    assert b.rules[-1].rules[0].place.endswith("policies/a.toml:7")


def test_inherited_rules_are_switched_off_by_name_and_add_up(configured):
    off = '[mailbox."boss@example.com"]\nrules_off = ["domain"]\n'
    snapshot = configured(
        {
            "policies/default.toml": rule("one") + rule("two"),
            "policies/a.toml": 'rules_off = ["one"]\n' + DOMAIN + rule("domain") + off,
        }
    )
    assert policy(snapshot, "anna@example.com").rules_off == {"one"}
    assert policy(snapshot, "boss@example.com").rules_off == {"one", "domain"}
    assert snapshot.policies.default.rules_off == frozenset()


def test_the_state_of_each_rule_is_told_with_its_place(configured, tmp_path):
    snapshot = configured(
        {
            "policies/default.toml": rule("plain") + rule("gone", "score = 1", "expires = 2020-01-01"),
            "policies/a.toml": 'rules_off = ["plain"]\n' + DOMAIN + rule("off", "score = 1", "enabled = false"),
        }
    )
    address = Mailbox("anna", "example.com", "anna@example.com")
    found = rule_states(snapshot.policies.for_mailbox(address), snapshot.policies.layers_of(address), AT)
    told = [(s.rule.name, s.state, s.because.replace(f"{tmp_path}/", ""), s.rule.place) for s in found]
    assert told == [
        ("plain", "off", "rules_off, policies/a.toml:1", f"{tmp_path}/policies/default.toml:1"),
        ("gone", "expired", "", f"{tmp_path}/policies/default.toml:5"),
        ("off", "off", "enabled = false", f"{tmp_path}/policies/a.toml:4"),
    ]


IN_LIST = '[[rule]]\nname = "listed"\nwhen = { from_domain = { in_list = "lists/bad.txt" } }\nscore = 1\n'


def test_a_list_of_a_rule_is_part_of_the_configuration(tmp_path, catalogue, write_files):
    files = {"policies/a.toml": DOMAIN + IN_LIST, "policies/lists/bad.txt": "bad.example\n"}
    path = write_files(tmp_path, files)
    before = load(path, catalogue)
    again = load(path, catalogue)
    write_files(tmp_path, files | {"policies/lists/bad.txt": "bad.example\nworse.example\n"})
    after = load(path, catalogue)
    assert before.digest == again.digest != after.digest
    assert [line.replace(f"{tmp_path}/", "") for line in diff(before, after)] == [
        'policies/a.toml:3 rule "listed": when changed'
    ]
    # A worker that starts again is given the texts, whatever the disk says by then.
    (tmp_path / "policies/lists/bad.txt").unlink()
    assert load(path, catalogue, Kept(after.texts)).digest == after.digest


def test_a_list_that_cannot_be_read_is_named_where_it_is_asked_for(configured):
    with pytest.raises(ConfigError, match=r"a\.toml:5: rule\[1\]\.when\.from_domain\.in_list: .*bad\.txt"):
        configured({"policies/a.toml": DOMAIN + IN_LIST})


def test_a_change_is_one_line_a_rule_however_many_inherit_it(tmp_path, catalogue, write_files):
    files = {
        "policies/default.toml": rule("kept") + rule("gone") + rule("score", "score = 1"),
        "policies/a.toml": DOMAIN,
        "policies/b.toml": OTHER,
    }
    before = load(write_files(tmp_path, files), catalogue)
    text = rule("new") + rule("kept", subject="y") + rule("score", 'action = "reject"')
    after = load(write_files(tmp_path, files | {"policies/default.toml": text}), catalogue)
    assert [line.replace(f"{tmp_path}/", "") for line in diff(before, after)] == [
        'policies/default.toml:1 rule "new": added',
        'policies/default.toml:5 rule "kept": when changed',
        'policies/default.toml:9 rule "score": score: 1 → 0',
        'policies/default.toml:9 rule "score": action: not set → reject',
        'policies/default.toml rule "gone": removed',
    ]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[[rule]]\na = 1\n\n [[ rule ]] # two\na = 2\n", [1, 4]),
        ('a = """\n[[rule]]\n"""\n[[rule]]\na = 1\n[[rule]]\n', [4, 6]),
        ("# [[rule]]\nrule = [\n  { a = 1 },\n  { a = 2 },\n]\n", [3, 4]),
        ("[[rule]]\n[[rule.x]]\n[[rules]]\n[[rule]]\n", [1, 4]),
        ("[[rule]]\r\na = 1\r\n[[rule]]\r\n", [1, 3]),
    ],
    ids=["headers", "in-a-text", "an-array", "others", "crlf"],
)
def test_the_line_of_each_rule(tmp_path, text, lines):
    source = parse_source(text, name="x", folder=tmp_path)
    found = rule_lines(source, (), len(source.data["rule"]))
    assert [found(index) for index in range(len(lines))] == lines


def test_each_rule_is_counted_once_however_many_inherit_it(configured):
    files = {
        "policies/default.toml": rule("one") + rule("two"),
        "policies/a.toml": DOMAIN + rule("domain") + mailbox_rule("boss@example.com", "boss"),
        "policies/b.toml": OTHER,
    }
    assert configured(files).policies.rule_count == 4
    assert (
        configured(dict.fromkeys(files, "") | {"policies/a.toml": DOMAIN, "policies/b.toml": OTHER}).policies.rule_count
        == 0
    )


def test_mistakes_are_told_in_the_order_of_the_list(configured):
    patterns = ", ".join(f'"({number}"' for number in range(11))
    text = f'[[rule]]\nname = "a"\nwhen = {{ subject = {{ matches = [{patterns}] }} }}\nscore = 1\n'
    with pytest.raises(ConfigError) as raised:
        configured({"policies/a.toml": DOMAIN + text})
    told = [problem.key.rpartition("[")[2] for problem in raised.value.problems]
    assert told == [f"{number}]" for number in range(1, 12)]
