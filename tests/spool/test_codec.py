"""Every message that can be stored comes back equal."""

import string

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import FakeClock, Stamp
from gateway.mail.content import Content
from gateway.mail.envelope import Envelope, Recipient
from gateway.mail.rendition import Edit, Rendition
from gateway.smtp.address import NULL_REVERSE_PATH, ForwardPath, Mailbox, ReversePath
from gateway.smtp.path import AddressError, parse_forward_path
from gateway.spool import codec
from gateway.spool.message import Attempt, MessageStamps, Origin, RecipientState, SpoolMessage, SpoolRecipient
from gateway.spool.schema import MESSAGE_COLUMNS, RECIPIENT_COLUMNS

CLOCK = FakeClock()
seconds = st.floats(min_value=0, max_value=2e9, allow_nan=False)
# Surrogates are escaped on the way in (tested in test_custody).
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
atoms = st.text(string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~", min_size=1, max_size=12)
quoted = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), min_size=1, max_size=12)
domains = st.sampled_from(
    ["example.com", "EXAMPLE.com", "xn--fsqu00a.xn--fiqs8s", "例子.中国", "[192.0.2.1]", "[IPv6:2001:db8::1]"]
)
wires = st.one_of(
    st.builds("{}@{}".format, atoms, domains),
    st.builds("{}.{}@{}".format, atoms, st.text("äßЖ中İ", min_size=1, max_size=4), domains),
    st.builds('"{}"@{}'.format, quoted, domains),
    st.builds('"a\\"{}"@{}'.format, quoted, domains),
    st.sampled_from(["postmaster", "Postmaster", '"a@b"@example.com']),
)


def parsed(wire: str) -> ForwardPath | None:
    try:
        return parse_forward_path(f"<{wire}>".encode(), smtputf8=True)[0]
    except AddressError:
        return None


paths = wires.map(parsed).filter(lambda path: path is not None)
stamps = st.builds(Stamp, seconds, seconds)
message_stamps = st.builds(
    MessageStamps,
    connected=stamps,
    enveloped=stamps,
    received=stamps,
    filtered=stamps,
    durable=stamps,
    filter_seconds=st.lists(st.tuples(st.text(string.ascii_lowercase + "-", min_size=1), seconds)).map(tuple),
    antivirus_seconds=seconds,
)
edits = st.builds(Edit, st.integers(0, 2**40), st.integers(0, 2**40), st.binary(max_size=50))
renditions = st.lists(st.builds(Rendition, st.lists(edits, max_size=3).map(tuple)), min_size=1, max_size=3).map(tuple)
attempts = st.builds(
    Attempt,
    at=seconds,
    next_hop=text,
    relay=text,
    phase=text,
    reply=text,
    status=text,
    seconds=seconds,
    own_fault=st.booleans(),
    due=seconds,
)
notify = st.none() | st.frozensets(st.sampled_from(["SUCCESS", "FAILURE", "DELAY"])) | st.just(frozenset({"NEVER"}))
copies = st.builds(
    SpoolRecipient,
    number=st.integers(0, 1000),
    recipient=st.builds(Recipient, path=paths, notify=notify, orcpt=st.none() | text),
    route=text,
    customer=text,
    state=st.sampled_from(RecipientState),
    rendition=st.integers(0, 5),
    action=text,
    score=st.floats(allow_nan=False, allow_infinity=False),
    reason=text,
    due=seconds,
    attempts=st.lists(attempts, max_size=3).map(tuple),
    delay_noticed=st.booleans(),
    held_since=seconds,
    held_seconds=seconds,
    greylisted_seconds=seconds,
)
envelopes = st.builds(
    Envelope,
    reverse_path=st.just(NULL_REVERSE_PATH) | paths.map(lambda path: ReversePath(path.mailbox)),
    body=st.sampled_from([None, "7BIT", "8BITMIME"]),
    smtputf8=st.booleans(),
    declared_octets=st.none() | st.integers(0, 2**62),
    ret=st.sampled_from([None, "FULL", "HDRS"]),
    envid=st.none() | text,
)
messages = st.builds(
    SpoolMessage,
    trace_id=st.just("01J00000000000000000000000"),
    origin=st.sampled_from(Origin),
    envelope=envelopes,
    recipients=st.lists(copies, max_size=3).map(tuple),
    stamps=message_stamps,
    content=st.none(),
    octets=st.integers(0, 2**62),
    renditions=renditions,
    client=text,
    helo=text,
    role=text,
    message_id=text,
    hostile=st.booleans(),
    shard=st.just("0"),
)


@settings(max_examples=150)
@given(messages)
def test_a_message_survives_its_rows(message):
    row = codec.message_row(message, message.stamps.durable, CLOCK.boot_id, b"", filed=False)
    copies = [codec.recipient_row(message.trace_id, copy) for copy in message.recipients]
    assert len(row) == len(MESSAGE_COLUMNS)
    assert all(len(copy) == len(RECIPIENT_COLUMNS) for copy in copies)
    back = codec.decode_message(row, [codec.decode_recipient(copy) for copy in copies], None, "0", CLOCK)
    assert back == message


def test_ordinary_mail_stores_its_address_once():
    assert codec.encode_mailbox(Mailbox("user", "example.com", "user@example.com")) == (
        "user@example.com",
        None,
        None,
    )


def test_stamps_of_an_earlier_boot_are_placed_by_the_wall_clock():
    """The monotonic clock starts anew at boot; a delay across a reboot must not become nonsense."""
    then = Stamp(CLOCK.stamp().utc - 60, 5_000_000.0)
    stamps = MessageStamps(connected=then, enveloped=then, received=then, filtered=then)
    message = SpoolMessage(
        trace_id="t",
        origin=Origin.SMTP,
        envelope=Envelope(),
        recipients=(),
        stamps=stamps,
        content=Content(b""),
        octets=0,
    )
    row = codec.message_row(message, then, "another boot", b"", filed=False)
    back = codec.decode_message(row, [], None, "0", CLOCK)
    assert back.stamps.received.until(CLOCK.stamp()) == 60
