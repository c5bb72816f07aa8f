"""Every format of a list, as it comes. If these fail, entries of a list in use anywhere are lost or misread."""

import gzip
import math
from ipaddress import ip_address

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.blocklist.local.collected import Collected
from gateway.blocklist.local.entry import EntryError, Keys, Span, format_span, parse_entry
from gateway.blocklist.local.fields import Fields, instant
from gateway.blocklist.local.reading import AUTO, FORMATS, Source, detect, read_source

NOW = 1_795_140_000.0


def read(text: str | bytes, name: str = "list.txt", kind: str = AUTO, fields: Fields | None = None) -> Collected:
    octets = text if isinstance(text, bytes) else text.encode()
    return read_source(Source(name=name, octets=octets, format=kind, fields=fields or Fields()), NOW)


def listed(collected: Collected) -> set[str]:
    """Return every entry as a text: ranges in their shortest form, keys as they are; ``!`` in front of exclusions."""
    found = set()
    for number, octets in collected.singles.items():
        assert not collected.notes[number].excluded
        found.update(str(ip_address(each)) for each in octets)
    for version, spans in collected.spans.items():
        for first, last, _, number in spans:
            found.add(("!" if collected.notes[number].excluded else "") + format_span(version, first, last))
    for key, (number, _) in collected.keys.items():
        found.add(("!" if collected.notes[number].excluded else "") + key)
    return found


def note(collected: Collected, reason: str):
    return next(each for each in collected.notes if each.reason == reason)


# One entry ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("192.0.2.1-192.0.2.9", "192.0.2.1-192.0.2.9"),
        ("192.0.2.0-255", "192.0.2.0/24"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:DB8::1-2001:db8::3", "2001:db8::1-2001:db8::3"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("http://192.0.2.7/", "192.0.2.7"),
    ],
)
def test_an_entry_of_addresses_is_the_range_it_says(text: str, expected: str):
    span = parse_entry(text)
    assert isinstance(span, Span)
    assert format_span(span.version, span.first, span.last) == expected


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("Example.COM.", {"d:example.com"}),
        ("*.example.com", {"w:example.com"}),
        (".example.com", {"d:example.com", "w:example.com"}),
        ("例子.中国", {"d:xn--fsqu00a.xn--fiqs8s"}),
        ("0wnd.net", {"d:0wnd.net"}),
        ("Anna@Example.com", {"a:anna@example.com"}),
        ("@example.com", {"a:@example.com"}),
        ("@.example.com", {"a:@example.com", "a:@*.example.com"}),
        ("HTTPS://user@Evil.example:443/Pay?x=1#top", {"u:evil.example/Pay?x=1"}),
        ("http://evil.example:8080/", {"u:evil.example:8080/"}),
        ("http://evil.example", {"d:evil.example"}),
        ("A" * 64, {f"s:{'a' * 64}"}),
        ("sha256:" + "0" * 64, {f"s:{'0' * 64}"}),
    ],
)
def test_an_entry_of_names_is_the_keys_it_says(text: str, keys: set[str]):
    found = parse_entry(text)
    assert isinstance(found, Keys)
    assert set(found.keys) == keys


@pytest.mark.parametrize(
    "text",
    [
        *("", "192.0.2.7/24", "192.0.2.256", "192.0.2.9-192.0.2.1", "192.0.2.0/33", "2001:db8::1/64", "1.2.3", "-"),
        *("192.0.2.1-2001:db8::1", "exa mple.com", "a..b", "-a.example", "*@example.com", "http://", "x" * 3000, "@"),
        *("192.0.2.0/255.0.255.0", "fe80::1%eth0", "١٩٢.0.2.1", "*"),
    ],
)
def test_what_is_no_entry_is_refused_with_a_reason(text: str):
    with pytest.raises(EntryError, match=r"\w"):
        parse_entry(text)


# Lines ----------------------------------------------------------------------------------------------------------------


def test_lines_have_comments_blanks_crlf_and_a_byte_order_mark():
    lines = [
        "\ufeff# head",
        "",
        "192.0.2.7",
        "192.0.2.8 # Spam",
        "192.0.2.9\t12",
        "; x",
        "//y",
        "192.0.2.10 - 192.0.2.12",
    ]
    text = "\r\n".join(lines)
    found = read(text)
    assert listed(found) == {"192.0.2.7", "192.0.2.8", "192.0.2.9", "192.0.2.10-192.0.2.12"}
    assert found.problems == []
    assert {each.reason for each in found.notes} == {"", "Spam", "12"}
    assert found.count == 4


def test_a_hosts_file_lists_its_names():
    found = read("127.0.0.1 localhost\n0.0.0.0 bad.example\n:: worse.example # x\n")
    assert listed(found) == {"d:bad.example", "d:worse.example"}
    assert found.problems == []


