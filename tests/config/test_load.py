"""What the files say is what holds, for whom, and where it came from."""

import gc
import os
import time
from pathlib import Path

import pytest

from gateway.config.loader import find_config, load, load_embedded
from gateway.config.models import GatewayConfig
from gateway.config.problem import ConfigError
from gateway.config.source import Kept
from gateway.filters import catalogue as shipped_filters
from gateway.policy.action import Action
from gateway.policy.verdict import Thresholds
from gateway.smtp.address import Mailbox
from gateway.smtp.path import parse_forward_path

POLICY = 'domains = ["example.com"]\nnext_hop = ["smtp://10.1.0.5:25"]\n'


def mailbox(address: str) -> Mailbox:
    return parse_forward_path(f"<{address}>".encode(), smtputf8=True)[0].mailbox


def policy_of(snapshot, address):
    return snapshot.policies.for_mailbox(mailbox(address))


# --- layers


LAYERED = {
    "policies/default.toml": """\
[scores]
tag = 4
quarantine = 8.0
[filters.tarpit]
wait = "3s"
on = { slow = 1.0 }
words = ["a", "b"]
""",
    "policies/a.toml": f"""\
{POLICY}[scores]
tag = 3
[filters.tarpit]
on = {{ fast = 'reject' }}
words = ['c']
[mailbox.'boss@example.com'.scores]
quarantine = false
[mailbox.'boss@example.com'.filters.tarpit]
enabled = false
""",
}


def test_tables_merge_key_by_key_and_lists_replace(configured):
    policy = policy_of(configured(LAYERED), "anna@example.com")
    assert policy.thresholds == Thresholds(tag=3.0, quarantine=8.0, reject=14.0)
    tarpit = policy.filters["tarpit"]
    assert tarpit.options.wait == 3.0
    assert tarpit.options.words == ("c",)
    assert tarpit.on == {"slow": 1.0, "fast": Action.REJECT, "temperror": Action.DEFER, "permerror": None}


def test_a_mailbox_changes_what_it_says_and_keeps_the_rest(configured):
    snapshot = configured(LAYERED)
    boss = policy_of(snapshot, "Boss@Example.COM")
    assert boss.thresholds == Thresholds(tag=3.0, quarantine=None, reject=14.0)
    assert not boss.filters["tarpit"].enabled
    assert (boss.name, boss.customer, boss.domains) == ("a", "a", ("example.com",))
    assert policy_of(snapshot, "boss+list@example.com") is policy_of(snapshot, "anna@example.com")


def test_every_key_knows_where_it_was_written(configured, tmp_path):
    policies = configured(LAYERED).policies
    origin = policies.layers_of(mailbox("boss@example.com")).origin
    folder = tmp_path / "policies"
    assert str(origin(("scores", "quarantine"))) == f"{folder / 'a.toml'}:9"
    assert str(origin(("scores", "tag"))) == f"{folder / 'a.toml'}:4"
    assert str(origin(("filters", "tarpit", "on", "slow"))) == f"{folder / 'default.toml'}:6"
    assert str(origin(("filters", "tarpit", "on", "fast"))) == f"{folder / 'a.toml'}:6"
    assert str(origin(("domains",))) == f"{folder / 'a.toml'}:1"
    assert str(origin(("scores", "reject"))) == "built-in"


def test_filters_nobody_mentions_have_what_they_ship_with(configured):
    policy = policy_of(configured({"policies/a.toml": POLICY}), "anna@example.com")
    assert list(policy.filters) == ["bare", "tarpit"]
    assert policy.filters["bare"].enabled
    assert policy.filters["bare"].on == {"bad": Action.REJECT, "temperror": None, "permerror": None}
    assert policy.filters["tarpit"].options.wait == 2.0


