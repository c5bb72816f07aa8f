"""Who may send to whom. A hole here is an open relay, and the operator's addresses are on every list within hours."""

import pytest

from gateway.mail.connection import Role

TWO = {
    "first": 'domains = ["ours.test", "例子.中国"]\nnext_hop = "smtp://192.0.2.25"\n',
    "second": 'domains = ["second.test"]\nnext_hop = "smtp://192.0.2.26"\n',
}
DENIED = "550 5.7.1 relaying denied"
UNSAFE = "553 5.1.3 mailbox name not allowed"

# The forms that relay testers try (RFC 5321 §3.6.1 and appendix C; the old ORDB and abuse.net tests).
OPEN_RELAY = [
    "victim@elsewhere.test",
    "victim%elsewhere.test@ours.test",
    "victim%elsewhere.test@mx.ours.test",
    "victim%elsewhere.test@[192.0.2.1]",
    '"victim@elsewhere.test"@ours.test',
    '"victim%elsewhere.test"@ours.test',
    '"victim@elsewhere.test"@[192.0.2.1]',
    '"victim@elsewhere.test"@mx.ours.test',
    "elsewhere.test!victim@ours.test",
    "elsewhere.test!victim@mx.ours.test",
    "ours.test!elsewhere.test!victim@ours.test",
    '"elsewhere.test!victim"@ours.test',
    "victim%elsewhere.test%ours.test@ours.test",
    "victim@ours.test.elsewhere.test",
    "victim@elsewhere.test.ours.test",
    "victim@[192.0.2.99]",
    "victim@[127.0.0.1]",
    "victim@[IPv6:2001:db8::1]",
    "victim@sub.ours.test",
    "victim@ourstest",
    "victim@ours.tests",
    "victim@xours.test",
    "victim@0urs.test",
    "victim@оurs.test",  # a Cyrillic o
    "victim@xn--urs-hed.test",
    "victim@localhost",
    "postmaster@elsewhere.test",
    "postmaster@sub.ours.test",
    "postmaster%elsewhere.test@ours.test",
]
ROUTED = [
    "@ours.test:victim@elsewhere.test",
    "@mx.ours.test,@elsewhere.test:victim@elsewhere.test",
    "@elsewhere.test:bob@ours.test",
    "@elsewhere.test:postmaster@ours.test",
]


@pytest.mark.parametrize("address", OPEN_RELAY)
@pytest.mark.parametrize("role", [Role.MX, Role.RELAY, Role.SUBMISSION])
async def test_a_stranger_relays_in_no_form(bench, address, role):
    assert await bench(TWO).rcpt(address, role=role) == DENIED


@pytest.mark.parametrize("address", ROUTED)
@pytest.mark.parametrize("trusted", [True, False])
async def test_source_routes_are_refused(bench, address, trusted):
    reply = await bench(TWO).rcpt(address, role=Role.RELAY, trusted=trusted)
    assert reply == "550 5.7.1 source routes are not accepted"


@pytest.mark.parametrize(
    "address",
    [
        "|/bin/sh@ours.test",
        "-froot@ours.test",
        "`id`@ours.test",
        "bob|cat@ours.test",
        '"../../etc/passwd"@ours.test',
        "/etc/passwd@ours.test",
        "bob/root@ours.test",
        "~root@ours.test",
        "${run{id}}@ours.test",
        '"$(id)"@ours.test',
        '"bob;id"@ours.test',
        '"bob\\\\cat"@ours.test',
        '"bob<x"@ours.test',
        '">x"@ours.test',
        '"\\"bob\\""@ours.test',
    ],
)
@pytest.mark.parametrize("facts", [{"role": Role.MX}, {"role": Role.RELAY, "trusted": True}])
async def test_local_parts_that_a_shell_or_a_path_would_read_are_refused(bench, address, facts):
    assert await bench(TWO).rcpt(address, **facts) == UNSAFE


@pytest.mark.parametrize(
    "address",
    [
        "bob@ours.test",
        "BOB@OURS.TEST",
        "bob+detail@ours.test",
        "o'brien@ours.test",
        "r&d@ours.test",
        "a.b-c_d=e@ours.test",
        '"john doe"@ours.test',
        "50$@ours.test",
        "{x}@ours.test",
        "张三@例子.中国",
        "bob@xn--fsqu00a.xn--fiqs8s",
        "bob@second.test",
    ],
)
async def test_mail_for_our_domains_is_taken(bench, address):
    assert await bench(TWO).rcpt(address) == "250 2.1.5 recipient ok"


