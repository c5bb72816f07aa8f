"""Registration data from a registry that serves it, by the library that asks it; and from one that does all else.

What breaks if these fail: nobody is told of spam from a network; the desk hangs or fills its memory on one server's
answer; or we go on asking a server that said it is too much.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
import whoisit
from whoisit.bootstrap import BaseBootstrap

from gateway.abuse.reporting import rdap
from gateway.abuse.reporting.desk import ReportDesk
from gateway.abuse.reporting.rdap import Registries
from gateway.clock import FakeClock
from tests.abuse_desk.conftest import MONDAY, Desk
from tests.abuse_desk.registry import NETWORK, Registry
from tests.abuse_desk.test_reports import spam

ADDRESS = "192.88.99.7"
PATH = f"/rdap/ip/{ADDRESS}"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def registry(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    """A registry that the library finds where IANA's table would be, for a network that is nobody's (RFC 7526)."""
    certificate = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(certificate))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(BaseBootstrap, "DEFAULT_RDAP_FALLBACKS", ())
    with Registry(authority) as found:
        names = {"object": "object-tags"}
        urls = {name: f"{found.url}/{names.get(name, name)}.json" for name in BaseBootstrap.BOOTSTRAP_URLS}
        monkeypatch.setattr(BaseBootstrap, "BOOTSTRAP_URLS", urls)
        found.table()
        whoisit.clear_bootstrapping()
        yield found
    whoisit.clear_bootstrapping()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(MONDAY)


@pytest.fixture
def asking(registry: Registry, clock: FakeClock, tmp_path: Path) -> Registries:
    return Registries(tmp_path / "data", clock)


def test_the_abuse_contact_is_found_within_its_organisation(registry: Registry, asking: Registries):
    registry.knows(PATH, NETWORK)
    assert asking.contact(ADDRESS) == "abuse@isp.test"


def test_the_table_of_registries_is_fetched_once_and_kept_over_a_restart(
    registry: Registry, asking: Registries, clock: FakeClock, tmp_path: Path
):
    registry.knows(PATH, NETWORK)
    assert [asking.contact(ADDRESS) for _ in range(3)] == ["abuse@isp.test"] * 3
    whoisit.clear_bootstrapping()
    assert Registries(tmp_path / "data", clock).contact(ADDRESS) == "abuse@isp.test"
    assert registry.asked["/ipv4.json"] == 1
    assert registry.asked[PATH] == 4


def test_an_old_table_does_while_no_new_one_can_be_had(
    registry: Registry, asking: Registries, clock: FakeClock, tmp_path: Path
):
    registry.knows(PATH, NETWORK)
    asking.contact(ADDRESS)
    clock.advance(2 * 86_400.0)
    registry.knows("/ipv4.json", "gone", status=500)
    assert [asking.contact(ADDRESS) for _ in range(3)] == ["abuse@isp.test"] * 3
    assert registry.asked["/ipv4.json"] == 2
    registry.table()
    clock.advance(rdap.COME_AGAIN_SECONDS)
    assert asking.contact(ADDRESS) == "abuse@isp.test"
    kept = json.loads((tmp_path / "data/state/registries.json").read_text())
    assert kept["timestamp"] == int(clock.stamp().utc)


def test_without_any_table_nobody_is_known_and_iana_is_not_asked_again_at_once(
    registry: Registry, asking: Registries, clock: FakeClock
):
    registry.knows(PATH, NETWORK)
    registry.knows("/asn.json", b"[" * 100_000)
    assert [asking.contact(ADDRESS) for _ in range(3)] == [None] * 3
    assert registry.asked["/asn.json"] == 1
    registry.table()
    clock.advance(rdap.COME_AGAIN_SECONDS)
    assert asking.contact(ADDRESS) == "abuse@isp.test"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"timestamp": 1}', "\0" * 100])
def test_a_kept_table_that_is_none_is_fetched_anew(registry: Registry, asking: Registries, tmp_path: Path, damage: str):
    kept = tmp_path / "data/state/registries.json"
    kept.parent.mkdir(parents=True)
    kept.write_text(damage)
    registry.knows(PATH, NETWORK)
    assert asking.contact(ADDRESS) == "abuse@isp.test"


def test_a_redirect_is_followed_to_where_the_network_was_given(registry: Registry, asking: Registries):
    """RFC 7480 §5.2: a registry sends on to the one that knows."""
    registry.knows(PATH, "", status=302, Location=f"{registry.url}/national{PATH}")
    registry.knows(f"/national{PATH}", NETWORK)
    assert asking.contact(ADDRESS) == "abuse@isp.test"


@pytest.mark.parametrize("to", ["{url}" + PATH, "http://127.0.0.1:1/", "file:///etc/passwd", "//[", "ftp://isp.test/"])
def test_a_redirect_in_a_circle_or_away_from_https_ends(registry: Registry, asking: Registries, to: str):
    registry.knows(PATH, "", status=301, Location=to.format(url=registry.url))
    assert asking.contact(ADDRESS) is None
    assert registry.asked[PATH] <= rdap.MAX_REDIRECTS + 1


def test_what_is_registered_to_nobody_has_nobody_to_tell(registry: Registry, asking: Registries):
    assert asking.contact(ADDRESS) == ""


def test_a_server_that_is_asked_too_much_is_left_alone_as_long_as_it_says(
    registry: Registry, asking: Registries, clock: FakeClock
):
    registry.knows(PATH, "slow down", status=429, Retry_After="120")
    assert asking.contact(ADDRESS) is None
    registry.knows(PATH, NETWORK)
    clock.advance(119.0)
    assert asking.contact(ADDRESS) is None
    assert registry.asked[PATH] == 1
    clock.advance(2.0)
    assert asking.contact(ADDRESS) == "abuse@isp.test"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("", rdap.COME_AGAIN_SECONDS),
        ("soon", rdap.COME_AGAIN_SECONDS),
        ("-5", rdap.COME_AGAIN_SECONDS),
        ("99999999999999999999", 86_400.0),
        # RFC 9110 §10.2.3: a date. 02:00 UTC is now.
        ("Mon, 23 Nov 2026 02:10:00 GMT", 600.0),
        ("Mon, 23 Nov 2020 02:10:00 GMT", 1.0),
    ],
)
def test_whatever_a_server_says_of_when_to_come_again_is_a_time(
    registry: Registry, asking: Registries, clock: FakeClock, said: str, seconds: float
):
    registry.knows(PATH, "", status=503, **({"Retry_After": said} if said else {}))
    assert asking.contact(ADDRESS) is None
    clock.advance(seconds - 0.5)
    asking.contact(ADDRESS)
    assert registry.asked[PATH] == 1
    clock.advance(1.0)
    asking.contact(ADDRESS)
    assert registry.asked[PATH] == 2


def test_a_server_that_says_nothing_more_is_not_waited_for(
    registry: Registry, asking: Registries, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rdap, "PATIENCE_SECONDS", 0.2)
    registry.knows(PATH, "trickle")
    assert asking.contact(ADDRESS) is None


@pytest.mark.parametrize("kind", ["endless", "bomb"])
def test_an_answer_without_end_is_read_to_a_bound(registry: Registry, asking: Registries, kind: str):
    if kind == "endless":
        registry.knows(PATH, "endless")
    else:
        registry.knows(PATH, gzip.compress(b" " * (8 * rdap.MAX_OCTETS)), Content_Encoding="gzip")
    assert asking.contact(ADDRESS) is None


GARBAGE = {
    "empty": b"",
    "no json": b"<html>Welcome</html>",
    "a list": b"[]",
    "a text": b'"x"',
    "null": b"null",
    "deep": b"[" * 100_000,
    "bad utf-8": b'{"entities": "\xff\xfe"}',
    "entities of another kind": json.dumps(NETWORK | {"entities": "abuse"}).encode(),
    "entities without a card": json.dumps(NETWORK | {"entities": [{"roles": ["abuse"]}, 7, None]}).encode(),
    "no address": json.dumps(NETWORK | {"entities": [{"roles": ["abuse"], "vcardArray": ["vcard", [7]]}]}).encode(),
    "addresses that are none": json.dumps(NETWORK)
    .replace("abuse@isp.test", "abuse@isp.test\\r\\nBcc: all@isp.test")
    .encode(),
}


@pytest.mark.parametrize("case", GARBAGE, ids=list(GARBAGE))
def test_garbage_is_no_address(registry: Registry, asking: Registries, case: str):
    registry.knows(PATH, GARBAGE[case])
    assert not asking.contact(ADDRESS)


def test_a_source_is_reported_to_the_contact_that_the_registry_names_and_nobody_asks_again(registry: Registry, desk):
    """The whole way: configuration, a round that does not wait, the next one that writes; then from memory."""
    case: Desk = desk("[reporting]\nenabled = true\nrdap = true\n")
    registry.knows(PATH, NETWORK)
    spam(case, ADDRESS)
    room = ReportDesk(lambda: case.snapshot, case.book, clock=case.clock, patience_seconds=30.0)
    assert room.operators(10) == 1
    assert case.rows("SELECT recipient, contact_origin FROM report") == [("abuse@isp.test", "rdap")]
    case.clock.advance(86_400.0)
    spam(case, ADDRESS)
    assert ReportDesk(lambda: case.snapshot, case.book, clock=case.clock).operators(10) == 1
    assert registry.asked[PATH] == 1
