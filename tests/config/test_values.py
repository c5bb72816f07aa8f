"""Durations, sizes, rates, next hops and retry schedules mean what administrators write."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.fields import endpoint
from gateway.config.next_hop import parse_next_hop
from gateway.config.retry import parse_retry
from gateway.config.units import (
    MAX_SECONDS,
    MAX_SIZE,
    Rate,
    format_duration,
    format_size,
    parse_duration,
    parse_rate,
    parse_size,
)
from gateway.policy.domain_policy import NextHop


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1h30m", 5400),
        ("5d", 432_000),
        ("2w", 1_209_600),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("0s", 0),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", 5, 5.0, "5 m", "m", "-1s", "1y", "1s ", "1,5s", "٣s", None, "99999999999w"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, MAX_SECONDS * 1000).map(lambda milliseconds: milliseconds / 1000))
def test_durations_are_printed_as_they_are_read(seconds):
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "octets"),
    [("512K", 524_288), ("25M", 26_214_400), ("1.5g", 1_610_612_736), ("7", 7), (7, 7), ("2KB", 2048)],
)
def test_sizes(text, octets):
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "K", "-1", -1, True, 1.5, "1E", "1 M", None, "9999T"])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@given(st.integers(0, MAX_SIZE))
def test_sizes_are_printed_as_they_are_read(octets):
    assert parse_size(format_size(octets)) == octets


def test_rates():
    assert parse_rate("100/1m") == Rate(100, 60.0)
    assert str(Rate(20_000, 3600.0)) == "20000/1h"
    for text in ("100", "100/", "/1m", "-1/1m", "100/0s", "²/1m", 100, None):
        with pytest.raises(ValueError, match="wanted"):
            parse_rate(text)


HOPS = {
    "smtp://10.1.0.5": NextHop(url="smtp://10.1.0.5:25", scheme="smtp", host="10.1.0.5"),
    "smtp://Mail.Example.COM:2525/": NextHop(
        url="smtp://mail.example.com:2525", scheme="smtp", host="mail.example.com", port=2525
    ),
    "smtp://[2001:DB8::1]:26?tls=verify": NextHop(
        url="smtp://[2001:db8::1]:26?tls=verify", scheme="smtp", host="2001:db8::1", port=26, tls="verify"
    ),
    "smtp://[::1]?tls=may": NextHop(url="smtp://[::1]:25", scheme="smtp", host="::1"),
    "smtp://例子.中国?tls=none": NextHop(
        url="smtp://xn--fsqu00a.xn--fiqs8s:25?tls=none", scheme="smtp", host="xn--fsqu00a.xn--fiqs8s", tls="none"
    ),
    "lmtp://localhost": NextHop(url="lmtp://localhost:24", scheme="lmtp", host="localhost", port=24),
    "mx:": NextHop(url="mx:", scheme="mx"),
    "mx:Example.net?tls=verify": NextHop(
        url="mx:example.net?tls=verify", scheme="mx", host="example.net", tls="verify"
    ),
    "maildir:var/mail": NextHop(
        url="maildir:/etc/tidegate/var/mail", scheme="maildir", port=0, tls="none", path="/etc/tidegate/var/mail"
    ),
    "maildir:/srv/mail": NextHop(url="maildir:/srv/mail", scheme="maildir", port=0, tls="none", path="/srv/mail"),
}


@pytest.mark.parametrize("text", HOPS)
def test_next_hops(text):
    assert parse_next_hop(text, Path("/etc/tidegate")) == HOPS[text]


@given(st.text(max_size=40).map(lambda rest: f"smtp://{rest}") | st.text(max_size=40))
def test_a_next_hop_is_taken_or_refused_and_its_url_reads_back(text):
    try:
        hop = parse_next_hop(text, Path("/srv"))
    except ValueError:
        return
    assert parse_next_hop(hop.url, Path("/srv")) == hop


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("0.0.0.0:25", "0.0.0.0:25"),
        ("[::]:25", "[::]:25"),
        ("[0::1]:0", "[::1]:0"),
        ("localhost:2525", "localhost:2525"),
    ],
)
def test_endpoints(text, normal):
    assert endpoint(text) == normal


@pytest.mark.parametrize(
    "text", ["", ":25", "25", "0.0.0.0", "::1:25", "[::1]", "[::1:25", "a:25", "0.0.0.0:x", "0.0.0.0:-1", "0.0.0.0:"]
)
def test_what_is_no_endpoint(text):
    with pytest.raises(ValueError, match=r"wanted|port"):
        endpoint(text)


def test_an_endpoint_with_a_usual_port_may_leave_it_out():
    for text, normal in (
        ("10.0.0.1", "10.0.0.1:53"),
        ("::1", "[::1]:53"),
        ("[::1]", "[::1]:53"),
        ("10.0.0.1:5353", "10.0.0.1:5353"),
    ):
        assert endpoint(text, default_port=53) == normal


def test_waits_repeat_as_often_as_written_and_the_last_one_for_ever():
    schedule = parse_retry(["1m", "5m", "1h*3", "4h*"])
    waits = [schedule.wait_seconds(failures) for failures in range(1, 9)]
    assert waits == [60, 300, 3600, 3600, 3600, 14_400, 14_400, 14_400]
    assert parse_retry(["1m"]).wait_seconds(1000) == 60