def test_every_action_word_a_score_and_ignore_are_taken(configured):
    for word, wanted in [(action.word, action) for action in Action] + [("ignore", None)]:
        text = POLICY + f"[filters.bare]\non = {{ bad = '{word}' }}\n"
        assert policy_of(configured({"policies/a.toml": text}), "a@example.com").filters["bare"].on["bad"] is wanted
    text = POLICY + "[filters.bare]\non = { bad = -2 }\n"
    assert policy_of(configured({"policies/a.toml": text}), "a@example.com").filters["bare"].on["bad"] == -2.0


# --- who has which policy


def test_a_domain_nobody_claims_has_no_policy(configured):
    snapshot = configured({"policies/a.toml": POLICY})
    for address in ("a@example.org", "a@sub.example.com", "a@example.co", "a@[10.0.0.1]"):
        assert policy_of(snapshot, address) is None, address
    assert snapshot.policies.for_mailbox(Mailbox("postmaster", "", "postmaster")) is None


def test_u_labels_and_a_labels_are_one_domain(configured):
    text = POLICY.replace("example.com", "例子.中国") + "[mailbox.'老板@XN--FSQU00A.xn--fiqs8s'.scores]\ntag = 1\n"
    snapshot = configured({"policies/a.toml": text})
    assert snapshot.policies.domains == ("xn--fsqu00a.xn--fiqs8s",)
    assert policy_of(snapshot, "a@XN--fsqu00a.XN--FIQS8S") is policy_of(snapshot, "b@例子.中国")
    assert policy_of(snapshot, "老板@例子.中国").thresholds.tag == 1.0


def test_equal_policies_are_one_object(configured):
    """Recipients are grouped by identity: without it a message to a thousand mailboxes is judged a thousand times."""
    text = POLICY + "".join(
        f"[mailbox.'{name}@example.com'.scores]\ntag = {tag}\n"
        for name, tag in (("a", 1), ("b", 1.0), ("c", 5), ("d", "false"), ("e", 0))
    )
    snapshot = configured({"policies/a.toml": text, "policies/default.toml": "[scores]\ntag = 5.0\n"})
    a, b, c, d, e, other = (policy_of(snapshot, f"{name}@example.com") for name in "abcdex")
    assert a is b
    assert c is other
    assert a is not other
    assert a.filters["tarpit"] is other.filters["tarpit"]
    assert (d.thresholds.tag, e.thresholds.tag) == (None, 0.0)


def test_mailboxes_with_the_same_table_share_their_policy(configured):
    text = POLICY + "".join(f"[mailbox.'{name}@example.com'.scores]\ntag = 1.0\n" for name in "ab")
    snapshot = configured({"policies/a.toml": text})
    assert policy_of(snapshot, "a@example.com") is policy_of(snapshot, "b@example.com")


def test_foreign_mail_follows_its_mx_whatever_the_domains_share(configured):
    snapshot = configured({"policies/default.toml": 'next_hop = "smtp://10.1.0.5"\n[scores]\ntag = 2\n'})
    assert [hop.url for hop in snapshot.policies.default.next_hop] == ["mx:"]
    assert snapshot.policies.default.thresholds.tag == 2.0


def test_without_any_policy_file_the_defaults_hold(configured):
    policies = configured({}).policies
    assert policies.domains == ()
    assert policies.default.name == "default"
    assert set(policies.default.filters) == {"bare", "tarpit"}


def test_editors_files_are_no_policies(configured):
    snapshot = configured({"policies/.a.toml": "not toml", "policies/a.toml~": "not toml", "policies/a.toml": POLICY})
    assert snapshot.policies.domains == ("example.com",)


def test_lists_of_recipients_are_read_in_comparison_form(configured):
    names = (
        "# people\n\nAnna@Example.com # a note\n@例子.中国\n"
        "  bernd@example.com\t# another\r\n#x@example.com\nc#d@example.com\n"
    )
    text = POLICY + 'recipients = "list:lists/people.txt"\n'
    check = policy_of(
        configured({"policies/a.toml": text, "policies/lists/people.txt": names}), "a@example.com"
    ).recipients
    assert check.mode == "list"
    assert check.addresses == {"anna@example.com", "@xn--fsqu00a.xn--fiqs8s", "bernd@example.com", "c#d@example.com"}


