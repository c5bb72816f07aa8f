"""Paths (RFC 5321 §4.1.2, RFC 6531 §3.3): a wrong parse relays for strangers, loses mail or injects commands."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.smtp import replies
from gateway.smtp.address import NULL_REVERSE_PATH, Mailbox
from gateway.smtp.path import AddressError, parse_forward_path, parse_reverse_path

# text · local part · domain · what is passed on
GOOD = [
    # RFC 5321 appendix D
    (b"<Smith@bar.com>", "Smith", "bar.com", "Smith@bar.com"),
    (b"<JQP@bar.com>", "JQP", "bar.com", "JQP@bar.com"),
    (b"<Jones@XYZ.COM>", "Jones", "xyz.com", "Jones@XYZ.COM"),
    (b"<userx@y.foo.org>", "userx", "y.foo.org", "userx@y.foo.org"),
    # RFC 3696 §3, as corrected by its erratum
    (b'<"Abc\\@def"@example.com>', "Abc@def", "example.com", '"Abc\\@def"@example.com'),
    (b'<"Fred Bloggs"@example.com>', "Fred Bloggs", "example.com", '"Fred Bloggs"@example.com'),
    (b'<"Joe.\\\\Blow"@example.com>', "Joe.\\Blow", "example.com", '"Joe.\\\\Blow"@example.com'),
    (b'<"Abc@def"@example.com>', "Abc@def", "example.com", '"Abc@def"@example.com'),
    (b"<customer/department=shipping@example.com>", "customer/department=shipping", "example.com", None),
    (b"<$A12345@example.com>", "$A12345", "example.com", None),
    (b"<!def!xyz%abc@example.com>", "!def!xyz%abc", "example.com", None),
    (b"<_somename@example.com>", "_somename", "example.com", None),
    (b"<user+mailbox@example.com>", "user+mailbox", "example.com", None),
    # the bracket inside quotes does not close the path
    (b'<"a>b"@example.com>', "a>b", "example.com", '"a>b"@example.com'),
    (b'<">"@example.com>', ">", "example.com", None),
    # address literals, RFC 5321 §4.1.3
    (b"<user@[192.0.2.1]>", "user", "[192.0.2.1]", None),
    (b"<user@[IPv6:2001:DB8::1]>", "user", "[IPv6:2001:db8::1]", None),
    (b"<user@[ipv6:2001:db8:0:0:0:0:0:1]>", "user", "[IPv6:2001:db8::1]", None),
    (b"<user@[IPv6:::ffff:192.0.2.1]>", "user", "[IPv6:::ffff:c000:201]", None),
    # one space after the colon, as Postfix
    (b" <user@example.com>", "user", "example.com", "user@example.com"),
    # hosts with an underscore send mail; single labels; hyphens
    (b"<root@mail_1.example.com>", "root", "mail_1.example.com", None),
    (b"<root@localhost>", "root", "localhost", None),
    (b"<a@x--y.example-1.com>", "a", "x--y.example-1.com", None),
    (b"<a@1.2.3.example>", "a", "1.2.3.example", None),
    (b"<a@xn--fsqu00a.xn--fiqs8s>", "a", "xn--fsqu00a.xn--fiqs8s", None),
]


@pytest.mark.parametrize(("text", "local_part", "domain", "wire"), GOOD)
def test_a_good_address_keeps_its_octets_and_compares_by_its_normal_form(text, local_part, domain, wire):
    wire = wire or text.decode()[1:-1]
    expected = Mailbox(local_part, domain, wire)
    reverse, rest = parse_reverse_path(text, smtputf8=False)
    forward, _ = parse_forward_path(text, smtputf8=False)
    assert reverse.mailbox == expected
    assert forward.mailbox == expected
    assert not forward.source_route
    assert rest == b""


def test_parameters_are_handed_on_untouched():
    _, rest = parse_reverse_path(b"<a@example.com> SIZE=1  ENVID=qQ+2B", smtputf8=False)
    assert rest == b" SIZE=1  ENVID=qQ+2B"
    _, rest = parse_forward_path(b'<"> "@example.com> NOTIFY=NEVER', smtputf8=False)
    assert rest == b" NOTIFY=NEVER"


def test_the_null_reverse_path_is_for_mail_only():
    assert parse_reverse_path(b"<>", smtputf8=False) == (NULL_REVERSE_PATH, b"")
    assert parse_reverse_path(b"<> BODY=7BIT", smtputf8=False) == (NULL_REVERSE_PATH, b" BODY=7BIT")
    with pytest.raises(AddressError) as refused:
        parse_forward_path(b"<>", smtputf8=False)
    assert refused.value.reply == replies.BAD_RECIPIENT_SYNTAX


@pytest.mark.parametrize("name", ["postmaster", "Postmaster", "POSTMASTER"])
def test_bare_postmaster_is_a_recipient_in_any_case(name):
    path, _ = parse_forward_path(f"<{name}>".encode(), smtputf8=False)
    assert path.mailbox == Mailbox(name, "", name)
    assert path.key == "postmaster"
    with pytest.raises(AddressError):
        parse_reverse_path(f"<{name}>".encode(), smtputf8=False)


@pytest.mark.parametrize("route", ["@relay.example", "@a.example,@b.example", "@hosta.int,@jkl.org"])
def test_a_source_route_is_removed_and_told(route):
    text = f"<{route}:userc@d.bar.org>".encode()
    path, _ = parse_forward_path(text, smtputf8=False)
    assert path.source_route
    assert (path.wire, path.domain) == ("userc@d.bar.org", "d.bar.org")
    reverse, _ = parse_reverse_path(text, smtputf8=False)
    assert reverse.wire == "userc@d.bar.org"


# Each with what is wrong; S syntax, L too long, D domain.
BAD = [
    (b"", "S"),
    (b"user@example.com", "S"),
    (b"  <user@example.com>", "S"),
    (b"<user@example.com", "S"),
    (b"user@example.com>", "S"),
    (b"<<user@example.com>>", "S"),
    (b"<user@example.com>SIZE=1", "S"),
    (b"<user@example.com>\tSIZE=1", "S"),
    (b"<user>", "S"),
    (b"<@example.com>", "S"),
    (b"<user@>", "D"),
    (b"<.user@example.com>", "S"),
    (b"<user.@example.com>", "S"),
    (b"<us..er@example.com>", "S"),
    (b"<us er@example.com>", "S"),
    (b"<us(comment)er@example.com>", "S"),
    (b"<us,er@example.com>", "S"),
    (b"<us:er@example.com>", "S"),
    (b'<us"er"@example.com>', "S"),
    (b'<"user"x@example.com>', "S"),
    (b'<"user@example.com>', "S"),
    (b'<"us\\"@example.com>', "S"),
    (b'<""@example.com>', "S"),
    (b"<a@b@example.com>", "D"),
    (b"<user\x00@example.com>", "S"),
    (b"<user@exa\x00mple.com>", "S"),
    (b"<user\r@example.com>", "S"),
    (b"<user@example.com\n>", "S"),
    (b'<"us\ner"@example.com>', "S"),
    (b'<"us\\\ner"@example.com>', "S"),
    (b'<"us\x7fer"@example.com>', "S"),
    (b"<user@example.com.>", "D"),
    (b"<user@.example.com>", "D"),
    (b"<user@example..com>", "D"),
    (b"<user@-example.com>", "D"),
    (b"<user@example-.com>", "D"),
    (b"<user@exam!ple.com>", "D"),
    (b"<user@192.0.2.1>", "D"),
    (b"<user@[192.0.2.1>", "D"),
    (b"<user@[192.0.2.256]>", "D"),
    (b"<user@[192.0.2.01]>", "D"),
    (b"<user@[192.0.2]>", "D"),
    (b"<user@[]>", "D"),
    (b"<user@[2001:db8::1]>", "D"),
    (b"<user@[IPv6:2001:db8::1::2]>", "D"),
    (b"<user@[IPv6:fe80::1%eth0]>", "D"),
    (b"<user@[tag:content]>", "D"),
    (b"<user@" + b"a" * 64 + b".example>", "D"),
    (b"<" + b"a" * 129 + b"@example.com>", "L"),
    (b'<"' + b"a" * 127 + b'"@example.com>', "L"),
    (b"<a@" + b"b." * 126 + b"com>", "L"),
    (b"<@relay..example:user@example.com>", "D"),
    (b"<@relay.example:>", "S"),
    (b"<@relay.example,user@example.com>", "S"),
    (b"<user@example.com:25>", "D"),
]


@pytest.mark.parametrize(("text", "fault"), BAD)
def test_a_bad_address_gets_a_named_reply(text, fault):
    sender = {"S": replies.BAD_SENDER_SYNTAX, "L": replies.SENDER_TOO_LONG, "D": replies.BAD_SENDER_DOMAIN}
    recipient = {"S": replies.BAD_RECIPIENT_SYNTAX, "L": replies.RECIPIENT_TOO_LONG, "D": replies.BAD_RECIPIENT_DOMAIN}
    for parse, expected in ((parse_reverse_path, sender), (parse_forward_path, recipient)):
        for smtputf8 in (False, True):
            with pytest.raises(AddressError) as refused:
                parse(text, smtputf8=smtputf8)
            assert refused.value.reply.because("") == expected[fault]


def test_the_longest_address_that_rfc_5321_allows_is_taken():
    local_part = b"a" * 64
    domain = b".".join([b"b" * 63, b"c" * 63, b"d" * 61])
    text = b"<" + local_part + b"@" + domain + b">"
    assert len(text) == 256
    assert parse_reverse_path(text, smtputf8=False)[0].wire == text[1:-1].decode()
    with pytest.raises(AddressError):
        parse_reverse_path(b"<" + local_part + b"@" + domain + b"e>", smtputf8=False)


UTF8 = [
    ("用户@例子.中国", "用户", "xn--fsqu00a.xn--fiqs8s"),
    ("user@例子.中国", "user", "xn--fsqu00a.xn--fiqs8s"),
    ("user@例子。中国", "user", "xn--fsqu00a.xn--fiqs8s"),
    ("user@例子.xn--fiqs8s", "user", "xn--fsqu00a.xn--fiqs8s"),
    ("Dörte@Sörensen.example.com", "Dörte", "xn--srensen-90a.example.com"),
    ("квіточка@пошта.укр", "квіточка", "xn--80a1acn3a.xn--j1amh"),
    ('"用 户"@example.com', "用 户", "example.com"),
]


@pytest.mark.parametrize(("address", "local_part", "domain"), UTF8)
def test_a_non_ascii_address_needs_smtputf8(address, local_part, domain):
    text = f"<{address}>".encode()
    path, _ = parse_forward_path(text, smtputf8=True)
    assert path.mailbox == Mailbox(local_part, domain, address)
    for parse, reply in (
        (parse_reverse_path, replies.SENDER_NON_ASCII),
        (parse_forward_path, replies.RECIPIENT_NON_ASCII),
    ):
        with pytest.raises(AddressError) as refused:
            parse(text, smtputf8=False)
        assert refused.value.reply == reply


@pytest.mark.parametrize(
    "text",
    [
        b"<\xff@example.com>",
        b"<a\xc0\xaf@example.com>",  # overlong "/"
        b"<a\xed\xa0\x80@example.com>",  # a surrogate
        b"<a\xe4\xbe@example.com>",  # cut short
        b"<a\xf4\x90\x80\x80@example.com>",  # beyond U+10FFFF
    ],
)
@pytest.mark.parametrize("smtputf8", [False, True])
def test_invalid_utf8_is_refused_whatever_was_agreed(text, smtputf8):
    with pytest.raises(AddressError) as refused:
        parse_forward_path(text, smtputf8=smtputf8)
    assert refused.value.reply == replies.RECIPIENT_NOT_UTF8


@pytest.mark.parametrize("character", ["\x80", "\x85", "\x9f", "\u2028", "\u2029"])
def test_unicode_controls_and_line_separators_are_refused(character):
    for text in (f"<a{character}b@example.com>", f'<"a{character}b"@example.com>', f"<a@ex{character}ample.com>"):
        with pytest.raises(AddressError):
            parse_forward_path(text.encode(), smtputf8=True)


def test_the_octets_of_a_local_part_are_counted_in_utf8():
    parse_forward_path(("<" + "例" * 42 + "@example.com>").encode(), smtputf8=True)
    with pytest.raises(AddressError) as refused:
        parse_forward_path(("<" + "例" * 43 + "@example.com>").encode(), smtputf8=True)
    assert refused.value.reply.because("") == replies.RECIPIENT_TOO_LONG


NEARLY = st.lists(
    st.sampled_from(
        [
            "<",
            ">",
            "@",
            '"',
            "\\",
            ".",
            ",",
            ":",
            "[",
            "]",
            "IPv6:",
            "::",
            "1",
            "255",
            "a",
            "A",
            "example",
            "com",
            " ",
            "postmaster",
            "xn--",
            "-",
            "_",
            "\x00",
            "\r",
            "\n",
            "\t",
            "例",
            "。",
            "ß",
            "\u200d",
            "\u0301",
            "\uff05",
            "٣",
            "é",
        ],
    ),
    max_size=24,
).map(lambda parts: "".join(parts).encode())


@given(st.one_of(st.binary(max_size=400), NEARLY, NEARLY.map(lambda text: b"<" + text + b">")), st.booleans())
@example(b"<" + b"a." * 2000 + b"@" + b"b-" * 2000 + b">", True)
@example(b'<"' + b"\\" * 2001 + b"@example.com>", False)
def test_nothing_but_address_error_ever_leaves_the_parser(text, smtputf8):
    for parse in (parse_reverse_path, parse_forward_path):
        try:
            path, rest = parse(text, smtputf8=smtputf8)
        except AddressError:
            continue
        assert text.endswith(rest)
        assert not rest or rest.startswith(b" ")
        assert path.wire.isprintable() or not path.wire.isascii()
        assert smtputf8 or path.wire.isascii()
        assert "\n" not in path.wire
        assert "\r" not in path.wire


@given(NEARLY)
def test_the_quick_path_and_the_full_parser_agree(text):
    """A quoted local part takes the full parser; the same mailbox in plain and in quotes must compare equal."""
    plain = b"<" + text + b"@Example.COM>"
    quoted = b'<"' + text + b'"@Example.COM>'
    try:
        path, _ = parse_forward_path(plain, smtputf8=True)
    except AddressError:
        return
    if path.source_route or b'"' in text or b"@" in text:
        return
    assert parse_forward_path(quoted, smtputf8=True)[0].key == path.key
