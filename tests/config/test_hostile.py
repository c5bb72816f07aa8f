"""Whatever stands at whatever key, the answer is a snapshot or problems with a line: never a traceback."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from gateway.config.embedded import TEMPLATE
from gateway.config.flat import config_table, leaves
from gateway.config.loader import load
from gateway.config.models import GatewayConfig
from gateway.config.problem import ConfigError, Problem, quoted_key
from gateway.config.render import toml_value
from gateway.filters import catalogue

NODE = GatewayConfig(hostname="mx.example.net")
NODE_KEYS = [
    *(".".join(path) for path, _ in leaves(config_table(NODE))),
    *("clamd", "nothing", "smtp", "smtp.nothing", "queue.per_next_hop"),
]
POLICY_KEYS = [
    "domains",
    "customer",
    "next_hop",
    "recipients",
    "max_message",
    "scores",
    "scores.tag",
    "scores.subject_tag",
    "filters",
    "filters.helo",
    "filters.helo.enabled",
    "filters.helo.on",
    "filters.helo.on.bare-ip",
    "filters.size.maximum",
    "filters.nothing",
    "mailbox",
    'mailbox."a@example.com"',
    'mailbox."a@example.com".scores.tag',
    'mailbox."a@example.com".domains',
    'mailbox."@".scores',
]
words = st.sampled_from(
    [
        "",
        "a",
        "1m",
        "4h*",
        "-1",
        "[::]:25",
        "10.0.0.0/8",
        "any",
        "list:.",
        "list:/dev/null",
        "smtp://[",
        "mx:..",
        "maildir:/\x7f",
    ]
)
scalars = st.one_of(st.integers(), st.floats(), st.booleans(), words, st.text(max_size=6))
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(
    st.dictionaries(st.sampled_from(NODE_KEYS), values, max_size=3),
    st.dictionaries(st.sampled_from(POLICY_KEYS), values, max_size=3),
)
def test_any_value_at_any_key(node, policy):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "policies").mkdir()
        (folder / "tidegate.toml").write_bytes(document(node))
        (folder / "policies" / "a.toml").write_bytes(document({"next_hop": "mx:"} | policy))
        for problem in problems_of(folder / "tidegate.toml"):
            assert problem.file.startswith(name)
            assert problem.text
            assert "\n" not in str(problem)


@given(st.data())
def test_any_damage_to_the_text(data):
    text = TEMPLATE.read_bytes()
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + data.draw(st.binary(max_size=3)) + text[at + data.draw(st.integers(0, 20)) :]
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "policies").mkdir()
        (Path(name) / "tidegate.toml").write_bytes(damaged)
        assert all(problem.line for problem in problems_of(Path(name) / "tidegate.toml"))


def problems_of(path: Path) -> tuple[Problem, ...]:
    try:
        load(path, catalogue())
    except ConfigError as error:
        assert error.problems, "refused without a reason"  # noqa: PT017 - to be taken is as good an answer
        return error.problems
    return ()


def document(table: dict[str, object]) -> bytes:
    """Return dotted keys with their values; those that TOML cannot hold beside each other are a syntax error."""
    lines = [f"{key} = {toml_value(value)}" for key, value in sorted(table.items())]
    return "\n".join(lines).encode("utf-8", "replace")


def test_quoted_keys_cannot_break_out_of_a_problem():
    assert "\n" not in quoted_key("a\nb")
