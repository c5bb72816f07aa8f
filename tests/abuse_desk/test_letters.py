"""The letter of a suspended sender says what happened as it was, also where nothing was seen before.

What breaks if these fail: a customer is asked to put a seal to a sentence that is not true, or makes no sense.
"""

import re

import pytest

from gateway.abuse.guarantee import Customer, Provider, letter
from gateway.incidents import IncidentReader, Sighting, Source, SourceKind
from gateway.incidents.suspensions import begin_suspension, suspensions_of
from tests.abuse_desk.conftest import MONDAY, Desk

ANNA = Source(SourceKind.ACCOUNT, "anna@ours.test")
TRACE = "01KAQ6WQ00000000000000000X"
# What is said of a suspension at 10:00 in Shanghai, after spam at 08:00 and 09:00, at 08:00 only, and after none.
SAID = {
    (
        "en",
        2,
    ): "Between 2026-11-23 08:00 and 2026-11-23 09:00 our sender anna@ours.test sent spam (incident 1, see part 2),"
    " and on 2026-11-23 10:00 you suspended it. We have found the cause",
    (
        "en",
        1,
    ): "On 2026-11-23 08:00 our sender anna@ours.test sent spam (incident 1, see part 2), and on 2026-11-23 10:00"
    " you suspended it. We have found the cause",
    ("en", 0): "On 2026-11-23 10:00 you suspended our sender anna@ours.test for the reason that part 2 states"
    " (incident 1). No spam from it is on your record. We have found the cause",
    ("zh", 2): "因我单位 anna@ours.test 于 2026年11月23日 08:00 至 2026年11月23日 09:00 期间发送垃圾邮件",
    ("zh", 1): "因我单位 anna@ours.test 于 2026年11月23日 08:00 发送垃圾邮件",
    ("zh", 0): "贵方已于 2026年11月23日 10:00 因第二部分所列原因暂停我单位 anna@ours.test 的发信服务（事件 1）",
}


@pytest.mark.parametrize(("language", "sightings"), SAID)
def test_a_letter_tells_the_case_as_it_was(desk, language: str, sightings: int):
    case: Desk = desk()
    with case.book.change("li", "account suspend") as change:
        seen = [Sighting(trace_id=TRACE, at=MONDAY - 3600.0 * hours, source=ANNA) for hours in (2, 1)][:sightings]
        if seen:
            change.fold(seen)
        begin_suspension(change, change.open(ANNA, "by hand").id, ANNA, how="hand", reason="told by telephone")
    with IncidentReader(case.data) as reader:
        incident, suspension = reader.incident(1), suspensions_of(reader.rows, 1)[0]
    text = letter(incident, suspension, language, provider=Provider(name="Ours"), customer=Customer())
    assert SAID[language, sightings] in re.sub(r"\s+", " ", text)
    none = {"zh": "无记录", "en": "none on record"}[language]
    assert text.count(none) == (0 if sightings else 2)
    assert "told by telephone" in text
    assert "$" not in text
