"""Mail to an abuse address is heard from everybody, never lost for being spam, and copied for the desk that reads it.

What breaks if these fail: whoever is blocked cannot complain, complaints are refused for the spam they enclose, or the
desk never sees them.
"""

import pytest

from gateway.clock import Stamp
from gateway.config.abuse_desk import DESK_DOMAIN
from gateway.spool.message import RecipientState
from tests.pipeline.conftest import HOSTNAME, MAIN, Bench, from_, transaction

ABUSE = '[contact]\nabuse = "abuse@ours.test"\n'
RETURN = f"report+0123456789abcdef0123@{HOSTNAME}"
SPAM = b"From: a@sender.test\r\nSubject: cheap pills\r\nMessage-ID: <1@sender.test>\r\n\r\nBuy.\r\n"
POLICY = {
    "ours": """
domains = ["ours.test", "other.test"]
next_hop = "smtp://192.0.2.25"
[[rule]]
name = "pills"
when = { subject = { contains = ["cheap pills"] } }
action = "reject"
ground = "advertising"
[[rule]]
name = "score"
when = { body = { contains = ["Buy"] } }
score = 50
[[rule]]
name = "loop"
when = { header.X-Loop = { contains = ["us"] } }
action = "reject"
"""
}


@pytest.fixture
def desk(bench) -> Bench:
    return bench(POLICY, main=MAIN + ABUSE)


async def entry(desk: Bench, content: bytes, *recipients: str, **given):
    tx = transaction(content, *recipients, **given)
    verdict = await desk.gate.judge_content(tx)
    return verdict, None if verdict.reply else desk.gate.entry(tx, verdict, Stamp(5.0, 5.0))


async def test_spam_is_refused_for_anybody_but_the_abuse_address(desk):
    refused, _ = await entry(desk, SPAM, "anna@ours.test")
    assert str(refused.reply).startswith("550 5.7.1")
    taken, message = await entry(desk, SPAM, "abuse@ours.test")
    assert taken.reply is None
    [disposition] = taken.dispositions
    assert disposition.action.word == "accept"
    assert disposition.score >= 50.0
    assert message.recipients[0].state is RecipientState.QUEUED
    # What was found stands in the headers all the same.
    fields = b"".join(edit.replacement for edit in message.renditions[0].edits)
    assert b"X-Spam" in fields


async def test_what_is_wrong_with_the_mail_itself_is_refused_for_the_abuse_address_too(desk):
    refused, _ = await entry(desk, b"X-Loop: us\r\n" + SPAM, "abuse@ours.test")
    assert str(refused.reply).startswith("550 5.7.1")
    assert "loop" in str(refused.reply)


async def test_the_desk_gets_a_copy_of_the_same_entry_beside_the_mailbox(desk):
    _, message = await entry(desk, SPAM, "abuse@ours.test")
    mailbox, copy = message.recipients
    assert mailbox.recipient.path.wire == "abuse@ours.test"
    assert mailbox.route == "smtp://192.0.2.25:25"
    assert copy.recipient.path.wire == f"abuse=ours.test@{DESK_DOMAIN}"
    assert copy.route.startswith("maildir:")
    assert copy.route.endswith("/complaints")
    # Nobody is notified of it, and it counts for no customer.
    assert (copy.recipient.notify, copy.customer, copy.state) == (frozenset({"NEVER"}), "", RecipientState.QUEUED)
    assert copy.rendition == mailbox.rendition
    assert [each.number for each in message.recipients] == [0, 1]


async def test_one_copy_is_enough_and_other_mail_has_none(desk):
    _, message = await entry(desk, b"Subject: hello\r\n\r\nHello.\r\n", "abuse@ours.test", "anna@ours.test")
    assert [each.recipient.path.domain for each in message.recipients] == ["ours.test", "ours.test", DESK_DOMAIN]
    _, message = await entry(desk, b"Subject: hello\r\n\r\nHello.\r\n", "abuse@other.test")
    assert len(message.recipients) == 1


async def test_the_configured_addresses_take_the_contacts_place(bench):
    main = MAIN + ABUSE + '[complaints]\naddresses = ["spam@other.test"]\n'
    desk = bench(POLICY, main=main)
    _, message = await entry(desk, b"Subject: hello\r\n\r\nHello.\r\n", "spam@other.test")
    assert len(message.recipients) == 2
    _, message = await entry(desk, b"Subject: hello\r\n\r\nHello.\r\n", "abuse@ours.test")
    assert len(message.recipients) == 1


async def test_what_comes_back_to_a_report_is_the_desks_alone(desk):
    assert (await desk.rcpt(RETURN, envelope=from_("a@sender.test"))).startswith("250")
    _, message = await entry(desk, b"Subject: failed\r\n\r\nNo.\r\n", RETURN)
    [copy] = message.recipients
    assert copy.recipient.path.domain == DESK_DOMAIN
    assert copy.recipient.path.wire == RETURN
    assert copy.route.endswith("/complaints")


@pytest.mark.parametrize(
    "address",
    [
        f"abuse=ours.test@{DESK_DOMAIN}",
        f"report@{DESK_DOMAIN}",
        f"anna@{HOSTNAME}",
        f"report@{HOSTNAME}",
        f"report+invoices@{HOSTNAME}",
    ],
)
async def test_the_desks_mailboxes_are_nobodys_to_name(desk, address):
    assert (await desk.rcpt(address)).startswith("550 5.7.1")


async def test_an_abuse_mailbox_that_is_not_there_is_still_unknown(bench):
    """Whether it exists is asked: a complaint that nobody could read must not be taken."""
    policy = {"ours": POLICY["ours"].replace("[[rule", 'recipients = "callout"\n[[rule', 1)}
    desk = bench(policy, main=MAIN + ABUSE, known={"anna@ours.test": "exists"})
    assert (await desk.rcpt("abuse@ours.test")).startswith("550 5.1.1")


async def test_a_complaint_may_quote_a_link_that_is_refused_in_other_mail(bench):
    policy = 'domains = ["ours.test"]\nnext_hop = "smtp://192.0.2.25"\n[filters.uribl]\non = { listed = "reject" }\n'
    policy += 'lists = [{ zone = "links.test", score = 5.0 }]\n'
    desk = bench({"ours": policy}, main=MAIN + ABUSE, dns="bad.example.links.test A 127.0.0.2")
    spam = b"From: a@sender.test\r\nSubject: spam from you\r\n\r\nIt says: http://bad.example/buy\r\n"
    refused, _ = await entry(desk, spam, "anna@ours.test")
    assert str(refused.reply).startswith("550")
    taken, message = await entry(desk, spam, "abuse@ours.test")
    assert taken.reply is None
    assert message.recipients[0].state is RecipientState.QUEUED


async def test_a_detail_of_somebodys_mailbox_is_no_return_address(bench):
    """Where the host name is a mail domain too, ``report+invoices`` is a customer's."""
    desk = bench({"ours": POLICY["ours"].replace('"ours.test",', f'"ours.test", "{HOSTNAME}",')}, main=MAIN + ABUSE)
    _, message = await entry(desk, b"Subject: hello\r\n\r\nHello.\r\n", f"report+invoices@{HOSTNAME}")
    [copy] = message.recipients
    assert (copy.recipient.path.domain, copy.route) == (HOSTNAME, "smtp://192.0.2.25:25")
