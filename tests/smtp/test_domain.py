"""Domain names: if two spellings of one domain differ, its policy is not found and its mail is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.smtp.domain import DomainError, display_domain, normalise_domain


@pytest.mark.parametrize(
    ("text", "normal", "shown"),
    [
        ("Example.COM", "example.com", "example.com"),
        ("例子.中国", "xn--fsqu00a.xn--fiqs8s", "例子.中国"),
        ("XN--FSQU00A.xn--FIQS8S", "xn--fsqu00a.xn--fiqs8s", "例子.中国"),
        ("例子。中国", "xn--fsqu00a.xn--fiqs8s", "例子.中国"),
        ("Bücher.example", "xn--bcher-kva.example", "bücher.example"),
        # non-transitional: IDNA 2008 keeps the sharp s (RFC 5894 §7.2)
        ("straße.example", "xn--strae-oqa.example", "straße.example"),
        ("\uff45\uff58\uff41\uff4d\uff50\uff4c\uff45\uff0e\uff43\uff4f\uff4d", "example.com", "example.com"),
        # registered under older rules; resolves today
        ("xn--i-7iq.ws", "xn--i-7iq.ws", "xn--i-7iq.ws"),
        ("_dmarc.例子.中国", "_dmarc.xn--fsqu00a.xn--fiqs8s", "_dmarc.例子.中国"),
    ],
)
def test_every_spelling_has_one_normal_form(text, normal, shown):
    assert normalise_domain(text) == normal
    assert normalise_domain(normal) == normal
    assert display_domain(normal) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "example.com.",
        ".example.com",
        "a..b",
        "-a.example",
        "a-.example",
        "a b.example",
        "a/b.example",
        "a@b",
        "192.0.2.1",
        "\uff11\uff19\uff12.0.2.1",
        "a" * 64 + ".example",
        ".".join(["a" * 63] * 4) + "a",
        "a" * 300,
        "a\u0000b.example",
        "\u200d.example",
        "例" * 64 + ".中国",
        "❤.example",
        "例子.中国。",
        "ex\uff0fample.com",
        "ex\uff20ample.com",
        "\u0301a.example",
    ],
)
def test_what_is_no_domain_is_refused(text):
    with pytest.raises(DomainError):
        normalise_domain(text)


@given(st.text(max_size=80))
def test_nothing_but_domain_error_leaves_and_the_form_is_stable(text):
    try:
        normal = normalise_domain(text)
    except DomainError:
        return
    assert normal.isascii()
    assert normal == normal.lower()
    assert normalise_domain(normal) == normal
    assert display_domain(normal)
