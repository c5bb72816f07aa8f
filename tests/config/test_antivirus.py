"""[clamd] and [antivirus]: if one of these fails, a mail is scanned otherwise than its administrator wrote."""

import pytest

from gateway.config.flat import policy_table
from gateway.config.loader import load
from gateway.config.problem import ConfigError
from gateway.filters import catalogue
from gateway.policy.action import Action
from tests.config.conftest import MINIMAL, POLICY


@pytest.fixture
def loaded(tmp_path, write_files):
    return lambda files: load(write_files(tmp_path, files), catalogue())


def problems(loaded, files) -> list[str]:
    with pytest.raises(ConfigError) as error:
        loaded(files)
    return [f"{problem.file.rpartition('/')[2]}:{problem.line}: {problem.key}" for problem in error.value.problems]


def setting(loaded, text: str, address: str = ""):
    policies = loaded({"policies/a.toml": POLICY + text}).policies
    policy = policies.by_mailbox[address] if address else policies.by_domain["example.com"]
    return policy.filters["antivirus"]


@pytest.mark.parametrize(
    ("mode", "action"),
    [("off", None), ("scan-only", None), ("clean", Action.QUARANTINE), ("reject", Action.REJECT)],
)
def test_the_mode_says_what_happens_to_what_stays_infected(loaded, mode, action):
    found = setting(loaded, f'[antivirus]\nmode = "{mode}"\n')
    assert found.options.mode == mode
    assert found.on["infected"] is action
    assert found.on["cleaned"] is None


@pytest.mark.parametrize(
    ("word", "action"),
    [("defer", Action.DEFER), ("quarantine", Action.QUARANTINE), ("tag", Action.TAG), ("pass", None)],
)
def test_on_error_says_what_happens_to_what_could_not_be_scanned(loaded, word, action):
    assert setting(loaded, f'[antivirus]\non_error = "{word}"\n').on["temperror"] is action


def test_what_is_not_written_is_deferred_cleaned_and_kept(loaded):
    found = setting(loaded, "")
    assert (found.enabled, found.options.mode, found.options.keep_original) == (True, "clean", True)
    assert found.on["temperror"] is Action.DEFER
    assert found.on["overdue"] is Action.QUARANTINE


def test_a_mailbox_has_its_own_mode_and_the_domains_other_keys(loaded):
    text = '[antivirus]\nmode = "reject"\nlanguage = "zh"\n[mailbox."boss@example.com".antivirus]\nmode = "scan-only"\n'
    own = setting(loaded, text, "boss@example.com").options
    assert (own.mode, own.language) == ("scan-only", "zh")


def test_reactions_of_the_filters_table_stand_beside_the_mode(loaded):
    found = setting(
        loaded, '[antivirus]\nmode = "reject"\n[filters.antivirus]\non = { encrypted = 3.0, infected = 1.0 }\n'
    )
    assert found.on["encrypted"] == 3.0
    assert found.on["infected"] is Action.REJECT, "the mode decides about infected mail"


def test_errors_name_the_key_where_it_is_written(loaded):
    text = """\
[antivirus]
mode = "delete"
keep_originals = true
on = { infected = "accept" }
[filters.antivirus]
mode = "off"
on = { virus = 3.0 }
[mailbox."boss@example.com".antivirus]
defer_limit = "soon"
"""
    assert problems(loaded, {"policies/a.toml": POLICY + text}) == [
        "a.toml:4: antivirus.mode",
        "a.toml:5: antivirus.keep_originals",
        "a.toml:6: antivirus.on",
        "a.toml:8: filters.antivirus.mode",
        "a.toml:9: filters.antivirus.on.virus",
        'a.toml:11: mailbox."boss@example.com".antivirus.defer_limit',
    ]


def test_policy_show_has_the_options_under_antivirus(loaded):
    table = policy_table(loaded({"policies/a.toml": POLICY}).policies.by_domain["example.com"])
    assert table["antivirus"]["mode"] == "clean"
    assert table["antivirus"]["defer_limit"] == "2h"
    assert set(table["filters"]["antivirus"]) == {"enabled", "on"}


def test_scanners_are_one_address_or_several(loaded):
    assert loaded({"tidegate.toml": MINIMAL}).config.clamd.address == ()
    one = loaded({"tidegate.toml": f'{MINIMAL}[clamd]\naddress = "unix:/run/clamav/clamd.ctl"\n'}).config.clamd
    assert one.address == ("unix:/run/clamav/clamd.ctl",)
    several = loaded({"tidegate.toml": f'{MINIMAL}[clamd]\naddress = ["clamav:3310", "[::1]:3310"]\n'}).config.clamd
    assert several.address == ("clamav:3310", "[::1]:3310")


def test_what_is_no_scanner_is_named(loaded):
    wrong = ["unix:clamd.ctl", "::1:3310", "host:0", "host", "host:99999"]
    text = f"{MINIMAL}[clamd]\naddress = {wrong}\nsessions = 0\n".replace("'", '"')
    line = MINIMAL.count("\n") + 2
    assert problems(loaded, {"tidegate.toml": text}) == [
        *(f"tidegate.toml:{line}: clamd.address[{n}]" for n in range(1, 6)),
        f"tidegate.toml:{line + 1}: clamd.sessions",
    ]


def test_signatures_are_old_before_they_are_a_breach(loaded):
    text = f'{MINIMAL}[clamd]\nsignatures_old = "8d"\n'
    assert problems(loaded, {"tidegate.toml": text}) == [f"tidegate.toml:{text.count(chr(10))}: clamd.signatures_old"]
