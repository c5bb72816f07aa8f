"""The letter of a suspended sender says what happened as it was, also where nothing was seen before.

What breaks if these fail: a customer is asked to put a seal to a sentence that is not true, or makes no sense.
"""

import re

import pytest

from gateway.abuse.guarantee import LANGUAGES, Customer, Provider, letter
from gateway.abuse.reporting.contacts import RDAP, TABLE, ZONE
from gateway.abuse.terms import grounds_in, moment_in, origin_in
from gateway.incidents import IncidentReader, Sighting, Source, SourceKind
from gateway.incidents.suspensions import begin_suspension, suspensions_of
from gateway.incidents.values import GROUNDS
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


AUTOMATIC = {
    "zh": "系统监测到异常发信后自动暂停，记录为：3 verdicts",
    "en": "suspended by the system, on record as: 3 verdicts",
}


@pytest.mark.parametrize("language", AUTOMATIC)
def test_what_a_machine_wrote_down_is_not_given_as_the_providers_own_words(desk, language: str):
    case: Desk = desk()
    with case.book.change("keeper", "suspend") as change:
        begin_suspension(change, change.open(ANNA, "spam").id, ANNA, how="automatic", reason="3 verdicts")
    with IncidentReader(case.data) as reader:
        incident, suspension = reader.incident(1), suspensions_of(reader.rows, 1)[0]
    text = letter(incident, suspension, language, provider=Provider(name="Ours"), customer=Customer())
    assert AUTOMATIC[language] in text


@pytest.mark.parametrize(
    ("language", "zone", "told"),
    [
        ("zh", "Asia/Shanghai", "2026年11月23日 10:00（北京时间）"),
        ("zh", "Europe/Berlin", "2026年11月23日 03:00（Europe/Berlin）"),
        ("en", "Asia/Shanghai", "2026-11-23 10:00 (Asia/Shanghai)"),
    ],
)
def test_a_complainant_is_told_times_as_their_language_has_them(language: str, zone: str, told: str):
    assert moment_in(language, MONDAY, zone) == told


def test_every_ground_and_every_origin_of_a_contact_has_its_words_in_both_languages():
    for language in LANGUAGES:
        assert all(grounds_in(language, (ground,)) for ground in GROUNDS)
        assert all(origin_in(language, origin) for origin in (TABLE, ZONE, RDAP))