def test_a_wrong_list_shows_its_first_errors_only(configured):
    text = POLICY + 'recipients = "list:people.txt"\n'
    with pytest.raises(ConfigError) as error:
        configured({"policies/a.toml": text, "policies/people.txt": "x\n" * 1000})
    assert len(error.value.problems) == 21
    assert "and 980 more" in str(error.value.problems[-1])


# --- tidegate.toml


def test_relative_paths_start_from_the_files_folder(configured, tmp_path):
    config = configured({}).config
    assert config.data == tmp_path / "var"
    assert config.policies == tmp_path / "policies"
    hop = 'domains = ["example.com"]\nnext_hop = "maildir:var/mail"\n'
    policy = policy_of(configured({"policies/a.toml": hop}), "a@example.com")
    assert policy.next_hop[0].path == str(tmp_path / "var" / "mail")


def test_models_built_by_the_program_are_taken_as_they_are():
    config = GatewayConfig(hostname="mx.example.net", data=Path("x"), listen=())
    assert config.data == Path("x")


def test_a_certificate_and_its_key_are_tried(configured, tmp_path):
    trustme = pytest.importorskip("trustme")
    ca = trustme.CA()
    for name in ("one", "two"):
        certificate = ca.issue_cert("mx1.example.net")
        certificate.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        certificate.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    text = 'hostname = "mx1.example.net"\n[[listen]]\naddress = "127.0.0.1:0"\n'
    text += 'tls = { certificate = "one.pem", key = "KEY.key" }\n'
    tls = configured({"tidegate.toml": text.replace("KEY", "one")}).config.listen[0].tls
    assert tls.certificate == tmp_path / "one.pem"
    with pytest.raises(ConfigError, match=r"tidegate.toml:4: listen\[1\].tls.certificate: OpenSSL cannot use"):
        configured({"tidegate.toml": text.replace("KEY", "two")})


@pytest.mark.parametrize(
    ("octets", "wanted"),
    [
        (b"hostname = 'a'\n\xff", "tidegate.toml:2: not UTF-8; the file must be saved as UTF-8"),
        (b"a = 1\na = 2\n", "tidegate.toml:2: TOML syntax"),
        (b"a = '''\nx\n", "tidegate.toml:2: TOML syntax"),
        (b"a = " + b"[" * 20_000, "tidegate.toml: arrays or tables are nested too deeply"),
        (b"", "tidegate.toml:1: hostname: missing"),
    ],
)
def test_hostile_files_are_problems_and_never_tracebacks(octets, wanted, tmp_path, catalogue):
    (tmp_path / "policies").mkdir()
    (tmp_path / "tidegate.toml").write_bytes(octets)
    with pytest.raises(ConfigError) as error:
        load(tmp_path / "tidegate.toml", catalogue)
    assert str(error.value.problems[0]).removeprefix(f"{tmp_path}/").startswith(wanted)


def test_a_byte_order_mark_is_ignored(tmp_path, catalogue, write_files):
    path = write_files(tmp_path, {})
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(path, catalogue).config.hostname == "mx1.example.net"


def test_a_missing_file_is_named(tmp_path, catalogue):
    with pytest.raises(ConfigError, match=r"none.toml: cannot be read: No such file or directory"):
        load(tmp_path / "none.toml", catalogue)


def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path, catalogue, write_files):
    path = write_files(tmp_path, {"policies/a.toml": POLICY + 'recipients = "list:people.txt"\n'})
    os.mkfifo(tmp_path / "policies/people.txt")
    with pytest.raises(ConfigError, match=r"people.txt:? is no ordinary file"):
        load(path, catalogue)


def test_the_file_is_found_in_the_documented_order(tmp_path):
    here, system, named = tmp_path / "tidegate.toml", tmp_path / "etc.toml", tmp_path / "named.toml"
    assert find_config(None, {}, tmp_path, system) is None
    system.touch()
    assert find_config(None, {}, tmp_path, system) == system
    here.touch()
    assert find_config(None, {}, tmp_path, system) == here
    assert find_config(None, {"TIDEGATE_CONFIG": str(named)}, tmp_path, system) == named
    assert find_config(Path("option"), {"TIDEGATE_CONFIG": str(named)}, tmp_path, system) == Path("option")


