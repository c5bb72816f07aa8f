"""What a list is, from lists.toml or its own head; every mistake with its place. If these fail, an allow list serves as
a block list, or a stranger's file declares itself one of ours.
"""

from pathlib import Path

import pytest

from gateway.blocklist.listing import ListKind
from gateway.blocklist.local.declaration import FILE, Declarations, read_declarations
from gateway.config.problem import ConfigError

ROOT = Path(__file__).parents[2]


def read(folder: Path, text: str = "", **files: str) -> Declarations:
    if text:
        (folder / FILE).write_text(text, encoding="utf-8")
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content, encoding="utf-8")
    return read_declarations(folder)


def problems(folder: Path, text: str, **files: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, **files)
    return [str(each).replace(f"{folder}/", "") for each in caught.value.problems]


def test_the_shipped_lists_are_declared_without_a_mistake():
    found = read_declarations(ROOT / "blocklists")
    assert {each.name: each.kind for each in found.lists} == {
        "local-block": ListKind.BLOCK,
        "local-allow": ListKind.ALLOW,
        "association": ListKind.BLOCK,
    }
    assert found.undeclared == ()
    association = found.named("association")
    assert association is not None
    assert association.working_days == 1


def test_a_head_declares_its_own_file(tmp_path: Path):
    head = '# Partners, see the wiki\n#\n# [list]\n# name = "partners"\n# kind = "allow"\n# owner = "anna"\n'
    text = head + '#\n# name = "x"\n192.0.2.7\n'
    (found,) = read(tmp_path, partners_txt=text).lists
    assert (found.name, found.kind, found.owner, found.file) == ("partners", ListKind.ALLOW, "anna", "partners.txt")


def test_a_head_may_stand_behind_other_signs_and_a_byte_order_mark(tmp_path: Path):
    found = read(
        tmp_path,
        a_rpz='\ufeff; [list]\r\n; name = "zone"\r\n@ SOA a. b. 1 2 3 4 5\r\n',
        b_js='// [list]\n// name = "js"\n',
    )
    assert {each.name for each in found.lists} == {"zone", "js"}


def test_a_head_after_the_first_entry_is_a_comment(tmp_path: Path):
    found = read(tmp_path, a_txt='192.0.2.7\n# [list]\n# name = "late"\n# kind = "allow"\n')
    assert found.lists == ()
    assert found.undeclared == ("a.txt",)


def test_lists_toml_is_the_whole_declaration_of_a_file_with_a_head(tmp_path: Path):
    (found,) = read(
        tmp_path,
        '[[list]]\nname = "ours"\nfile = "a.txt"\n',
        a_txt='# [list]\n# name = "theirs"\n# kind = "allow"\n',
    ).lists
    assert (found.name, found.kind) == ("ours", ListKind.BLOCK)


def test_a_mistake_in_a_head_has_the_line_where_it_stands(tmp_path: Path):
    assert problems(tmp_path, "", a_txt='# x\n# [list]\n# name = "a"\n# kind = "grey"\n') == [
        "a.txt:4: list.kind: allowed: 'block' or 'allow', not \"grey\""
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('colour = "red"', "unknown key"),
        ('kind = "grey"', "allowed: 'block' or 'allow'"),
        ('format = "xls"', "allowed: auto, lines"),
        ('expires = "soon"', "a date such as"),
        ('identities = ["shoe size"]', "allowed"),
        ('on_bad_line = "ignore"', "allowed"),
        ("shrink = 2.0", "at most 1"),
        ("grow = 0.5", "at least 1"),
        ('url = "ftp://x"', "https://"),
        ('url = "https://x"\nwatch = "/srv"', "one origin"),
        ('every = "1s"', "at least 1m"),
        ('file = "../etc/passwd"', "the name of a file"),
        ('action = "discard"', "allowed"),
        ('action = "reject"\nweight = 1.0', "without a weight"),
        ('action = "reject"\nkind = "allow"', "block lists"),
        ("weight = nan", "finite"),
        ('[calendar]\nzone = "Mars"', "time zone"),
        ('[calendar]\noff = ["2026-02-30"]', "calendar.off"),
    ],
)
def test_every_mistake_is_told_with_its_place(tmp_path: Path, line: str, said: str):
    (found,) = problems(tmp_path, f'[[list]]\nname = "a"\n{line}\n')
    assert found.startswith("lists.toml:")
    assert said in found


def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path):
    for name in ("../x", "A", "", "a" * 64, "a/b", ".a"):
        assert problems(tmp_path, f'[[list]]\nname = "{name}"\n')


def test_two_lists_of_one_name_or_file_are_refused(tmp_path: Path):
    assert len(problems(tmp_path, '[[list]]\nname = "a"\n[[list]]\nname = "a"\n')) == 1
    assert len(problems(tmp_path, '[[list]]\nname = "a"\nfile = "x"\n[[list]]\nname = "b"\nfile = "x"\n')) == 1


def test_a_folder_that_is_not_there_declares_nothing(tmp_path: Path):
    assert read_declarations(tmp_path / "nowhere").lists == ()