async def test_trusted_networks_relay_to_anywhere_but_not_through_our_own_domains(bench):
    gate = bench(TWO)
    facts = {"role": Role.RELAY, "trusted": True}
    for address in ("victim@elsewhere.test", "a%b@elsewhere.test", "victim@[192.0.2.99]", "bob@ours.test"):
        assert await gate.rcpt(address, **facts) == "250 2.1.5 recipient ok"
    assert await gate.rcpt("victim%elsewhere.test@ours.test", **facts) == DENIED


async def test_trust_means_nothing_on_an_mx_listener(bench):
    assert await bench(TWO).rcpt("victim@elsewhere.test", trusted=True) == DENIED


async def test_strangers_do_not_use_the_relay_listener_even_for_our_domains(bench):
    gate = bench(TWO)
    assert await gate.rcpt("bob@ours.test", role=Role.RELAY) == DENIED
    assert await gate.rcpt("postmaster@ours.test", role=Role.RELAY) == "250 2.1.5 recipient ok"


# The postmaster (RFC 5321 §4.5.1) -------------------------------------------------------------------------------------

CLOSED = {
    "ours": 'domains = ["ours.test"]\nnext_hop = "smtp://192.0.2.25"\nrecipients = "callout"\n'
    '[filters.helo]\non = { bare-ip = "reject" }\n'
}


@pytest.mark.parametrize("address", ["postmaster", "Postmaster", "POSTMASTER@ours.test", "postmaster@OURS.test"])
async def test_the_postmaster_is_always_accepted(bench, address):
    gate = bench(CLOSED)
    assert await gate.rcpt(address, helo="198.51.100.7") == "250 2.1.5 recipient ok"
    assert gate.verifier.asked == []


async def test_the_bare_postmaster_is_unknown_while_nobody_is_there_to_read_it(bench):
    assert await bench({}).rcpt("postmaster") == "550 5.1.1 user unknown"


# Null reverse-path (RFC 5321 §4.5.5) ----------------------------------------------------------------------------------


async def test_a_null_reverse_path_takes_one_recipient(bench, tools):
    gate = bench(TWO)
    null = tools.from_("")
    assert await gate.rcpt("bob@ours.test", envelope=null) == "250 2.1.5 recipient ok"
    refused = await gate.rcpt("ann@ours.test", envelope=null, accepted=(tools.to("bob@ours.test"),))
    assert refused == "452 4.5.3 a null reverse-path takes one recipient in a transaction"
    # An unknown domain is refused for good, not put off.
    assert await gate.rcpt("x@elsewhere.test", envelope=null, accepted=(tools.to("bob@ours.test"),)) == DENIED


# Recipient checks -----------------------------------------------------------------------------------------------------


async def test_callout_says_what_the_next_hop_says(bench):
    known = {"bob@ours.test": "exists", "tom@ours.test": "undetermined", "bug@ours.test": RuntimeError("boom")}
    gate = bench(CLOSED, known=known)
    assert await gate.rcpt("bob@ours.test") == "250 2.1.5 recipient ok"
    assert await gate.rcpt("eve@ours.test") == "550 5.1.1 user unknown"
    # Invariant 8: unknown is never clean, and never a refusal for good either.
    assert (await gate.rcpt("tom@ours.test")).startswith("450 4.1.1 ")
    assert (await gate.rcpt("bug@ours.test")).startswith("450 4.1.1 ")
    assert [event.kind for event in gate.events.events] == ["internal_error"]


async def test_a_list_knows_addresses_and_whole_domains(bench, tmp_path):
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "people.txt").write_text("Bob@ours.test\n@second.test\n", encoding="utf-8")
    gate = bench(
        {
            "ours": 'domains = ["ours.test", "second.test"]\nnext_hop = "smtp://192.0.2.25"\n'
            'recipients = "list:people.txt"\n'
        }
    )
    assert await gate.rcpt("bob@OURS.test") == "250 2.1.5 recipient ok"
    assert await gate.rcpt("anyone@second.test") == "250 2.1.5 recipient ok"
    assert await gate.rcpt("eve@ours.test") == "550 5.1.1 user unknown"


async def test_foreign_recipients_are_not_asked_about(bench):
    gate = bench(CLOSED)
    assert await gate.rcpt("x@elsewhere.test", role=Role.RELAY, trusted=True) == "250 2.1.5 recipient ok"
    assert gate.verifier.asked == []
