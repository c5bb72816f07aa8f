"""Look-ups over all lists: every identity, allow lists first, each answer with its list, entry, reason and times. If
these fail, a partner's mail is refused, or a spammer exempts himself by mentioning a name on an allow list.
"""

from ipaddress import ip_address

import pytest

from gateway.blocklist.listing import Identity, Listing, ListKind
from gateway.blocklist.local.question import (
    ask_address,
    ask_anything,
    ask_digest,
    ask_mailbox,
    ask_name,
    ask_url,
)
from gateway.policy.action import Action

DIGEST = "ab" * 32


def two_lists(place, block: str, allow: str = "", extra: str = "") -> None:
    place.declare(
        f'[[list]]\nname = "bad"\nfile = "bad.txt"\n{extra}[[list]]\nname = "good"\nfile = "good.txt"\nkind = "allow"\n'
    )
    place.write("bad.txt", block)
    place.write("good.txt", allow or "# none\n")
    place.update()


@pytest.mark.parametrize(
    ("entry", "question", "shown"),
    [
        ("192.0.2.0/24", ask_address(Identity.CLIENT, ip_address("192.0.2.7")), "192.0.2.0/24"),
        ("2001:db8::/32", ask_address(Identity.CLIENT, ip_address("2001:db8::7")), "2001:db8::/32"),
        (".dyn.example", ask_name(Identity.CLIENT_NAME, "host7.dyn.example"), ".dyn.example"),
        ("ylmf-pc", ask_name(Identity.HELO, "ylmf-pc"), "ylmf-pc"),
        ("192.0.2.7", ask_name(Identity.HELO, "[192.0.2.7]"), "192.0.2.7"),
        ("2001:db8::7", ask_name(Identity.HELO, "[IPv6:2001:db8::7]"), "2001:db8::7"),
        ("anna@bad.example", ask_mailbox(Identity.REVERSE_PATH, "anna@bad.example"), "anna@bad.example"),
        ("@bad.example", ask_mailbox(Identity.REVERSE_PATH, "bert@bad.example"), "@bad.example"),
        ("@.bad.example", ask_mailbox(Identity.REPLY_TO, "bert@mail.bad.example"), "@.bad.example"),
        ("*.bad.example", ask_mailbox(Identity.AUTHOR, "bert@mail.bad.example"), "*.bad.example"),
        ("bad.example", ask_mailbox(Identity.RECIPIENT, "bert@bad.example"), "bad.example"),
        (
            "https://bad.example/pay?x=1",
            ask_url(Identity.URL, "http://BAD.example/pay?x=1#frag"),
            "bad.example/pay?x=1",
        ),
        (".bad.example", ask_url(Identity.URL, "https://www.bad.example:8443/"), ".bad.example"),
        ("192.0.2.7", ask_url(Identity.URL, "http://192.0.2.7/x"), "192.0.2.7"),
        ("2001:db8::7", ask_url(Identity.URL, "http://[2001:db8::7]/x"), "2001:db8::7"),
        ("ns.bad.example", ask_name(Identity.NAME_SERVER, "NS.bad.example."), "ns.bad.example"),
        (DIGEST.upper(), ask_digest(Identity.ATTACHMENT, DIGEST), DIGEST),
        (".例子.中国", ask_name(Identity.HELO, "mail.例子.中国"), ".xn--fsqu00a.xn--fiqs8s"),
    ],
)
def test_every_identity_finds_its_entry(place, entry: str, question, shown: str):
    # Recipients and name servers are looked up in lists that say so.
    two_lists(place, f"{entry} # why\n", extra=f'identities = ["{question.of}"]\n')
    (found,) = place.lists.look_up([question], place.now).listings
    assert (found.list, found.entry, found.reason, found.of) == ("bad", shown, "why", question.of)


@pytest.mark.parametrize(
    ("entry", "identity"),
    [
        ("bad.example", "mail.bad.example"),
        ("*.bad.example", "bad.example"),
        ("@bad.example", "anna@mail.bad.example"),
        ("https://bad.example/pay", "https://bad.example/other"),
        ("192.0.2.0/25", "192.0.2.200"),
        ("bad.example", "notbad.example"),
    ],
)
def test_an_entry_says_nothing_about_its_neighbours(place, entry: str, identity: str):
    two_lists(place, f"{entry}\n")
    assert place.entries(identity) == []


@pytest.mark.parametrize("text", ["", "a b", "..", "[nothing]", "http://", "x" * 300])
def test_what_is_no_identity_is_no_question(text: str):
    assert ask_anything(text) is None