def test_bad_lines_are_told_with_their_place_and_the_rest_is_read():
    found = read("192.0.2.7\nthis is prose\n192.0.2.300\n192.0.2.8\n", name="feed.txt")
    assert listed(found) == {"192.0.2.7", "192.0.2.8"}
    assert [str(each)[:11] for each in found.problems] == ["feed.txt:2:", "feed.txt:3:"]
    assert found.bad_lines == 2


def test_a_wrong_file_tells_its_first_lines_only():
    found = read("<html>\n" * 1000)
    assert found.bad_lines == 1000
    assert len(found.problems) == 20


def test_an_exclamation_mark_excludes():
    assert listed(read("192.0.2.0/24\n!192.0.2.7\n! 192.0.2.8\n!.ok.example\n")) == {
        *("192.0.2.0/24", "!192.0.2.7", "!192.0.2.8", "!d:ok.example", "!w:ok.example")
    }


# CSV and JSON ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        'first_seen_utc,ip,reason,expires\n2026-01-02,192.0.2.7,"spam, much",2027-01-01\n',
        '# feed\n\nfirst_seen_utc;ip;reason;expires\n2026-01-02;192.0.2.7;"spam, much";2027-01-01\n',
        "first_seen_utc\tip\treason\texpires\n2026-01-02\t192.0.2.7\tspam, much\t2027-01-01\n",
        '"expires","reason","IP","first_seen_utc"\r\n"2027-01-01","spam, much","192.0.2.7","2026-01-02"\r\n',
        '{"ip": "192.0.2.7", "reason": "spam, much", "first_seen_utc": "2026-01-02", "expires": "2027-01-01"}\n',
        '[{"cidr": "192.0.2.7/32", "comment": "spam, much", "since": 1767312000, "until": "2027-01-01"},\n]',
    ],
)
def test_named_fields_say_entry_reason_since_and_until(text: str):
    found = read(text)
    assert found.problems == []
    assert listed(found) == {"192.0.2.7"}
    assert note(found, "spam, much").since == 1_767_312_000.0
    # A date means that day too.
    assert note(found, "spam, much").until == 1_798_848_000.0


def test_a_chinese_table_in_gb18030_is_read():
    text = "序号,IP地址,列入原因,有效期至\n1,192.0.2.7,发送垃圾邮件,2027-01-01\n"
    found = read(text.encode("gb18030"))
    assert listed(found) == {"192.0.2.7"}
    assert found.notes[0].reason == "发送垃圾邮件"


def test_declared_columns_come_before_the_usual_ones():
    fields = Fields(names=(("entry", "source_host"), ("reason", "why")))
    found = read("ip,source_host,why\n192.0.2.7,bad.example,phish\n", kind="csv", fields=fields)
    assert listed(found) == {"d:bad.example"}
    assert found.notes[0].reason == "phish"


def test_a_table_without_a_column_of_entries_is_refused_by_its_first_line():
    found = read("colour,size\nred,3\n", name="x.csv")
    assert [each.line for each in found.problems] == [1]


def test_a_quotation_mark_that_never_closes_loses_no_more_than_a_field():
    rows = "\n".join(f"192.0.2.{n % 250},x" for n in range(3000))
    found = read(f'ip,reason\n192.0.2.251,"open\n{rows}\n192.0.2.252,ok\n')
    assert found.problems
    assert "192.0.2.252" in listed(found)


def test_metadata_lines_are_no_records():
    found = read('{"cidr":"192.0.2.0/24","sblid":"SBL1"}\n{"type":"metadata","timestamp":1}\n')
    assert listed(found) == {"192.0.2.0/24"}
    assert found.problems == []
    assert found.notes[0].reason == "SBL1"


def test_what_has_expired_is_left_out_and_counted():
    found = read("ip,until\n192.0.2.7,2026-01-01\n192.0.2.8,2027-01-01\n")
    assert listed(found) == {"192.0.2.8"}
    assert found.expired == 1


@pytest.mark.parametrize("text", ["soon", "2026-13-01", "99999999999999999999", "1e400", "nan"])
def test_a_time_that_is_none_makes_a_bad_line(text: str):
    found = read(f"ip,until\n192.0.2.7,{text}\n")
    assert found.bad_lines == 1
    assert listed(found) == set()


def test_times_may_be_dates_moments_and_seconds():
    assert instant("2026-11-20T10:00+08:00") == NOW
    assert instant("2026-11-20 02:00:00") == NOW
    assert instant("1795140000") == instant("1795140000000") == NOW
    assert instant("") is None


# rbldnsd --------------------------------------------------------------------------------------------------------------


