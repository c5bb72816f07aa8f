"""``[signing]`` in a policy, and the commands about keys: a mistake is named where it stands, a key never shown."""

import json
import stat
from datetime import date

import pytest
from typer.testing import CliRunner

from gateway.cli import dkim
from gateway.config.loader import load
from gateway.config.problem import ConfigError
from gateway.dns.zone import ZoneResolver
from gateway.filters import catalogue
from gateway.policy.signing import generate_key, read_signing_key

POLICY = 'domains = ["example.com", "example.org"]\nnext_hop = ["smtp://10.1.0.5:25"]\n'
NODE = 'hostname = "mx.ours.test"\ndata = "var"\n[[listen]]\naddress = "127.0.0.1:0"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "tidegate.toml").write_text(NODE, encoding="utf-8")
    (tmp_path / "policies/key.pem").write_bytes(generate_key("ed25519"))
    return tmp_path


def loaded(folder, signing: str, more: str = ""):
    (folder / "policies/example.toml").write_text(POLICY + signing + more, encoding="utf-8")
    return load(folder / "tidegate.toml", catalogue())


def test_a_policy_without_keys_signs_nothing(folder):
    policy = loaded(folder, "").policies.for_domain("example.com")
    assert policy.signing.keys == ()
    assert policy.signing.seal == "never"


def test_keys_are_read_and_serve_every_domain_of_the_policy(folder):
    text = '[signing]\nseal = "altered"\nkeys = [{ selector = "S1", file = "key.pem", since = "2026-02-01" }]\n'
    snapshot = loaded(folder, text, '[mailbox."a@example.com".scores]\ntag = 1\n')
    signing = snapshot.policies.for_domain("example.org").signing
    assert signing.seal == "altered"
    assert [(key.name, key.since) for key in signing.all_for("example.org")] == [
        ("s1._domainkey.example.org", date(2026, 2, 1))
    ]


def test_another_key_in_the_same_file_is_another_configuration(folder):
    text = '[signing]\nkeys = [{ selector = "s1", file = "key.pem" }]\n'
    before = loaded(folder, text).digest
    (folder / "policies/key.pem").write_bytes(generate_key("ed25519"))
    assert loaded(folder, text).digest != before


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('keys = [{ selector = "s1", file = "gone.pem" }]', "signing.keys[1].file: "),
        ('keys = [{ selector = "s1", file = "example.toml" }]', "not a PEM file with an unencrypted private key"),
        ('keys = [{ selector = "s 1", file = "key.pem" }]', "signing.keys[1].selector: "),
        ('keys = [{ selector = "s1", file = "key.pem", since = "soon" }]', "signing.keys[1].since: "),
        ('keys = [{ file = "key.pem" }]', "signing.keys[1].selector: "),
        ('seal = "sometimes"', "signing.seal: "),
        ('sale = "never"', "signing.sale: "),
        ('seal = "always"', "signing.seal: needs a key"),
    ],
)
def test_mistakes_are_named_where_they_stand(folder, text, problem):
    with pytest.raises(ConfigError) as caught:
        loaded(folder, f"[signing]\n{text}\n")
    told = str(caught.value)
    assert problem in told
    assert "example.toml:4" in told


def test_mailboxes_have_no_keys_of_their_own(folder):
    with pytest.raises(ConfigError, match="unknown key"):
        loaded(folder, '[mailbox."a@example.com".signing]\nseal = "never"\n')


# Commands -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(folder, monkeypatch):
    def invoke(*words: str, zone: str = ""):
        monkeypatch.setattr("gateway.dns.resolver.DnspythonResolver", lambda *_: ZoneResolver(zone))
        monkeypatch.chdir(folder)
        return CliRunner().invoke(dkim.app, list(words))

    return invoke


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_genkey_writes_a_key_for_its_owner_and_prints_the_record(run, folder, kind):
    result = run("genkey", "Example.com", "S2026", "--kind", kind)
    assert result.exit_code == 0, result.output
    file = folder / "s2026.example.com.pem"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = read_signing_key(file.read_bytes(), "example.com", "s2026")
    record = result.stdout.splitlines()[-1]
    assert record.startswith("s2026._domainkey.example.com. IN TXT ")
    strings = record.partition(" IN TXT ")[2].strip('"').split('" "')
    assert "".join(strings) == key.record
    assert all(len(string) <= 255 for string in strings)
    assert "PRIVATE" not in result.output


def test_genkey_never_writes_over_a_key(run, folder):
    assert run("genkey", "example.com", "s1", "--out", "a.pem").exit_code == 0
    before = (folder / "a.pem").read_bytes()
    result = run("genkey", "example.com", "s1", "--out", "a.pem")
    assert result.exit_code == 73
    assert (folder / "a.pem").read_bytes() == before


@pytest.mark.parametrize(
    "words", [("not a domain", "s1"), ("example.com", "s 1"), ("example.com", "s1", "--kind", "dsa")]
)
def test_genkey_refuses_what_is_none(run, words):
    assert run("genkey", *words).exit_code == 2


def test_check_compares_with_dns(run, folder):
    loaded(folder, '[signing]\nkeys = [{ selector = "s1", file = "key.pem" }]\n')
    key = read_signing_key((folder / "policies/key.pem").read_bytes(), "example.com", "s1")
    zone = f"{key.name} TXT {key.record}"
    good = run("check", "example.com", "--config", "tidegate.toml", "--json", zone=zone)
    assert good.exit_code == 0, good.output
    assert [one["state"] for one in json.loads(good.stdout)["keys"]] == ["published"]
    assert run("check", "example.org", "--config", "tidegate.toml", zone=zone).exit_code == 1
    assert run("check", "example.com", "--config", "tidegate.toml", zone=f"{key.name} TXT !SERVFAIL").exit_code == 75
    assert run("check", "other.com", "--config", "tidegate.toml").exit_code == 1
