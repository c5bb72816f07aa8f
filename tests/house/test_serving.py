"""What an administrator is promised of the running program: it says how it stands, reloads or stays, and writes to one
folder."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.house.conftest import POLICY, Serve, client, write_configuration

STRACE = shutil.which("strace")
# What makes, changes or removes a file by its name.
CHANGING = (
    "openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat"
)
MAIL = b"From: a@sender.test\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\n\r\nHello.\r\n"


def test_a_service_manager_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path, serve: Serve):
    """systemd's Type=notify waits for exactly these (sd_notify(3)); without READY=1 the unit never starts."""
    serving = serve(write_configuration(tmp_path, "ours.test"))
    serving.process.terminate()
    serving.heard("STOPPING=1")
    assert serving.process.wait(30) == 0


def test_invariant_10_a_configuration_that_does_not_load_changes_nothing(tmp_path: Path, serve: Serve):
    """Every worker goes on with the old snapshot, sessions stay open, and the error names file and line."""
    serving = serve(write_configuration(tmp_path, "ours.test"))
    [before] = serving.digests()
    with client(serving) as session:
        assert session.mail("a@sender.test")[0] == 250
        policy = tmp_path / "policies/ours.test.toml"
        policy.write_text(POLICY.format(domain="theirs.test") + "next_hops = 1\nrecipients = 2\n", encoding="utf-8")

        answer = serving.tidegate("reload", status=78)
        assert f"{policy}:3: next_hops" in answer
        assert f"{policy}:4: recipients" in answer
        # The same by signal, for service managers that know no command.
        serving.process.send_signal(signal.SIGHUP)
        for _ in range(2):
            serving.said("configuration_changed .*errors=2")

        assert serving.digests() == {before}
        assert session.rcpt("b@ours.test")[0] == 250
        assert session.rcpt("b@theirs.test")[0] == 550
        assert session.data(MAIL)[0] == 250


def test_a_configuration_that_loads_serves_new_transactions_and_cuts_none(tmp_path: Path, serve: Serve):
    serving = serve(write_configuration(tmp_path, "ours.test"))
    before = serving.digests()
    with client(serving) as session:
        session.mail("a@sender.test")
        (tmp_path / "policies/more.test.toml").write_text(POLICY.format(domain="more.test"), encoding="utf-8")
        serving.tidegate("reload")
        after = serving.digests()
        assert len(after) == 1
        assert after != before
        # A transaction ends on the snapshot that it began with; the session's next one has the new.
        assert session.rcpt("b@more.test")[0] == 550
        session.rset()
        session.mail("a@sender.test")
        assert session.rcpt("b@more.test")[0] == 250
        assert session.data(MAIL)[0] == 250
    serving.said("delivery_attempted .*to=<b@more.test> .*status=sent")
    serving.heard("RELOADING=1")
    serving.heard("READY=1")


def test_a_folder_named_gateway_where_it_is_started_is_not_taken_for_the_program(tmp_path: Path, serve: Serve):
    """Started in a source tree of another version, or in a folder where others may write, it must run its own code."""
    package = tmp_path / "gateway"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('not the program that was started')\n", encoding="utf-8")
    serving = serve(write_configuration(tmp_path / "node", "ours.test"), folder=tmp_path)
    assert serving.stop() == 0


@pytest.mark.real
@pytest.mark.skipif(STRACE is None, reason="needs strace (Debian: strace)")
def test_everything_it_writes_is_below_its_data_folder(tmp_path: Path, serve: Serve):
    """The image's root file system is read-only, systemd's ProtectSystem=strict likewise: one write elsewhere and the
    gateway does not start there."""
    assert STRACE
    record = tmp_path / "calls"
    # --daemonize: the gateway is our child, strace its grandchild, so that signals reach the gateway.
    tracing = [STRACE, "--daemonize", "--follow-forks", "--quiet=all", "--seccomp-bpf"]
    before = [*tracing, f"--trace={CHANGING}", f"--output={record}"]
    if subprocess.run([*before, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace here")
    node = tmp_path / "node"
    serving = serve(write_configuration(node, "ours.test"), before=before, folder=Path("/"))
    with client(serving) as session:
        session.sendmail("a@sender.test", "b@ours.test", MAIL + b"x" * 70 + b"\r\n" * 300_000)
    serving.said("delivery_attempted .*status=sent")
    assert serving.stop() == 0
    written = _written(record.read_text(encoding="utf-8"))
    assert any(path.startswith(f"{node}/data/spool/") for path in written)
    # The Maildir is a next hop, named by the policy.
    assert {path for path in written if not path.startswith((f"{node}/data", f"{node}/mail"))} == set()


def _written(calls: str) -> set[str]:
    """Return the paths of the calls that succeeded and were meant to change something."""
    found = set()
    for line in calls.splitlines():
        if re.search(r"\) += -1 ", line) or (" open" in line and not re.search("O_WRONLY|O_RDWR|O_CREAT", line)):
            continue
        # /dev and /proc are the kernel's, not files of the image.
        found.update(path for path in re.findall(r'"(/[^"]*)"', line) if not path.startswith(("/dev/", "/proc/")))
    return found
