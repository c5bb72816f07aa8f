"""DMARC: a table of cases from RFC 9989, each with its section. Zone below, then what is asked, then what is right."""

from ipaddress import IPv4Address

import pytest

from gateway.dns.zone import ZoneResolver
from gateway.senderauth.dkim.verify import DkimResult
from gateway.senderauth.dmarc.author import Author
from gateway.senderauth.dmarc.evaluate import check_dmarc
from gateway.senderauth.lookups import SharedLookups
from gateway.senderauth.spf.result import SpfQuestion, SpfResult
from gateway.senderauth.word import Word

ZONE = """
_dmarc.example.com TXT "v=DMARC1; p=reject; rua=mailto:d@example.com"
example.com A 192.0.2.1
mail.example.com A 192.0.2.1
news.example.com A 192.0.2.1
foo.example.com A 192.0.2.1
_dmarc.example.net TXT "v=DMARC1; p=none"

_dmarc.strict.example TXT "v=DMARC1; p=reject; adkim=s; aspf=s"
_dmarc.half.example TXT "v=DMARC1; p=reject; adkim=s"
_dmarc.quarantine.example TXT "v=DMARC1; p=quarantine; sp=none; np=reject"
sub.quarantine.example A 192.0.2.1
_dmarc.nonp.example TXT "v=DMARC1; p=none; sp=quarantine"
_dmarc.testing.example TXT "v=DMARC1; p=reject; t=y"
_dmarc.testingq.example TXT "v=DMARC1; p=quarantine; t=y"
_dmarc.testingn.example TXT "v=DMARC1; p=none; t=y"
_dmarc.testing-np.example TXT "v=DMARC1; p=none; np=reject; t=y"

_dmarc.org.example TXT "v=DMARC1; p=reject"
_dmarc.mail.org.example TXT "v=DMARC1; p=none"
_dmarc.dept.org.example TXT "v=DMARC1; p=quarantine; psd=n"
a.dept.org.example A 192.0.2.1

_dmarc.bank TXT "v=DMARC1; p=reject; sp=quarantine; np=reject; psd=y"
one.bank A 192.0.2.1
mail.one.bank A 192.0.2.1
two.bank A 192.0.2.1
_dmarc.two.bank TXT "v=DMARC1; p=none"
sub.two.bank A 192.0.2.1

_dmarc.two-records.example TXT "v=DMARC1; p=reject"
_dmarc.two-records.example TXT "v=DMARC1; p=none"
_dmarc.one-of-two.example TXT "v=DMARC1; p=reject"
_dmarc.one-of-two.example TXT "v=spf1 -all"
_dmarc.late-version.example TXT "p=reject; v=DMARC1"
_dmarc.other-version.example TXT "v=DMARC2; p=reject"
_dmarc.small-version.example TXT "v=dmarc1; p=reject"
_dmarc.no-p.example TXT "v=DMARC1"
_dmarc.no-p-rua.example TXT "v=DMARC1; rua=mailto:d@no-p-rua.example"
_dmarc.bad-p.example TXT "v=DMARC1; p=perhaps"
_dmarc.bad-p-rua.example TXT "v=DMARC1; p=perhaps; rua=mailto:d@bad-p-rua.example"
_dmarc.bad-sp.example TXT "v=DMARC1; p=reject; sp=perhaps"
_dmarc.bad-sp-rua.example TXT "v=DMARC1; p=reject; sp=perhaps; rua=mailto:d@bad-sp-rua.example"
_dmarc.bad-rua.example TXT "v=DMARC1; rua=ftp://x.example"
_dmarc.unknown-tag.example TXT "v=DMARC1; p=reject; zz=1; pct=0"
_dmarc.bad-adkim.example TXT "v=DMARC1; p=reject; adkim=x"
_dmarc.spaces.example TXT "v = DMARC1 ;  p = reject ; adkim = s ;"
_dmarc.capitals.example TXT "v=DMARC1; P=Reject; ADKIM=S"
_dmarc.joined.example TXT "v=DMARC1; p=re" "ject"
_dmarc.fails.example * !SERVFAIL
_dmarc.above-fails.example * !SERVFAIL
_dmarc.np-fails.example TXT "v=DMARC1; p=none; np=reject"
x.np-fails.example * !SERVFAIL
_dmarc.org-fails.example TXT "v=DMARC1; p=reject"
_dmarc.sub.org-fails.example * !SERVFAIL
_dmarc.xn--fsqu00a.xn--fiqs8s TXT "v=DMARC1; p=reject"

_dmarc.deep.example TXT "v=DMARC1; p=reject"
_dmarc.c.d.e.f.g.apex.example TXT "v=DMARC1; p=quarantine"
_dmarc.b.c.d.e.f.g.apex.example TXT "v=DMARC1; p=none; psd=n"
_dmarc.apex.example TXT "v=DMARC1; p=reject"
"""