def test_an_ip4set_has_all_of_rbldnsds_ways_to_write_a_network():
    """The examples of rbldnsd(8)."""
    same = ["127.0.0.0/24", "127.0.0", "127-127.0.0".replace("127-", "127.0.0-"), "127.0.0.0-127.0.0.255"]
    for text in same:
        assert listed(read(text, kind="ip4set")) == {"127.0.0.0/24"}, text
    for text in ("127.16.0.0-127.31.255.255", "127.16.0-127.31.255", "127.16-127.31", "127.16-31", "127.16/12"):
        found = read(text, kind="ip4set")
        assert listed(found) == {"127.16.0.0/12"}, text
    assert read("127", kind="ip4set").bad_lines == 1
    assert read("1.2-1.2.3.4", kind="ip4set").bad_lines == 1


def test_values_and_templates_are_expanded_as_rbldnsd_does():
    """The examples of rbldnsd(8), "Resulting A values and TXT templates"."""
    text = """
:127.0.0.2:IP address $ is listed
127.0.0.4
127.0.0.5 :5
127.0.0.6 :6:
127.0.0.7 IP address $ running an open relay
$1 See http://www.example.com/bl
$2 for details
127.0.0.8  $1/spammer/$ $2
127.0.0.9  This spammer wants some $$$$.  $1/$
"""
    found = read(text, kind="ip4set")
    assert found.problems == []
    said = {(each.value, each.reason.replace("\0", "<ip>")) for each in found.notes}
    assert said == {
        ("127.0.0.2", "IP address <ip> is listed"),
        ("127.0.0.5", "IP address <ip> is listed"),
        ("127.0.0.6", ""),
        ("127.0.0.2", "IP address <ip> running an open relay"),
        ("127.0.0.2", "See http://www.example.com/bl/spammer/<ip> for details"),
        ("127.0.0.2", "This spammer wants some $$. See http://www.example.com/bl/<ip>"),
    }


def test_a_base_template_wraps_the_entries_own():
    """The example of rbldnsd(8)."""
    base = "$= See http://www.example.com/bl?$= ($) for details"
    text = f"{base}\n127.0.0.2 r123\n127.0.0.3\n127.0.0.4 =See others about $\n"
    said = {each.reason.replace("\0", "<ip>") for each in read(text, kind="ip4set").notes}
    assert said == {
        "See http://www.example.com/bl?r123 (<ip>) for details",
        "See http://www.example.com/bl?<ip> (<ip>) for details",
        "See others about <ip>",
    }


def test_an_ip6trie_may_leave_words_out():
    found = read(
        "2001:21ab:c000/36\n2001:21ab:def7:4242 :3:odd\n2605:6001:42::/52\n::1 # me\n!2605:6001:42::bead\n",
        kind="ip6trie",
    )
    assert listed(found) == {
        *("2001:21ab:c000::/36", "2001:21ab:def7:4242::/64", "2605:6001:42::/52", "::1", "!2605:6001:42::bead")
    }


def test_combined_has_several_datasets_with_defaults_of_their_own():
    text = """$NS 1w ns1.ex.com
$DATASET ip4set:proxy proxies @
:2:Open proxy
192.0.2.2
$DATASET dnset:names uri
:3:Bad name
.bad.example
$DATASET generic:common @
www A 127.0.0.8
"""
    found = read(text)
    assert found.problems == []
    assert listed(found) == {"192.0.2.2", "d:bad.example", "w:bad.example"}
    assert {(each.value, each.reason) for each in found.notes} == {
        ("127.0.0.2", "Open proxy"),
        ("127.0.0.3", "Bad name"),
    }


def test_a_timestamp_dates_the_entries_and_ends_them():
    found = read("$TIMESTAMP 2026:11:01 +60d\n192.0.2.7\n192.0.2.0/25\n", kind="ip4set")
    assert found.notes[0].since == 1_793_491_200.0
    assert found.notes[0].until == 1_793_491_200.0 + 60 * 86_400
    over = read("$TIMESTAMP 2026:01:01 2026:02:01\n192.0.2.7\n192.0.2.0/25\n!192.0.2.1\n", kind="ip4set")
    assert listed(over) == set()


def test_ranges_beyond_maxrange_are_bad_lines():
    found = read("$MAXRANGE4 /24\n192.0.2.0/24\n192.0.0.0/16\n", kind="ip4set")
    assert listed(found) == {"192.0.2.0/24"}
    assert [each.line for each in found.problems] == [3]


def test_the_zones_of_others_are_read_without_a_bad_line(material):
    counts = {}
    for path in material("dnsbl").glob("*.zone"):
        if path.name != "spf.zone":
            found = read(path.read_bytes(), name=path.name)
            assert found.problems == [], path.name
            counts[path.name] = found.count
    assert counts["ipsum3.zone"] > 14_000
    assert counts["disposable.zone"] > 8_000


# RPZ ------------------------------------------------------------------------------------------------------------------

