"""HTML must give the text that a reader sees: what markup hides from a filter counts, and what nobody is shown does."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.text import styles
from gateway.mail.text.html import MAX_CHARACTERS, MAX_TAGS, declared_charset, to_text


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("plain text", "plain text"),
        ("", ""),
        # Inline elements join, blocks and breaks do not.
        ("V<b></b>i<!-- x -->ag<span>ra</span>", "Viagra"),
        ("代<font size=2>开</font>发<!--随机-->票", "代开发票"),
        ("<p>One<p>Two<div>Three</div>Four<br>Five", "One\nTwo\nThree\nFour\nFive"),
        ("<table><tr><td>a<td>b<tr><td>c</table>d", "a b\nc\nd"),
        ("<ul><li>1<li>2</ul>", "1\n2"),
        ("a\n  b\t c", "a b c"),
        ("<pre>a\n  b</pre>c", "a\nb\nc"),
        ("<textarea>in <b>it</b></textarea>", "in <b>it</b>"),
        # Character references.
        ("&#20195;&#x5f00;&#X53D1;票", "代开发票"),
        ("&lt;b&gt; &amp;amp; &eacute;&nbsp;&yen;5", "<b> &amp; é\u00a0¥5"),
        ("&copy 2026 &notanentity; &#xZ; &", "© 2026 ¬anentity; &#xZ; &"),
        ("&#00000000000065;&#x000000041;", "AA"),
        ("&#0;&#x110000;&#55296;", "\ufffd\ufffd\ufffd"),
        ("&#" + "9" * 10_000 + ";x", "\ufffdx"),
        # Not shown.
        ("<head><title>T</title></head><body>b", "b"),
        ("<script>var a='</p>';</script>t<style>p{}</style>", "t"),
        ("<SCRIPT >x</script\n>t", "t"),
        ("<script>never closed", ""),
        ("<iframe src=x>fallback</iframe>t<noframes>n</noframes>", "t"),
        # Comments in all their forms.
        ("a<!-- > -- -->b", "ab"),
        ("a<!-->b", "ab"),
        ("a<!--->b", "ab"),
        ("a<!--x--!>b", "ab"),
        ("a<!-- never closed", "a"),
        ("a<!doctype html>b<?xml x?>c</ x>d", "abcd"),
        ("<![if !mso]>shown<![endif]><!--[if mso]>not<![endif]-->", "shown"),
        # Tags that are hard to see the end of.
        ('<a title=">" href="x">y</a>', "y"),
        ("<a title='\">' >y</a>", "y"),
        ("<b/title=x>y", "y"),
        ('a<b title="never closed>b', "a"),
        ("a<b", "a"),
        ("1 < 2 and 3 > 2 <3 <", "1 < 2 and 3 > 2 <3 <"),
        ("<div/>a</div>b", "a\nb"),
        ("</b></p>a", "a"),
    ],
)
def test_what_is_shown(markup: str, text: str):
    assert to_text(markup).text == text


@pytest.mark.parametrize(
    ("markup", "trick"),
    [
        ("<div style='display:none'>h</div>v", "display-none"),
        ("<div STYLE='DISPLAY : NONE !important; display:block'>h</div>v", "display-none"),
        ("<p hidden>h</p>v", "display-none"),
        ("<div style='display:none'><p>h</div>v", "display-none"),
        ("<p style='display:none'>h<div>v", "display-none"),
        ("<b><div style='display:none'>h</b>h</div>v", "display-none"),
        ("<span style='visibility:hidden'>h<i style='visibility:visible'>v</i></span>", "display-none"),
        ("<style>.x{display:none}</style><p class='a X'>h</p>v", "display-none"),
        ("<style>/* } */ #y , p{display:none}</style><i id=y>h</i>v", "display-none"),
        ("<span style='font-size:0'>h</span>v", "zero-size"),
        (
            "<span style='font-size:0px'>h<i style='font-size:100%'>h</i><i style='font-size:12px'>v</i></span>",
            "zero-size",
        ),
        ("<font size=0>h</font>v", "zero-size"),
        ("<div style='max-height:0;overflow:hidden'>h</div>v", "zero-size"),
        ("<div style='height:0px;overflow:hidden'>h</div>v", "zero-size"),
        ("<div style='opacity:0.0'>h</div>v", "transparent"),
        ("<font style='color:transparent'>h</font>v", "transparent"),
        ("<font style='color:rgba(0, 0, 0, 0)'>h</font>v", "transparent"),
        ("<div style='text-indent:-9999px'>h</div>v", "off-screen"),
        ("<div style='position:absolute;left:-5000px'>h</div>v", "off-screen"),
        ("<font color=white>h</font>v", "same-colour"),
        ("<font color=#FFFFFE>h</font>v", "same-colour"),
        ("<font color=fefefe>h</font>v", "same-colour"),
        ("<span style='color:rgb(255,255,255)'>h</span>v", "same-colour"),
        ("<span style='color:rgb(100% 100% 99%)'>h</span>v", "same-colour"),
        ("<table bgcolor=black><tr><td><font color=#010101>h</font><font color=white>v</font></table>", "same-colour"),
        ("<div style='background:#00f url'><b style='color:blue'>h</b></div>v", "same-colour"),
        ("<style>.w{color:#fff}</style><i class=w>h</i>v", "same-colour"),
    ],
)
def test_what_cannot_be_seen_is_left_out_and_told(markup: str, trick: str):
    found = to_text(markup)
    assert found.text == "v"
    assert set(found.hidden.replace(" ", "")) == {"h"}
    assert found.tricks == {trick}
    assert trick in styles.TRICKS


@pytest.mark.parametrize(
    "markup",
    [
        # On narrow screens only, in Outlook only, or not at all.
        "<style>@media (max-width:600px){.x{display:none}} @import 'a';</style><p class=x>v</p>",
        "<span style='mso-hide:all'>v</span>",
        "<span style='max-height:0'>v</span>",
        "<span style='font-size:12px;line-height:0'>v</span>",
        "<span style='margin-left:-10px'>v</span>",
        # White on something dark, or on a picture.
        "<td bgcolor='#003366'><font color=white>v</font></td>",
        "<div style='background:#036'><p style='color:#fff'>v</p></div>",
        "<div style='background-image:url(x.png)'><p style='color:#fff'>v</p></div>",
        "<table background=x.png><tr><td style='color:white'>v</table>",
        "<p style='color:#999'>v</p>",
        "<p style='color:inherit;color:var(--x)'>v</p>",
        # The outer style is the inner one's no longer.
        "<span style='display:none'></span>v",
        "<font color=white></font>v",
        "<p style='display:none'></p>v",
    ],
)
def test_what_can_be_seen_is_shown(markup: str):
    found = to_text(markup)
    assert (found.text, found.hidden, found.tricks) == ("v", "", frozenset())


@pytest.mark.parametrize(
    ("markup", "hosts"),
    [
        ("<a href='http://a.example/x'>t</a>", ["a.example"]),
        ("<A HREF=http://a.example/x>t</A>", ["a.example"]),
        ("<a href='ht&#116;p://a&period;example&sol;x'>t</a>", ["a.example"]),
        ("<a href=' \n http://a.exa\nmple/ '>t</a>", ["a.example"]),
        ("<img src=//a.example/p.gif><link href=https://b.example/s.css>", ["a.example", "b.example"]),
        ("<form action='http://a.example/'><button formaction=http://b.example>", ["a.example", "b.example"]),
        ("<table background=http://a.example/b.png>", ["a.example"]),
        ("<meta http-equiv=refresh content='0; URL=http://a.example/'>", ["a.example"]),
        ("<base href=http://a.example/><a href=/x>t</a>", ["a.example"]),
        ("<div style=\"background:url('http://a.example/b.png')\">", ["a.example"]),
        ("<img srcset='http://a.example/1 1x, http://b.example/2 2x'>", ["a.example", "b.example"]),
        ("<a href='https://r.example/go?u=http%3A%2F%2Fa.example%2F'>t</a>", ["r.example", "a.example"]),
        ("<a href=/relative>t</a><a href=#top>t</a><img src=cid:1>", []),
        ("<div style='display:none'><a href=http://a.example>t</a></div>", ["a.example"]),
    ],
)
def test_where_it_leads(markup: str, hosts: list[str]):
    assert [url.host for url in to_text(markup).urls] == hosts


def test_a_link_has_the_text_that_is_shown_for_it():
    found = to_text("see <a href=http://evil.test/>www.<b>bank</b>.example</a> or <a href=http://b.test>this<td>")
    assert [(link.url.host, link.text) for link in found.links] == [
        ("evil.test", "www.bank.example"),
        ("b.test", "this"),
    ]


def test_title_alt_and_counts():
    found = to_text(
        "<title>A &amp; B</title><form><img alt='in place of'><img hidden alt=''></form>"
        "<script></script><iframe></iframe>"
    )
    assert (found.title, found.alt, found.text) == ("A & B", "in place of", "")
    assert (found.images, found.forms, found.scripts, found.frames) == (2, 1, 1, 1)


@pytest.mark.parametrize(
    ("octets", "charset"),
    [
        (b"<html><meta charset=gb2312>", "gb2312"),
        (b'<META http-equiv="Content-Type" content="text/html; charset = \'Big5\'">', "Big5"),
        (b"<p>charset=gb2312", ""),
        (b" " * 2000 + b"<meta charset=gb2312>", ""),
        (b"", ""),
    ],
)
def test_the_charset_that_a_document_names(octets: bytes, charset: str):
    assert declared_charset(octets) == charset


PIECES = [
    "<",
    ">",
    "/",
    "!",
    "--",
    "<!--",
    "-->",
    "=",
    '"',
    "'",
    "<b",
    "<div style=",
    "display:none",
    "</div>",
    "<p>",
    "&",
    "&#",
    "9" * 20,
]
PIECES += [
    "x",
    " ",
    "\n",
    "<style>",
    "</style>",
    "{",
    "}",
    "/*",
    "<script>",
    "<a href=http://a.example>",
    "<td>",
    "<table",
    "<pre>",
    "\x1e",
]


@given(st.lists(st.sampled_from(PIECES), max_size=60))
def test_any_markup_becomes_text(pieces: list[str]):
    found = to_text("".join(pieces))
    assert "\x1e" not in found.text + found.hidden
    assert isinstance(found.urls, tuple)


@given(st.text(st.characters(exclude_characters="<&\x1e", exclude_categories=["Cs"])))
def test_text_without_markup_is_kept(text: str):
    assert to_text(text).text.split() == text.split()


BLANKS = ["x", "a word ", "  ", "\t", "\n", "\r\n", "\f", "\v", "\xa0", "\u2003", "\x1d", "\x85", "<br>"]


@given(st.lists(st.sampled_from(BLANKS), max_size=40))
def test_white_space_is_that_of_a_page(pieces: list[str]):
    """What HTML calls white space is one space, other blanks stay, and none stands beside a line end."""
    one_space = re.sub(r"[ \t\r\n\f]+", " ", "".join(pieces).replace("<br>", "\x1e"))
    assert to_text("".join(pieces)).text == re.sub(r"\s*\x1e\s*", "\n", one_space).strip()


def test_a_style_sheet_concerns_the_same_tag_behind_it():
    found = to_text("<p class=a>seen</p><style>.a { display: none }</style><p class=a>not seen</p>")
    assert (found.text, found.hidden) == ("seen", "not seen")


HOSTILE = ["<b>", "<div>", "<b x=1></i>", "<i><div><b>", "<!--", "<a href='", "<", "<p>", "<td><li>", "<style>/*", "&"]
HOSTILE += ["<style>a{", "<x y=", "&#", "<a href=x>", "</p>", "<title>", "<svg/>", "<font color=#fff></b>", "</a b='"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_markup_takes_linear_time(piece: str):
    """A parser that searches its open elements would not end before the test's time limit."""
    found = to_text(piece * (MAX_CHARACTERS // len(piece)))
    assert found.truncated in ("", "tags", "characters")


def test_limits_are_told():
    assert to_text("<b>" * (MAX_TAGS + 1)).truncated == "tags"
    assert to_text("x" * (MAX_CHARACTERS + 1)).truncated == "characters"
    assert to_text("<div style='display:none'>" * 2000 + "h").hidden == "h"
    many = "".join(f"<i style='color:#{n:06x}'>x</i>" for n in range(5000))
    assert len(to_text(many).text) > 4000