def dkim(domain: str, word: str = "pass") -> DkimResult:
    return DkimResult(result=Word(word), reason="as given", domain=domain)


def spf(domain: str, word: str = "pass") -> SpfResult:
    question = SpfQuestion(client=IPv4Address("192.0.2.1"), helo="h.example")
    return SpfResult(
        result=Word(word),
        reason="as given",
        identity="mailfrom",
        domain=domain,
        sender=f"a@{domain}",
        question=question,
    )


# Section, author's domain, identifiers that pass (d: DKIM, s: SPF; a word behind "=" instead of pass), result, policy.
TABLE = [
    # Alignment: §4.4, table 1
    ("4.4", "news.example.com", "d:foo.example.com", "pass", "reject"),
    ("4.4", "news.example.com", "d:news.example.com", "pass", "reject"),
    ("4.4", "news.example.com", "d:foo.example.net", "fail", "reject"),
    ("4.4", "example.com", "d:EXAMPLE.com", "pass", "reject"),
    ("4.4", "example.com", "d:mail.example.com", "pass", "reject"),
    ("4.4", "mail.example.com", "d:example.com", "pass", "reject"),
    ("4.4", "example.com", "d:notexample.com", "fail", "reject"),
    ("4.4", "example.com", "d:com", "fail", "reject"),
    ("4.4", "example.com", "d:example.com.evil.example", "fail", "reject"),
    ("4.4.1", "example.com", "d:evil.example d:example.com", "pass", "reject"),
    ("4.4.1", "example.com", "d:example.com=fail", "fail", "reject"),
    ("4.4.1", "example.com", "d:example.com=permerror", "fail", "reject"),
    ("4.4.1", "example.com", "d:example.com=policy", "fail", "reject"),
    ("4.4.1", "example.com", "d:example.com=neutral", "fail", "reject"),
    ("4.4.2", "example.com", "s:example.com", "pass", "reject"),
    ("4.4.2", "example.com", "s:bounce.example.com", "pass", "reject"),
    ("4.4.2", "example.com", "s:esp.example", "fail", "reject"),
    ("4.4.2", "example.com", "s:example.com=softfail", "fail", "reject"),
    ("4.4.2", "example.com", "s:example.com=neutral", "fail", "reject"),
    ("4.4.2", "example.com", "s:example.com=none", "fail", "reject"),
    ("4.4.2", "example.com", "s:esp.example d:example.com", "pass", "reject"),
    ("4.7 adkim", "strict.example", "d:strict.example", "pass", "reject"),
    ("4.7 adkim", "strict.example", "d:mail.strict.example", "fail", "reject"),
    ("4.7 aspf", "strict.example", "s:mail.strict.example", "fail", "reject"),
    ("4.7 aspf", "strict.example", "s:strict.example", "pass", "reject"),
    ("4.7 aspf", "half.example", "s:mail.half.example", "pass", "reject"),
    ("4.7 adkim", "half.example", "d:mail.half.example", "fail", "reject"),
    ("4.7 adkim", "bad-adkim.example", "d:mail.bad-adkim.example", "pass", "reject"),
    # Policies: §4.7, §4.10.1
    ("4.10.1", "nothing.example", "d:nothing.example", "none", "none"),
    ("4.10.1", "example.com", "", "fail", "reject"),
    ("4.10.1", "mail.example.com", "", "fail", "reject"),
    ("4.7 p", "quarantine.example", "", "fail", "quarantine"),
    ("4.7 sp", "sub.quarantine.example", "", "fail", "none"),
    ("4.7 np", "gone.quarantine.example", "", "fail", "reject"),
    ("4.7 np", "deeper.gone.quarantine.example", "", "fail", "reject"),
    ("4.7 np", "gone.nonp.example", "", "fail", "quarantine"),
    ("4.7 np", "gone.example.com", "", "fail", "reject"),
    ("4.7 t", "testing.example", "", "fail", "quarantine"),
    ("4.7 t", "testingq.example", "", "fail", "none"),
    ("4.7 t", "testingn.example", "", "fail", "none"),
    ("4.7 t", "gone.testing-np.example", "", "fail", "quarantine"),
    ("4.10.1", "no-p.example", "", "none", "none"),
    ("4.10.1", "no-p-rua.example", "", "fail", "none"),
    ("4.10.1", "bad-p.example", "", "none", "none"),
    ("4.10.1", "bad-p-rua.example", "", "fail", "none"),
    ("4.10.1", "bad-sp.example", "", "none", "none"),
    ("4.10.1", "bad-sp-rua.example", "", "fail", "none"),
    ("4.10.1", "bad-rua.example", "", "none", "none"),
    # Records: §4.7 v, §4.8, §4.10 step 2
    ("4.10 step 2", "two-records.example", "", "none", "none"),
    ("4.10 step 2", "one-of-two.example", "", "fail", "reject"),
    ("4.7 v", "late-version.example", "", "none", "none"),
    ("4.7 v", "other-version.example", "", "none", "none"),
    ("4.7 v", "small-version.example", "", "none", "none"),
    ("4.8", "unknown-tag.example", "", "fail", "reject"),
    ("4.8", "spaces.example", "d:x.spaces.example", "fail", "reject"),
    ("4.8", "capitals.example", "d:x.capitals.example", "fail", "reject"),
    ("4.5", "joined.example", "", "fail", "reject"),
    # Tree walk and psd: §4.10, §4.10.2
    ("4.10.2 (3)", "mail.org.example", "d:other.org.example", "pass", "none"),
    ("4.10.1", "x.mail.org.example", "", "fail", "reject"),
    ("4.10.2 (1)", "dept.org.example", "d:org.example", "fail", "quarantine"),
    ("4.10.2 (1)", "a.dept.org.example", "d:b.dept.org.example", "pass", "quarantine"),
    ("4.10.2 (1)", "org.example", "d:dept.org.example", "fail", "reject"),
    ("4.10.2 (2)", "one.bank", "d:mail.one.bank", "pass", "quarantine"),
    ("4.10.2 (2)", "one.bank", "d:two.bank", "fail", "quarantine"),
    ("4.10.1 PSD", "mail.one.bank", "", "fail", "quarantine"),
    ("4.10.1 PSD np", "gone.bank", "", "fail", "reject"),
    ("4.10.1 note", "two.bank", "", "fail", "none"),
    ("4.10.1 note", "sub.two.bank", "", "fail", "none"),
    ("4.10.2 (2)", "bank", "d:bank", "pass", "reject"),
    ("4.10.2 (2)", "bank", "d:one.bank", "fail", "reject"),
    ("5.1.8", "mail.a.b.c.d.e.f.g.apex.example", "", "fail", "reject"),
    ("4.10", "a.b.c.d.e.f.g.h.i.deep.example", "d:deep.example", "pass", "reject"),
    ("5.3.1", "xn--fsqu00a.xn--fiqs8s", "d:例子.中国", "pass", "reject"),
    # DNS that does not answer: §4.10.1, §5.3.6
    ("5.3.6", "fails.example", "d:fails.example", "temperror", "none"),
    ("5.3.6", "x.above-fails.example", "", "temperror", "none"),
    ("5.3.6", "x.np-fails.example", "", "temperror", "none"),
    ("5.3.6", "example.com", "d:example.com=temperror", "temperror", "reject"),
    ("5.3.6", "example.com", "s:mail.example.com=temperror", "temperror", "reject"),
    ("5.3.6", "example.com", "s:example.com=temperror d:example.com", "pass", "reject"),
    ("5.3.6", "example.com", "d:esp.example=temperror", "fail", "reject"),
    ("5.3.6", "org-fails.example", "d:sub.org-fails.example", "temperror", "reject"),
    ("5.3.6", "org-fails.example", "d:sub.org-fails.example d:org-fails.example", "pass", "reject"),
]


@pytest.mark.parametrize(
    ("section", "author", "identifiers", "word", "policy"),
    TABLE,
    ids=[f"{n}-{case[0]}-{case[1]}".replace(" ", "-") for n, case in enumerate(TABLE)],
)
async def test_case(section, author, identifiers, word, policy):
    given = [pair.partition(":") for pair in identifiers.split()]
    split = [(kind, *(domain.split("=") if "=" in domain else (domain, "pass"))) for kind, _, domain in given]
    signatures = [dkim(domain, result) for kind, domain, result in split if kind == "d"]
    path = next((spf(domain, result) for kind, domain, result in split if kind == "s"), None)
    result = await check_dmarc(SharedLookups(ZoneResolver(ZONE)), Author(domain=author), path, signatures)
    assert (result.result, result.policy) == (word, policy), f"RFC 9989 §{section}: {result.reason}"


def test_the_table_has_sixty_cases():
    assert len(TABLE) >= 60
