"""SPF beside its suite: identities, limits at their edges, what a result carries, and the field that tells it."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dns.zone import ZoneResolver
from gateway.senderauth.spf.evaluate import MAX_EXPLANATION, check_helo, check_mail_from
from gateway.senderauth.spf.received import received_spf
from gateway.senderauth.spf.record import RecordFault, parse_record
from gateway.senderauth.spf.result import SpfQuestion
from gateway.smtp.address import NULL_REVERSE_PATH, Mailbox, ReversePath
from tests.senderauth.material import TextZone

QUESTION = SpfQuestion(client=ip_address("192.0.2.1"), helo="mail.example", receiver="mx.ours.example")


def path(address: str) -> ReversePath:
    local, _, domain = address.rpartition("@")
    return ReversePath(Mailbox(local, domain, address))


async def check(zone: str, address: str = "a@example.test", question: SpfQuestion = QUESTION):
    return await check_mail_from(ZoneResolver(zone), question, path(address))


async def test_the_null_reverse_path_is_postmaster_at_helo():
    zone = ZoneResolver("mail.example TXT v=spf1 ip4:192.0.2.1 -all")
    result = await check_mail_from(zone, QUESTION, NULL_REVERSE_PATH)
    assert (result.result, result.identity, result.domain, result.sender) == (
        "pass",
        "mailfrom",
        "mail.example",
        "postmaster@mail.example",
    )
    assert (await check_helo(zone, QUESTION)).identity == "helo"


@pytest.mark.parametrize("helo", ["", "localhost", "[192.0.2.1]", "-.example", "a" * 300, "\x00", "192.0.2.1"])
async def test_a_helo_that_is_no_domain_is_none(helo):
    zone = ZoneResolver("")
    question = SpfQuestion(client=QUESTION.client, helo=helo)
    assert (await check_helo(zone, question)).result == "none"
    assert zone.asked == []


async def test_ten_terms_ask_and_the_eleventh_ends_it():
    terms = " ".join(f"exists:n{n}.found.test" for n in range(10))
    found = "*.found.test A 127.0.0.2"
    ten = terms.replace("exists:", "a:")
    assert (await check(f"example.test TXT v=spf1 {ten} -all\n{found}")).result == "fail"
    assert (await check(f"example.test TXT v=spf1 {ten} a:x.found.test -all\n{found}")).result == "permerror"
    # What does not ask does not count (RFC 7208 §4.6.4).
    ranges = " ".join(f"ip4:198.51.100.{n}" for n in range(200))
    assert (await check(f"example.test TXT v=spf1 {ten} {ranges} -all\n{found}")).result == "fail"


async def test_two_void_questions_and_the_third_ends_it():
    assert (await check("example.test TXT v=spf1 a:n1.test a:n2.test -all")).result == "fail"
    assert (await check("example.test TXT v=spf1 a:n1.test a:n2.test a:n3.test -all")).result == "permerror"


async def test_ten_mx_names_and_the_eleventh_ends_it():
    hosts = [f"example.test MX 10 h{n}.test\nh{n}.test A 198.51.100.{n}" for n in range(11)]
    record = "example.test TXT v=spf1 mx -all\n"
    assert (await check(record + "\n".join(hosts[:10]))).result == "fail"
    assert (await check(record + "\n".join(hosts))).result == "permerror"


async def test_loops_end():
    assert (await check("example.test TXT v=spf1 include:example.test -all")).result == "permerror"
    assert (await check("example.test TXT v=spf1 redirect=example.test")).result == "permerror"


@pytest.mark.parametrize(
    "zone",
    [
        "example.test * !SERVFAIL",
        "example.test TXT v=spf1 a:b.test -all\nb.test * !TIMEOUT",
        "example.test TXT v=spf1 mx -all\nexample.test MX !REFUSED",
        "example.test TXT v=spf1 include:b.test -all\nb.test * !TIMEOUT",
        "example.test TXT v=spf1 redirect=b.test\nb.test * !TIMEOUT",
        "example.test TXT v=spf1 exists:b.test -all\nb.test * !TIMEOUT",
    ],
)
async def test_dns_that_does_not_answer_is_temperror(zone):
    result = await check(zone)
    assert result.result == "temperror"
    assert any(word in result.reason for word in ("SERVFAIL", "TIMEOUT", "REFUSED"))


async def test_an_ipv4_mapped_client_is_ipv4():
    question = SpfQuestion(client=ip_address("::ffff:192.0.2.1"), helo="h.test")
    assert (await check("example.test TXT v=spf1 ip4:192.0.2.1 -all", question=question)).result == "pass"


async def test_an_explanation_is_bounded_and_printable():
    async def explained(text: str) -> str:
        zone = TextZone({"example.test": "v=spf1 exp=why.test -all", "why.test": text})
        return (await check_mail_from(zone, QUESTION, path("a@example.test"))).explanation

    told = await explained("See http://why.test/%{i}?s=%{S}")
    assert told == "See http://why.test/192.0.2.1?s=a%40example.test"
    assert len(await explained("x" * 2000)) == MAX_EXPLANATION
    assert [await explained(text) for text in ("two\r\nlines", "gr\u00fcn", "%{bad}", "%{l", "")] == [""] * 5


async def test_what_matched_is_told():
    result = await check("example.test TXT v=spf1 ip4:198.51.100.0/24 ~ip4:192.0.2.0/24 -all")
    assert (result.result, result.mechanism) == ("softfail", "~ip4:192.0.2.0/24")
    assert (await check("example.test TXT v=spf1 ip4:198.51.100.0/24")).mechanism == "default"


async def test_the_received_spf_field():
    result = await check("example.test TXT v=spf1 ip4:192.0.2.1 -all")
    field = received_spf(result).decode()
    unfolded = " ".join(field.split())
    assert unfolded == (
        "Received-SPF: pass (mx.ours.example: domain of a@example.test designates 192.0.2.1 as permitted sender) "
        'client-ip=192.0.2.1; envelope-from="a@example.test"; helo="mail.example"; receiver=mx.ours.example; '
        'identity=mailfrom; mechanism="ip4:192.0.2.1";'
    )
    assert all(len(line) <= 78 for line in field.split("\r\n"))


async def test_nothing_from_outside_breaks_out_of_the_field():
    question = SpfQuestion(client=QUESTION.client, helo='x" (\r\nEvil: yes', receiver="mx.ours.example")
    result = await check("", address='a"\r\nEvil: yes)@example.test', question=question)
    field = received_spf(result)
    assert b"\nEvil" not in field
    assert field.count(b"\r\n") == field.count(b"\n")
    assert field.isascii()


@given(st.text(max_size=120))
def test_any_record_parses_or_tells_why(text):
    assert parse_record("v=spf1 " + text) is not None


PIECES = """a mx ptr all include: exists: ip4: ip6: redirect= exp= %{ } i d r / // 32 129 - ~ ? . x.test 192.0.2.1 ::1
    %% %_ 0 99999999999"""


@given(
    st.lists(
        st.sampled_from([*PIECES.split(), " "]),
        max_size=25,
    )
)
async def test_any_mechanisms_end_in_a_word(parts):
    record = "".join(parts)
    result = await check(f'example.test TXT "v=spf1 {record}"\nx.test A 192.0.2.1')
    assert result.result in {"pass", "fail", "softfail", "neutral", "permerror"}


def test_a_fault_names_the_term():
    assert parse_record("v=spf1 foo:bar -all") == RecordFault("'foo:bar': no such mechanism")
    assert parse_record("v=spf1 a:b.test exp=x.test exp=y.test") == RecordFault("more than one exp=")