def test_a_listing_says_list_entry_reason_since_until_and_what_the_list_wishes(place):
    place.declare(
        '[[list]]\nname = "bad"\nfile = "bad.csv"\naction = "quarantine"\nreason = "by default"\n'
        'expires = "2027-12-31"\n'
    )
    place.write("bad.csv", "ip,since,until,reason\n192.0.2.7,2026-01-01,2026-12-31,phish\n192.0.2.8,,,\n")
    place.update()
    (first,) = place.ask("192.0.2.7").listings
    assert first == Listing(
        list="bad",
        entry="192.0.2.7",
        reason="phish",
        since=1_767_225_600.0,
        until=1_798_761_600.0,
        kind=ListKind.BLOCK,
        action=Action.QUARANTINE,
        identity="192.0.2.7",
    )
    (second,) = place.ask("192.0.2.8").listings
    # Where the entry says nothing the list does: since it serves, until it ends.
    assert (second.reason, second.since, second.until) == ("by default", place.now, 1_830_297_600.0)


def test_a_reason_names_the_identity_where_the_zone_has_a_dollar_sign(place):
    place.declare('[[list]]\nname = "zone"\nfile = "zone"\nformat = "mixed"\n')
    place.write("zone", ":2:see https://bl.example/?$\n192.0.2.0/24\n.bad.example\n")
    place.update()
    assert place.ask("192.0.2.7").listings[0].reason == "see https://bl.example/?192.0.2.7"
    assert place.ask("a.bad.example").listings[0].reason == "see https://bl.example/?bad.example"
    assert place.ask("192.0.2.7").listings[0].value == "127.0.0.2"


# Allow lists ----------------------------------------------------------------------------------------------------------

CLIENT = ask_address(Identity.CLIENT, ip_address("192.0.2.7"))
URL = ask_url(Identity.URL, "https://bad.example/x")


def test_an_allowed_client_wins_over_every_block_list(place):
    two_lists(place, "192.0.2.0/24\n.bad.example\n", "192.0.2.7\n")
    answer = place.lists.look_up([CLIENT, URL], place.now)
    assert answer.message_allowed is not None
    assert answer.message_allowed.list == "good"
    assert answer.blocked == ()
    assert len(answer.listings) == 3


def test_an_allowed_url_speaks_for_itself_only(place):
    two_lists(place, "192.0.2.0/24\n.bad.example\n", ".bad.example\n")
    answer = place.lists.look_up([CLIENT, URL], place.now)
    assert answer.message_allowed is None
    assert [each.entry for each in answer.blocked] == ["192.0.2.0/24"]


@pytest.mark.parametrize("identity", [Identity.NAME_SERVER, Identity.RECIPIENT])
def test_a_list_that_names_no_identities_is_not_asked_about_name_servers_and_recipients(place, identity: Identity):
    two_lists(place, ".bad.example\n")
    assert not place.lists.wants(identity)
    assert place.lists.wants(Identity.CLIENT)
    assert not place.lists.look_up([ask_name(identity, "ns.bad.example")], place.now).listings
    assert place.lists.anywhere(ask_name(identity, "ns.bad.example"), place.now).listings


def test_lists_without_entries_want_nothing(place):
    two_lists(place, "# none\n")
    assert place.lists.is_empty
    two_lists(place, "192.0.2.7\n")
    assert not place.lists.is_empty


@pytest.mark.parametrize("identity", [Identity.HELO, Identity.URL, Identity.REPLY_TO])
def test_a_name_that_the_sender_chose_exempts_nothing_else(place, identity: Identity):
    two_lists(place, "192.0.2.0/24\n", ".partner.example\n")
    chosen = ask_name(identity, "mail.partner.example")
    assert len(place.lists.look_up([CLIENT, chosen], place.now).blocked) == 1


def test_a_list_is_asked_only_about_its_identities(place):
    two_lists(place, ".bad.example\n", extra='identities = ["url", "helo"]\n')
    assert place.lists.look_up([URL], place.now).blocked
    assert not place.lists.look_up([ask_mailbox(Identity.REVERSE_PATH, "a@bad.example")], place.now).blocked


def test_a_list_that_has_ended_says_nothing(place):
    two_lists(place, "192.0.2.7\n", extra='expires = "2026-11-20"\n')
    assert place.entries("192.0.2.7")
    place.clock.advance(2 * 86_400)
    assert not place.entries("192.0.2.7")
