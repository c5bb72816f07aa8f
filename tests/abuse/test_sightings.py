"""What becomes of a verdict on the record: it is to be found by what its reader saw, and no mail takes long to read."""

from gateway.abuse.verdicts import grounds_of, spam_recipients


class Counted(str):
    """An address that counts how often one was compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_spam_in_chinese_is_found_by_its_subjects_words_however_they_were_encoded(world):
    """Nearly all of it has encoded-words (RFC 2047): a search for 发票 would find none."""
    world.spam(1, subject="=?utf-8?b?5Luj5byA5Y+R56Wo?= 2026")
    world.spam(1, "198.51.100.8", subject="=?gb18030?b?tPq/qreix7E=?=")
    world.spam(1, "198.51.100.9", subject="lone \udc80 surrogate, plain")
    with world.reader() as reader:
        assert [found.incident for found in reader.search("发票", 10)] == [1]
        assert [found.incident for found in reader.search("代开", 10)] == [2, 1]
        assert reader.sightings(1, 1)[0].sighting.subject == "代开发票 2026"


def test_a_thousand_recipients_are_not_compared_with_a_thousand_grounds(world):
    """A campaign of such mails kept the keeper for a tenth of a second each, and blocks came late."""
    names = [f"user{place}@box.test" for place in range(1000)]
    sent = world.mail(
        dispositions=tuple((Counted(name), "reject", 20.0, "rule", "rule cheap") for name in names),
        grounds=tuple((Counted(name), "advertising") for name in names),
    )
    Counted.compared = 0
    assert spam_recipients(sent, "") == tuple(names)
    assert grounds_of(sent, tuple(map(Counted, names)), "") == ("advertising",)
    assert Counted.compared < 10 * len(names)
