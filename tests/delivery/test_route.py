"""What breaks if these fail: mail goes to the wrong host, round in circles, or back to its sender for a DNS hiccup."""

from dataclasses import replace
from pathlib import Path

import pytest

from gateway.config.next_hop import parse_next_hop
from gateway.delivery.route import Router, policy_of, route_of
from gateway.delivery.transfer import Failure, Target
from gateway.dns.zone import ZoneResolver
from gateway.policy.domain_policy import DomainPolicy
from gateway.smtp.path import parse_forward_path
from tests.delivery.conftest import dice, write_config

ZONE = """
two.test MX 20 b.test
two.test MX 10 a.test
equal.test MX 10 a.test
equal.test MX 10 b.test
equal.test MX 10 c.test
null.test MX 0 .
mixed.test MX 0 .
mixed.test MX 10 a.test
bare.test A 192.0.2.9
mute.test TXT nothing
sick.test MX !SERVFAIL
hollow.test MX 10 nowhere.test
sickhost.test MX 10 sick-address.test
sick-address.test * !SERVFAIL
backup.test MX 10 a.test
backup.test MX 20 mx.ours.test
backup.test MX 20 b.test
backup.test MX 30 c.test
us.test MX 10 mx.ours.test
us.test MX 20 b.test
mx.ours.test A 192.0.2.1
a.test A 192.0.2.2
b.test A 192.0.2.3
c.test A 192.0.2.4
"""


def router(seed: int = 1) -> Router:
    return Router(ZoneResolver(ZONE), dice(seed), lambda: "MX.ours.test")


async def targets(*urls: str, seed: int = 1) -> list[str] | Failure:
    found = await router(seed).targets([parse_next_hop(url, Path("/")) for url in urls])
    return found if isinstance(found, Failure) else [target.name for target in found]


async def test_mx_hosts_in_order_of_preference() -> None:
    assert await targets("mx:two.test") == ["a.test:25", "b.test:25"]


async def test_equal_preferences_are_shuffled() -> None:
    orders = {tuple(await targets("mx:equal.test", seed=seed)) for seed in range(50)}  # type: ignore[arg-type]
    assert len(orders) == 6


async def test_without_mx_the_domains_own_address() -> None:
    assert await targets("mx:bare.test") == ["bare.test:25"]


@pytest.mark.parametrize(
    ("domain", "reply"),
    [
        ("null.test", "556 5.1.10"),
        ("absent.test", "550 5.1.2"),
        ("mute.test", "550 5.4.4"),
        ("hollow.test", "550 5.4.4"),
        ("us.test", "554 5.4.6"),
    ],
)
async def test_what_dns_says_for_sure_is_permanent(domain: str, reply: str) -> None:
    failure = await targets(f"mx:{domain}")
    assert isinstance(failure, Failure)
    assert failure.permanent
    assert str(failure.reply).startswith(reply)
    assert domain in failure.reply.text


@pytest.mark.parametrize("domain", ["sick.test", "sickhost.test"])
async def test_what_dns_does_not_say_waits(domain: str) -> None:
    failure = await targets(f"mx:{domain}")
    assert isinstance(failure, Failure)
    assert not failure.permanent
    assert str(failure.reply).startswith("451 4.4.3")


async def test_a_null_mx_beside_others_names_no_host() -> None:
    assert await targets("mx:mixed.test") == ["a.test:25"]


async def test_our_own_name_cuts_the_list_at_our_preference() -> None:
    # RFC 5321 §5.1: to an equal or less preferred host would be a loop.
    assert await targets("mx:backup.test") == ["a.test:25"]


async def test_several_next_hops_stand_in_their_order() -> None:
    assert await targets("smtp://192.0.2.7:2525", "mx:two.test", "lmtp://c.test") == [
        "192.0.2.7:2525",
        "a.test:25",
        "b.test:25",
        "c.test:24",
    ]


async def test_a_next_hop_that_cannot_be_looked_up_does_not_hide_the_others() -> None:
    assert await targets("mx:sick.test", "smtp://a.test") == ["a.test:25"]


@pytest.mark.parametrize(("domain", "host"), [("[192.0.2.5]", "192.0.2.5"), ("[IPv6:2001:db8::1]", "2001:db8::1")])
async def test_address_literals_are_their_own_hosts(domain: str, host: str) -> None:
    route = route_of(DomainPolicy(name="default"), domain)
    found = await router().targets(route.hops)
    assert found == (Target(scheme="smtp", host=host, port=25, tls="may"),)


def test_the_key_names_the_hops_and_fills_in_the_domain() -> None:
    hop = parse_next_hop("mx:?tls=verify", Path("/"))
    fixed = parse_next_hop("smtp://a.test", Path("/"))
    assert route_of(DomainPolicy(name="x"), "b.test").key == "mx:b.test"
    assert route_of(DomainPolicy(name="x", next_hop=(fixed, hop)), "b.test").key == (
        "smtp://a.test:25 mx:b.test?tls=verify"
    )


def test_the_bare_postmaster_goes_where_contact_says(tmp_path: Path) -> None:
    snapshot = write_config(tmp_path, ["smtp://a.test"], '[contact]\npostmaster = "admin@ours.test"\n')
    path, _ = parse_forward_path(b"<postmaster>", smtputf8=False)
    assert policy_of(snapshot, path.mailbox).name == "ours"
    assert policy_of(snapshot, replace(path.mailbox, domain="foreign.test")) is snapshot.policies.default
