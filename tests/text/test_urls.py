"""A link must be found as a reader's program follows it; else a listed domain is written so that nobody looks it up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.text import hosts
from gateway.mail.text.urls import MAX_URL, MAX_URLS, find, parse, within


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see http://Example.COM/path?q=1.", [("http://Example.COM/path?q=1", "example.com")]),
        ("(https://example.com/a_(b))", [("https://example.com/a_(b)", "example.com")]),
        (
            '<http://example.com>, "http://example.org"',
            [("http://example.com", "example.com"), ("http://example.org", "example.org")],
        ),
        ("HTTP://EXAMPLE.COM:8080/x", [("HTTP://EXAMPLE.COM:8080/x", "example.com")]),
        (
            "www.example.com/x and example.co.uk!",
            [("www.example.com/x", "www.example.com"), ("example.co.uk", "example.co.uk")],
        ),
        ("t.co/abc", [("t.co/abc", "t.co")]),
        # Chinese text adjoins without a space.
        ("请访问http://example.com/a查看", [("http://example.com/a", "example.com")]),
        ("请访问http://example.com点击这里", [("http://example.com", "example.com")]),
        ("请访问www.example.com查看", [("www.example.com", "www.example.com")]),
        ("网址:example.com,电话", [("example.com", "example.com")]),
        ("http://例子.中国/路径", [("http://例子.中国/", "xn--fsqu00a.xn--fiqs8s")]),
        ("http://例子.中国。谢谢", [("http://例子.中国", "xn--fsqu00a.xn--fiqs8s")]),
        # The ideographic full stop is a dot, or ends a sentence.
        ("www。example。com", [("www。example。com", "www.example.com")]),
        ("http://www。example。com/x", [("http://www。example。com/x", "www.example.com")]),
        ("见example.com。谢谢", [("example.com", "example.com")]),
        ("见example.com。Click here", [("example.com", "example.com")]),
        ("见http://example.com。谢谢", [("http://example.com", "example.com")]),
        # Disguises.
        ("http://bank.example@evil.test/", [("http://bank.example@evil.test/", "evil.test")]),
        ("http:\\\\evil.test\\x", [("http:\\\\evil.test\\x", "evil.test")]),
        ("http:////evil.test", [("http:////evil.test", "evil.test")]),
        ("http://EVIL%2etest/", [("http://EVIL%2etest/", "evil.test")]),
        ("http://0x7f.1/ http://2130706433/", [("http://0x7f.1/", "127.0.0.1"), ("http://2130706433/", "127.0.0.1")]),
        # Nothing.
        ("mail foo.bar@example.com or version 3.5.1 at 12.30", []),
        ("finished.It was main.py in a.b.c", []),
        ("http:// http://. https://?", []),
        ("", []),
    ],
)
def test_urls_in_text(text: str, found: list[tuple[str, str]]):
    assert [(url.text, url.host) for url in find(text)] == found


def test_each_url_once_with_all_its_parts():
    (url,) = find("http://u:p@Shop.Example.co.uk:8080/a?b#c http://u:p@Shop.Example.co.uk:8080/a?b#c")
    assert (url.scheme, url.userinfo, url.host, url.registrable, url.port, url.path) == (
        "http",
        "u:p",
        "shop.example.co.uk",
        "example.co.uk",
        8080,
        "/a?b#c",
    )
    assert not url.is_address


@pytest.mark.parametrize(
    ("value", "scheme", "host"),
    [
        (" ht\ntp://a.exa\tmple/ ", "http", "a.example"),
        ("\x01https:a.example", "https", "a.example"),
        ("//a.example/x", "", "a.example"),
        ("\\\\a.example", "", "a.example"),
        ("javascript:alert(1)", "javascript", ""),
        ("data:text/html,x", "data", ""),
        ("mailto:a@b.example", "mailto", ""),
        ("http://[::ffff:192.0.2.1]/", "http", "192.0.2.1"),
        ("http://[2001:DB8::1]:80/", "http", "2001:db8::1"),
    ],
)
def test_attributes(value: str, scheme: str, host: str):
    url = parse(value)
    assert url is not None
    assert (url.scheme, url.host) == (scheme, host)


@pytest.mark.parametrize(
    "value", ["", "/x", "x.html", "#a", "cid:1", "http://", "http://a b/", "http://[::1", "http://1.2.3.4.5/", "x:y"]
)
def test_attributes_that_lead_to_no_host(value: str):
    assert parse(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "https://r.example/?u=http://evil.test/x",
        "https://r.example/url?q=http%3A%2F%2Fevil.test%2Fx&sa=D",
        "https://r.example/http%253A%252F%252Fevil.test%252Fx",
        "https://r.example/https://evil.test/x",
    ],
)
def test_redirectors(value: str):
    url = parse(value)
    assert url is not None
    assert [nested.host for nested in within(url)] == ["evil.test"]


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("Example.COM.", "example.com"),
        ("例子.中国", "xn--fsqu00a.xn--fiqs8s"),
        ("ｅｘａｍｐｌｅ．ｃｏｍ", "example.com"),
        ("example%E3%80%82com", "example.com"),
        # https://url.spec.whatwg.org/#concept-ipv4-parser
        ("127.1", "127.0.0.1"),
        ("0x7F000001", "127.0.0.1"),
        ("0300.0250.1.1", "192.168.1.1"),
        ("0xC0.0250.257", "192.168.1.1"),
        ("256.1.1.1", ""),
        ("1.2.3.4.5", ""),
        ("4294967296", ""),
        ("09", ""),
        ("[::1]", "::1"),
        ("[::g]", ""),
        ("a..b", ""),
        ("-", ""),
        ("", ""),
        ("9" * 5000, ""),
        ("a" * 5000, ""),
    ],
)
def test_hosts_as_browsers_ask_for_them(written: str, host: str):
    assert hosts.canonical(written) == host


@pytest.mark.parametrize(
    ("host", "registrable"),
    [
        ("www.example.co.uk", "example.co.uk"),
        ("example.co.uk", "example.co.uk"),
        ("co.uk", ""),
        ("a.b.example.com.cn", "example.com.cn"),
        ("user.github.io", "user.github.io"),
        ("www.xn--fsqu00a.xn--fiqs8s", "xn--fsqu00a.xn--fiqs8s"),
        ("a.b.unknown-suffix", "b.unknown-suffix"),
        ("localhost", ""),
        ("192.0.2.1", ""),
        ("2001:db8::1", ""),
        ("", ""),
    ],
)
def test_registrable_domains(host: str, registrable: str):
    assert hosts.registrable(host) == registrable


@given(st.text())
def test_any_text_and_any_host(text: str):
    for url in find(text):
        assert url.host
    parse(text)
    assert hosts.canonical(hosts.canonical(text)) == hosts.canonical(text) or ":" in hosts.canonical(text)


@given(
    st.lists(
        st.sampled_from(
            [
                "http://",
                "www",
                ".",
                "。",
                "com",
                "例",
                "a",
                "@",
                ":",
                "/",
                "%2e",
                "[",
                "]",
                "1",
                "0x",
                "?",
                "\\",
                "xn--",
                " ",
            ]
        )
    )
)
def test_any_pieces_of_urls(pieces: list[str]):
    text = "".join(pieces)
    for url in find(text):
        assert len(url.text) <= MAX_URL
    parse(text)


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "http://",
        "www。",
        "1.2.3.4 ",
        "x.com ",
        "a@a.",
        "https:/",
        "http://a.com/)",
        ".",
        "http://例",
        "http://a.com?http://b.com/",
        "a.b-",
    ],
)
def test_hostile_text_takes_linear_time(piece: str):
    """A quadratic reader would not end before the test's time limit."""
    assert len(find(piece * (1_000_000 // len(piece)))) <= 2 * MAX_URLS


def test_unique_urls_are_bounded():
    assert len(find(" ".join(f"http://a{n}.example.com/" for n in range(5 * MAX_URLS)))) == MAX_URLS
