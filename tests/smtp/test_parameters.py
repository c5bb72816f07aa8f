"""Parameters of MAIL and RCPT: lost ones break notifications, forged ones inject into them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp import replies
from gateway.smtp.address import NULL_REVERSE_PATH
from gateway.smtp.limits import MAX_COMMAND_LINE_OCTETS
from gateway.smtp.parameters import (
    MailParameters,
    ParameterError,
    RcptParameters,
    decode_xtext,
    encode_xtext,
    parse_mail,
    parse_mail_parameters,
    parse_rcpt_parameters,
)
from gateway.smtp.path import AddressError


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b"", MailParameters()),
        (b"   ", MailParameters()),
        (b" SIZE=500000", MailParameters(size=500000)),
        (b" size=0", MailParameters(size=0)),
        (b" SIZE=99999999999999999999", MailParameters(size=99999999999999999999)),
        (b" BODY=8BITMIME SIZE=1", MailParameters(size=1, body="8BITMIME")),
        (b" body=7bit", MailParameters(body="7BIT")),
        (b" SMTPUTF8", MailParameters(smtputf8=True)),
        # RFC 3461 §10.1, the example session
        (b" RET=HDRS ENVID=QQ314159", MailParameters(ret="HDRS", envid="QQ314159")),
        (b"  ret=full  envid=abc+2Bd ", MailParameters(ret="FULL", envid="abc+2Bd")),
        (b" ENVID=MixedCase+3D", MailParameters(envid="MixedCase+3D")),
        (b" AUTH=<>", MailParameters()),
        (b" AUTH=e+3Dmc2@example.com SIZE=2", MailParameters(size=2)),
    ],
)
def test_mail_parameters_are_kept_verbatim(rest, expected):
    assert parse_mail_parameters(rest) == expected


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (b"", RcptParameters()),
        # RFC 3461 §10.1
        (
            b" NOTIFY=SUCCESS ORCPT=rfc822;Alice@Example.COM",
            RcptParameters(notify=frozenset(["SUCCESS"]), orcpt="rfc822;Alice@Example.COM"),
        ),
        (b" notify=failure,Delay", RcptParameters(notify=frozenset(["FAILURE", "DELAY"]))),
        (b" NOTIFY=NEVER", RcptParameters(notify=frozenset(["NEVER"]))),
        (b" ORCPT=rfc822;Bob+2B1@Example.com", RcptParameters(orcpt="rfc822;Bob+2B1@Example.com")),
        (b" ORCPT=utf-8;\\x{4F8B}@example.com", RcptParameters(orcpt="utf-8;\\x{4F8B}@example.com")),
        (b" ORCPT=rfc822;" + b"a" * 493, RcptParameters(orcpt="rfc822;" + "a" * 493)),
    ],
)
def test_rcpt_parameters_are_kept_verbatim(rest, expected):
    assert parse_rcpt_parameters(rest) == expected


@pytest.mark.parametrize(
    "rest",
    [
        b" SIZE",
        b" SIZE=",
        b" SIZE=-1",
        b" SIZE=+1",
        b" SIZE=1.5",
        b" SIZE=1k",
        b" SIZE=0x10",
        b" SIZE=1 SIZE=1",
        b" SIZE=1 size=2",
        b" SIZE=100000000000000000000",
        b" BODY",
        b" BODY=",
        b" BODY=9BIT",
        b" SMTPUTF8=",
        b" SMTPUTF8=1",
        b" RET",
        b" RET=",
        b" RET=ALL",
        b" RET=FULL,HDRS",
        b" ENVID",
        b" ENVID=",
        b" ENVID=" + b"a" * 101,
        b" ENVID=a=b",
        b" ENVID=a+b",
        b" ENVID=a+2",
        b" ENVID=a+2b",
        b" ENVID=+0A",
        b" ENVID=+0D+0A",
        b" ENVID=+00",
        b" ENVID=+7F",
        b" ENVID=+80",
        b" ENVID=+FF",
        b" AUTH",
        b" AUTH=",
        b" AUTH=a+zz",
        b" AUTH=" + b"a" * 501,
        b" =",
        b" =1",
        b" -A=1",
        b" SIZE=1\x00",
        b" SIZE=1\tBODY=7BIT",
        b" \xff",
        b" ENVID=\xc3\xa9",
    ],
)
def test_bad_mail_parameters_get_501_5_5_4(rest):
    with pytest.raises(ParameterError) as refused:
        parse_mail_parameters(rest)
    assert (refused.value.reply.code, str(refused.value.reply.status)) == (501, "5.5.4")


@pytest.mark.parametrize(
    "rest",
    [
        b" NOTIFY",
        b" NOTIFY=",
        b" NOTIFY=,",
        b" NOTIFY=SUCCESS,",
        b" NOTIFY=NEVER,SUCCESS",
        b" NOTIFY=ALWAYS",
        b" NOTIFY=NEVER NOTIFY=NEVER",
        b" ORCPT",
        b" ORCPT=",
        b" ORCPT=a@b.example",
        b" ORCPT=;a@b.example",
        b" ORCPT=rfc822;a+0Ab",
        b" ORCPT=rfc822;a+0D+0ASubject:x",
        b" ORCPT=rfc822;a+2",
        b" ORCPT=rf(c;a",
        b" ORCPT=a;b;c=d",
        b" ORCPT=rfc822;" + b"a" * 494,
        b" ORCPT=rfc822;a ORCPT=rfc822;a",
        b" ORCPT=rfc822;\x80",
    ],
)
def test_bad_rcpt_parameters_get_501_5_5_4(rest):
    with pytest.raises(ParameterError) as refused:
        parse_rcpt_parameters(rest)
    assert (refused.value.reply.code, str(refused.value.reply.status)) == (501, "5.5.4")


@pytest.mark.parametrize(
    ("parse", "rest"),
    [
        (parse_mail_parameters, b" NOTIFY=NEVER"),
        (parse_mail_parameters, b" REQUIRETLS"),
        (parse_mail_parameters, b" SI ZE=1"),
        (parse_mail_parameters, b" X-FOO=bar"),
        (parse_mail_parameters, b" HOLDFOR=99"),
        (parse_mail_parameters, b" BODY=BINARYMIME"),
        (parse_rcpt_parameters, b" SIZE=1"),
        (parse_rcpt_parameters, b" SMTPUTF8"),
        (parse_rcpt_parameters, b" RRVS=2014-04-03T23:01:00Z"),
    ],
)
def test_what_is_not_offered_gets_555_5_5_4(parse, rest):
    with pytest.raises(ParameterError) as refused:
        parse(rest)
    assert (refused.value.reply.code, str(refused.value.reply.status)) == (555, "5.5.4")


def test_smtputf8_behind_the_path_allows_the_path():
    path, parameters = parse_mail("<用户@例子.中国> SMTPUTF8 SIZE=1".encode())
    assert path.key == "用户@xn--fsqu00a.xn--fiqs8s"
    assert parameters.smtputf8
    assert parse_mail(b"<> SIZE=1") == (NULL_REVERSE_PATH, MailParameters(size=1))
    for text in ("<用户@例子.中国>", "<user@例子.中国> SIZE=1"):
        with pytest.raises(AddressError) as refused:
            parse_mail(text.encode())
        assert refused.value.reply == replies.SENDER_NON_ASCII


@pytest.mark.parametrize(
    ("plain", "encoded"),
    [
        ("", ""),
        ("Alice@Example.COM", "Alice@Example.COM"),
        # RFC 3461 §4: "+" and "=" must be encoded, space too
        ("a+b=c d", "a+2Bb+3Dc+20d"),
        ("\\", "\\"),
        ("~}", "~}"),
    ],
)
def test_xtext_of_the_rfc(plain, encoded):
    assert encode_xtext(plain) == encoded
    assert decode_xtext(encoded) == plain


@given(st.text(alphabet=st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60))
def test_printable_text_survives_xtext(text):
    assert decode_xtext(encode_xtext(text)) == text


@given(st.text(max_size=60))
def test_encoded_text_is_always_xtext(text):
    assert re.fullmatch(r"(?:[\x21-\x2a\x2c-\x3c\x3e-\x7e]|\+[0-9A-F]{2})*", encode_xtext(text))


@pytest.mark.parametrize("text", ["+", "+2", "+2g", "+2b", "+0A", "+7F", "a b", "a=b", "é", "\x00"])
def test_what_is_no_printable_xtext_is_refused(text):
    with pytest.raises(ParameterError):
        decode_xtext(text)


WORDS = st.lists(
    st.sampled_from(
        [
            b"SIZE",
            b"BODY",
            b"SMTPUTF8",
            b"RET",
            b"ENVID",
            b"AUTH",
            b"NOTIFY",
            b"ORCPT",
            b"=",
            b" ",
            b"  ",
            b"1",
            b"+",
            b"+2B",
            b"8BITMIME",
            b"BINARYMIME",
            b"HDRS",
            b"NEVER",
            b",",
            b"SUCCESS",
            b"rfc822;",
            b"<>",
            b"\x00",
            b"\xff",
            b"\r\n",
            b"-",
        ],
    ),
    max_size=20,
).map(b"".join)


@given(st.one_of(WORDS, st.binary(max_size=MAX_COMMAND_LINE_OCTETS)))
def test_nothing_but_parameter_error_ever_leaves_the_parser(rest):
    for parse in (parse_mail_parameters, parse_rcpt_parameters):
        try:
            parsed = parse(rest)
        except ParameterError:
            continue
        text = (getattr(parsed, "envid", None) or "") + (getattr(parsed, "orcpt", None) or "")
        assert text.isprintable()
        assert text.isascii()
