"""What a reload says it changed: administrators act on it, so it names the place and nothing that did not change."""

import pytest

from gateway.config.difference import diff, needs_restart
from gateway.config.loader import load

POLICY = 'domains = ["example.com"]\nnext_hop = ["smtp://10.1.0.5:25"]\n'
NODE = 'hostname = "mx1.example.net"\ndata = "var"\n[[listen]]\naddress = "127.0.0.1:25"\n'


@pytest.fixture
def changed(tmp_path, catalogue, write_files):
    """Load, write the new files over the old ones (None removes one), load again."""

    def change(old, new):
        before = load(write_files(tmp_path, old), catalogue)
        for name, text in new.items():
            (tmp_path / name).unlink() if text is None else write_files(
                tmp_path, {"tidegate.toml": NODE} | old | {name: text}
            )
        after = load(tmp_path / "tidegate.toml", catalogue)
        lines = tuple(line.replace(f"{tmp_path}/", "") for line in diff(before, after))
        return lines, needs_restart(before, after)

    return change


FILES = {"tidegate.toml": NODE, "policies/a.toml": POLICY}


def test_nothing_changed_is_nothing_said(changed):
    assert changed(FILES, {"tidegate.toml": NODE + "\n# a comment\n"}) == ((), ())


@pytest.mark.parametrize(
    ("text", "lines", "restart"),
    [
        (NODE + "[smtp]\ngreet_delay = '3s'\n", ('tidegate.toml:6 smtp.greet_delay: "0s" → "3s"',), ()),
        (NODE.replace('data = "var"', "workers = 3\ndata = 'var'"), ("tidegate.toml:2 workers: 0 → 3",), ("workers",)),
        (
            NODE.replace(":25", ":26"),
            ('tidegate.toml:4 listen[1].address: "127.0.0.1:25" → "127.0.0.1:26"',),
            ("listen",),
        ),
        (
            NODE + "[metrics]\naddress = '127.0.0.1:9625'\n",
            ('tidegate.toml:6 metrics.address: "" → "127.0.0.1:9625"',),
            ("metrics.address",),
        ),
    ],
)
def test_the_node(changed, text, lines, restart):
    assert changed(FILES, {"tidegate.toml": text}) == (lines, restart)


def test_a_policy_names_file_and_line(changed):
    lines, restart = changed(FILES, {"policies/a.toml": POLICY + "[filters.tarpit]\nenabled = false\n"})
    assert lines == ("policies/a.toml:4 filters.tarpit.enabled: true → false",)
    assert restart == ()


def test_what_all_policies_inherit_is_said_once(changed):
    files = FILES | {"policies/b.toml": POLICY.replace(".com", ".org"), "policies/default.toml": "[scores]\ntag = 4\n"}
    lines, _ = changed(files, {"policies/default.toml": "[scores]\ntag = 3\n"})
    assert lines == ("policies/default.toml:2 scores.tag: 4.0 → 3.0",)


def test_a_key_taken_out_names_the_file_it_was_in(changed):
    files = FILES | {"policies/a.toml": POLICY + "[scores]\ntag = 3\n", "policies/default.toml": "[scores]\ntag = 4\n"}
    lines, _ = changed(files, {"policies/a.toml": POLICY})
    assert lines == ("policies/a.toml scores.tag: 3.0 → 4.0 (policies/default.toml:2)",)


def test_a_mailbox(changed):
    lines, _ = changed(FILES, {"policies/a.toml": POLICY + "[mailbox.'boss@example.com'.scores]\ntag = 1\n"})
    assert lines == ('policies/a.toml:4 mailbox."boss@example.com".scores.tag: 5.0 → 1.0',)


def test_files_come_and_go(changed):
    other = POLICY.replace(".com", ".org")
    assert changed(FILES, {"policies/b.toml": other})[0] == ("policies/b.toml: added, for example.org",)
    assert changed(FILES | {"policies/b.toml": other}, {"policies/b.toml": None})[0] == (
        "policies/b.toml: removed, with its domains example.org",
    )


def test_a_list_counts_its_addresses(changed):
    files = FILES | {
        "policies/a.toml": POLICY + 'recipients = "list:p.txt"\n',
        "policies/p.txt": "a@example.com\nb@example.com\n",
    }
    lines, _ = changed(files, {"policies/p.txt": "a@example.com\nc@example.com\nd@example.com\n"})
    assert lines == ("policies/p.txt: 2 addresses added, 1 removed",)