RPZ = """$TTL 300
@ IN SOA localhost. root.localhost. (
    1 ; serial
    3600 600 86400 300 )
  IN NS localhost.
bad.example            CNAME .
*.bad.example          CNAME .
ok.bad.example         CNAME rpz-passthru.
nodata.example    60 IN CNAME *.
garden.example         A 192.0.2.1
                       TXT "walled garden; see policy"
24.0.2.0.192.rpz-client-ip     CNAME .
32.7.2.0.192.rpz-client-ip     CNAME rpz-passthru.
48.zz.bad.db8.2001.rpz-client-ip CNAME rpz-drop.
"""


def test_an_rpz_lists_names_and_clients_with_its_actions():
    found = read(RPZ)
    assert found.problems == []
    assert listed(found) == {
        *("d:bad.example", "w:bad.example", "!d:ok.bad.example", "d:nodata.example", "d:garden.example"),
        *("192.0.2.0/24", "!192.0.2.7", "2001:db8:bad::/48"),
    }
    assert note(found, "walled garden; see policy").value == "local-data"
    assert {each.value for each in found.notes if not each.excluded} == {"nxdomain", "nodata", "local-data", "drop"}


def test_names_within_the_zone_are_relative_to_it():
    found = read("$ORIGIN rpz.example.\n@ SOA a. b. 1 2 3 4 5\nbad.test CNAME .\nworse.test.rpz.example. CNAME .\n")
    assert listed(found) == {"d:bad.test", "d:worse.test"}


def test_triggers_about_answers_are_refused_by_line():
    found = read("a.example CNAME .\n24.0.2.0.192.rpz-ip CNAME .\nns.example.rpz-nsdname CNAME .\n", kind="rpz")
    assert [each.line for each in found.problems] == [2, 3]


# Whatever comes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("x", "192.0.2.1\n", "lines"),
        ("x", "", "lines"),
        ("x.csv", "anything", "csv"),
        ("x.csv.gz", "anything", "csv"),
        ("x", "ip,why\n", "csv"),
        ("x", '{"ip": "a"}\n', "jsonl"),
        ("x", ":127.0.0.2:x $\n192.0.2.0/24\n", "ip4set"),
        ("x", "#$TTL 60\n.bad.example\n", "mixed"),
        ("x", "$DATASET ip4set a\n", "combined"),
        ("x.rpz", "", "rpz"),
        ("x", "$TTL 60\n@ IN SOA a. b. 1 2 3 4 5\n", "rpz"),
    ],
)
def test_the_format_is_found(name: str, text: str, kind: str):
    assert detect(name, text) == kind


def test_a_compressed_list_is_read_and_a_damaged_one_is_told():
    assert listed(read(gzip.compress(b"192.0.2.7\n"))) == {"192.0.2.7"}
    assert read(gzip.compress(b"192.0.2.7\n")[:-9]).bad_lines == 1


@given(st.binary(max_size=400), st.sampled_from([AUTO, *FORMATS]))
@example(b'"', "csv")
@example(b"\x1f\x8b", AUTO)
@example(b"[" * 5000, "jsonl")
@example(b"(" * 5000, "rpz")
@example(b"$TIMESTAMP 9999:99:99", "ip4set")
@example(b'{"ip":"\\ud800@\\ud800.example","until":1e999}', "jsonl")
@settings(max_examples=400)
def test_no_octets_make_a_reader_raise(octets: bytes, kind: str):
    found = read(octets, kind=kind)
    assert found.bad_lines >= len(found.problems)


# What lists are made of, so that more of the readers' ways are walked than random octets do.
PIECES = st.sampled_from(
    [
        *(
            "192.0.2.1",
            "192.0.2.0/24",
            "10-20",
            "/8",
            ":2:",
            "$",
            "$=",
            "$1",
            "!",
            "\n",
            "\r\n",
            " ",
            "\t",
            "#",
            ";",
            '"',
        ),
        *(
            "2001:db8::",
            "zz",
            "rpz-client-ip",
            "CNAME .",
            "@",
            "*.",
            ".",
            "example",
            "http://",
            "(",
            ")",
            "{",
            "}",
            "[",
            "]",
        ),
        *(
            ",",
            "ip",
            "until",
            "1e9",
            "$DATASET ip4set x",
            "$TIMESTAMP",
            "$MAXRANGE4",
            "\0",
            "\ud7ff",
            "é",
            "中",
            "-",
            "0.0.0.0",
        ),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join), st.sampled_from([AUTO, *FORMATS]))
@settings(max_examples=600)
def test_no_mixture_of_pieces_makes_a_reader_raise(text: str, kind: str):
    found = read(text, kind=kind)
    for each in found.notes:
        assert each.until is None or math.isfinite(each.until)
        assert "\n" not in each.reason
