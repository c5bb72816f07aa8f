"""The line of every key is the line an editor shows; wrong, every problem would send its reader to another place."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.linemap import key_lines
from gateway.config.problem import quoted, quoted_key

DOCUMENTS = {
    "plain": ("a = 1\n\n# b = 2\nb = 2 # c = 3\n", {("a",): 1, ("b",): 4}),
    "no newline at the end": ("a = 1\nb = 2", {("a",): 1, ("b",): 2}),
    "crlf": ("a = 1\r\nb = 2\r\n", {("a",): 1, ("b",): 2}),
    "dotted": ("a.b . c = 1\na.d = 2\n", {("a",): 1, ("a", "b"): 1, ("a", "b", "c"): 1, ("a", "d"): 2}),
    "quoted keys": (
        '"a b" = 1\n\'c"]\' = 2\n["x.y".\'z\']\n"\\u00e9\\t" = 3\n"" = 4\n',
        {
            ("a b",): 1,
            ('c"]',): 2,
            ("x.y",): 3,
            ("x.y", "z"): 3,
            ("x.y", "z", "é\t"): 4,
            ("x.y", "z", ""): 5,
        },
    ),
    "tables": ("[a.b] # [c]\nx = 1\n[a]\ny = 2\n", {("a",): 1, ("a", "b"): 1, ("a", "b", "x"): 2, ("a", "y"): 4}),
    "array of tables": (
        "[[l]]\nx = 1\n[l.t]\ny = 2\n[[l]]\n[[l.m]]\nz = 3\n[[l.m]]\n",
        {
            ("l",): 1,
            ("l", 0): 1,
            ("l", 0, "x"): 2,
            ("l", 0, "t"): 3,
            ("l", 0, "t", "y"): 4,
            ("l", 1): 5,
            ("l", 1, "m"): 6,
            ("l", 1, "m", 0): 6,
            ("l", 1, "m", 0, "z"): 7,
            ("l", 1, "m", 1): 8,
        },
    ),
    "array over lines": (
        'a = [ # ]\n  1,\n\n  "x]", [2,\n 3],\n]\nb = 1\n',
        {("a",): 1, ("a", 0): 2, ("a", 1): 4, ("a", 2): 4, ("a", 2, 0): 4, ("a", 2, 1): 5, ("b",): 7},
    ),
    "inline tables": (
        "a = { b = 1, c.d = [\n{ e = 2 }] }\nf = {}\n",
        {
            ("a",): 1,
            ("a", "b"): 1,
            ("a", "c"): 1,
            ("a", "c", "d"): 1,
            ("a", "c", "d", 0): 2,
            ("a", "c", "d", 0, "e"): 2,
            ("f",): 3,
        },
    ),
    "strings over lines": (
        (
            'a = """\nx = 1 \\"""\n""\\\\"""\n'
            "b = '''\n[t]\n'''''\nc = \"\"\"\"q\"\"\"\"\nd = '#' # '\ne = \"\\\"\"\nf = 1\n"
        ),
        {("a",): 1, ("b",): 4, ("c",): 7, ("d",): 8, ("e",): 9, ("f",): 10},
    ),
    "dates and numbers": ("a = 1979-05-27 07:32:00\nb = +1_000.5e-3\nc = inf\n", {("a",): 1, ("b",): 2, ("c",): 3}),
    "nothing": ("# only a comment", {}),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_lines_of_known_documents(name):
    text, lines = DOCUMENTS[name]
    tomllib.loads(text)
    assert dict(key_lines(text)) == lines


def paths(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for part, inner in items:
        yield (*path, part)
        yield from paths(inner, (*path, part))


keys = st.text(st.sampled_from("ab.-_\"' #[]=é"), max_size=4)
strings = st.text(st.sampled_from("ab\"'\\#[]{}=,\n\t é"), max_size=12)
blanks = st.sampled_from(["", "\n", "\n\n", "# [x]\n# a = 1\n", "  \n"])


def quoted_somehow(text, draw):
    if "'" not in text and "\n" not in text and "\t" not in text and draw(st.booleans()):
        return f"'{text}'"
    if "'''" not in text and not text.endswith("'") and draw(st.booleans()):
        return f"'''\n{text}'''"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if draw(st.booleans()):
        return f'"""{escaped}"""'
    return '"' + escaped.replace("\n", "\\n") + '"'


def written(value, draw, *, inline):
    """Return TOML for a value in one of the ways it can be written."""
    if isinstance(value, str):
        text = quoted_somehow(value, draw)
        return text if not inline or "\n" not in text else quoted(value)
    if isinstance(value, list):
        gap = "" if inline else draw(blanks)
        return "[" + gap + f",{gap}".join(written(item, draw, inline=inline) for item in value) + gap + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{quoted_key(k)} = {written(v, draw, inline=True)}" for k, v in value.items()) + " }"
    return str(value).lower()


scalars = st.one_of(st.integers(-9, 9), st.booleans(), strings)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)
tables = st.dictionaries(keys, values, max_size=4)


@given(st.data(), st.dictionaries(keys, tables, max_size=4))
def test_every_key_of_a_document_has_a_line_and_no_other(data, document):
    """Against tomllib: the same paths; and each table's own keys lie behind its header, in order."""
    lines = []
    for name, table in document.items():
        lines.append(data.draw(blanks) + f"[{quoted_key(name)}]\n")
        lines += [f"{quoted_key(key)} = {written(value, data.draw, inline=False)}\n" for key, value in table.items()]
    text = "".join(lines)
    parsed = tomllib.loads(text)
    found = key_lines(text)
    assert set(found) == set(paths(parsed))
    for path, line in found.items():
        assert found.get(path[:-1], 1) <= line <= text.count("\n") + 1


@given(
    st.data(), st.lists(st.tuples(keys, st.booleans(), st.booleans()), max_size=12, unique_by=lambda entry: entry[0])
)
def test_a_value_that_is_its_own_line_number_is_found_there(data, entries):
    text = ""
    for key, as_list, as_table in entries:
        text += data.draw(blanks)
        line = text.count("\n") + 1
        if as_list:
            text += f"{quoted_key(key)} = [ {line},\n{line + 1},\n\n{line + 3} ]\n"
        elif as_table:
            text += f"{quoted_key(key)} = {{ a = {line}, b.c = {line} }}\n"
        else:
            text += f"{quoted_key(key)} = {line}\n"
    found = key_lines(text)
    for path in paths(tomllib.loads(text)):
        value = tomllib.loads(text)
        for part in path:
            value = value[part]
        if isinstance(value, int):
            assert found[path] == value
