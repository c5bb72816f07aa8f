"""What becomes of a verdict on the record: it is to be found by what its reader saw."""


def test_spam_in_chinese_is_found_by_its_subjects_words_however_they_were_encoded(world):
    """Nearly all of it has encoded-words (RFC 2047): a search for 发票 would find none."""
    world.spam(1, subject="=?utf-8?b?5Luj5byA5Y+R56Wo?= 2026")
    world.spam(1, "198.51.100.8", subject="=?gb18030?b?tPq/qreix7E=?=")
    world.spam(1, "198.51.100.9", subject="lone \udc80 surrogate, plain")
    with world.reader() as reader:
        assert [found.incident for found in reader.search("发票", 10)] == [1]
        assert [found.incident for found in reader.search("代开", 10)] == [2, 1]
        assert reader.sightings(1, 1)[0].sighting.subject == "代开发票 2026"
