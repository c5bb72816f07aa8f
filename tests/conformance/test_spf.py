"""The SPF conformance suite, every case: what other servers say about a domain's mail, we say."""

from ipaddress import ip_address

import pytest

from gateway.senderauth.spf.evaluate import check_helo, check_mail_from
from gateway.senderauth.spf.result import SpfQuestion
from gateway.smtp.address import NULL_REVERSE_PATH, Mailbox, ReversePath
from tests.senderauth.material import SuiteZone, cases

SUITE = cases("spf/rfc7208-tests.yml")


def path_of(mailfrom: str) -> ReversePath:
    """Return the path as intake hands it over, except that the suite's malformed domains pass."""
    if not mailfrom:
        return NULL_REVERSE_PATH
    local, at, domain = mailfrom.rpartition("@")
    return ReversePath(Mailbox(local if at else "", domain, mailfrom))


@pytest.mark.parametrize(("scenario", "case"), SUITE)
async def test_case(scenario, case):
    zone = SuiteZone(scenario["zonedata"])
    question = SpfQuestion(client=ip_address(case["host"]), helo=case["helo"])
    if case["mailfrom"]:
        result = await check_mail_from(zone, question, path_of(case["mailfrom"]))
    else:
        result = await check_helo(zone, question)
    allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
    assert result.result in allowed, result.reason
    if "explanation" in case:
        assert (result.explanation or "DEFAULT") == case["explanation"]


@pytest.mark.skipif(len(SUITE) < 2, reason="the suite is not there")
def test_the_suite_is_whole():
    assert len(SUITE) == 203