# --- digest, embedded default


def test_the_digest_tells_contents_apart_and_places_not(tmp_path, catalogue, write_files):
    files = {"policies/a.toml": POLICY + 'recipients = "list:p.txt"\n', "policies/p.txt": "a@example.com\n"}
    one = load(write_files(tmp_path / "one", files), catalogue)
    two = load(write_files(tmp_path / "two", files), catalogue)
    assert one.digest == two.digest
    for name, text in files.items():
        other = write_files(tmp_path / f"not-{Path(name).name}", files | {name: f"{text}\n# x\n"})
        changed = load(other, catalogue)
        assert changed.digest != one.digest, name
    assert [Path(name).name for name in one.texts] == ["tidegate.toml", "a.toml", "p.txt"]


def test_what_was_read_makes_the_same_snapshot_again_whatever_the_files_say_now(tmp_path, catalogue, write_files):
    """A worker that starts again must serve what the others do, although somebody is in the middle of an edit."""
    files = {
        "policies/default.toml": "[scores]\ntag = 3\n",
        "policies/a.toml": POLICY + 'recipients = "list:p.txt"\n',
        "policies/p.txt": "a@example.com\n",
    }
    path = write_files(tmp_path, files)
    first = load(path, catalogue)
    for name in files:
        (tmp_path / name).write_text("half an ed")
    (tmp_path / "policies/new.toml").write_text("= broken")
    with pytest.raises(ConfigError):
        load(path, catalogue)
    again = load(path, catalogue, Kept(first.texts))
    assert (again.digest, again.config, again.policies.by_domain) == (
        first.digest,
        first.config,
        first.policies.by_domain,
    )
    with pytest.raises(ConfigError, match="no part of the configuration that was kept"):
        load(tmp_path / "other.toml", catalogue, Kept(first.texts))


def test_the_embedded_default_is_made_again_too(tmp_path):
    first = load_embedded(tmp_path, shipped_filters())
    assert load_embedded(tmp_path, shipped_filters(), Kept(first.texts)).digest == first.digest


def test_the_embedded_default_takes_a_first_mail_without_any_file(tmp_path):
    snapshot = load_embedded(tmp_path, shipped_filters())
    assert snapshot.path is None
    assert [(listen.address, listen.role.value) for listen in snapshot.config.listen] == [("127.0.0.1:2525", "mx")]
    assert snapshot.config.data == tmp_path / "var"
    policy = policy_of(snapshot, "you@example.test")
    assert [hop.path for hop in policy.next_hop] == [str(tmp_path / "var" / "maildir")]
    assert policy.recipients.mode == "any"


# --- speed


def cpu_seconds(action):
    """Return the processor time of ``action``; what the collector finds depends on the tests before."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        action()
        return time.process_time() - began
    finally:
        gc.enable()


def test_a_thousand_policies_load_in_two_seconds(tmp_path, catalogue, write_files):
    text = """\
domains = ["d{0}.example", "e{0}.example"]
next_hop = ["smtp://10.1.0.5"]
[filters.tarpit]
wait = "{1}s"
[mailbox."a@d{0}.example".scores]
tag = 1
"""
    files = {f"policies/p{n}.toml": text.format(n, n % 60) for n in range(1000)}
    path = write_files(tmp_path, files | {"policies/default.toml": LAYERED["policies/default.toml"]})
    loaded = []
    assert cpu_seconds(lambda: loaded.append(load(path, catalogue))) < 2
    [snapshot] = loaded
    assert len(snapshot.policies.domains) == 2000
    look_up, who = snapshot.policies.for_mailbox, mailbox("a@e7.example")
    # Ten times what it takes: a look-up for each recipient of each message must stay below a microsecond or two.
    assert cpu_seconds(lambda: [look_up(who) for _ in range(100_000)]) / 100_000 < 5e-6
