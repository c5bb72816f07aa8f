"""What the antivirus benchmark judges by, and all of it once in little: three systems, one clamd, a virus refused."""

import tempfile
from email import message_from_bytes, policy
from pathlib import Path

import antivirus
import pytest
from progress import Steps
from systems import Postfix
from throughput import Run, Scenario

LACKING = antivirus.obstacles()
SIZE = Scenario(label="8 KB", octets=8192, messages=20, target=0.0)


def run(system: str, number: int, seconds: float) -> Run:
    return Run(
        system=system,
        scenario=SIZE.label,
        round=number,
        messages=100,
        seconds=seconds,
        accepted_seconds=seconds,
        cpu_seconds=0.2,
        other_load=0.0,
    )


def test_both_peers_are_judged_by_the_issues_figures():
    runs = [run("tidegate", 1, 1.0), run("rspamd", 1, 3.1), run("postfix", 1, 0.9)]
    judged = antivirus.judge(runs, [SIZE])
    assert [(peer, ratio.target, ratio.met) for peer, ratio in judged] == [
        ("rspamd", 3.0, True),
        ("postfix", 1.0, False),
    ]


def test_a_missed_target_is_named(capsys):
    runs = [run("tidegate", 1, 1.0), run("rspamd", 1, 2.0), run("postfix", 1, 1.5)]
    big = antivirus.Large(clamd_seconds=(1.0, 1.2), tidegate_seconds=(1.6, 1.9), memory_octets=0)
    direct = antivirus.latency.Latency(system="direct", arrival_ms=(1.0,), accepted_ms=(1.0,))
    missed = antivirus.show(runs, antivirus.judge(runs, [SIZE]), big, [direct])
    assert [line.split(":")[0] for line in missed] == ["8 KB", "25 MB attachment"]
    assert "8 KB: tidegate / postfix 1.50" in capsys.readouterr().out


def test_the_large_message_is_the_attachment_it_says():
    parsed = message_from_bytes(antivirus.message(bytes(range(256)) * 100), policy=policy.SMTP)
    assert not parsed.defects
    assert parsed.get_payload()[1].get_payload(decode=True) == bytes(range(256)) * 100


@pytest.mark.real
@pytest.mark.timeout(240)
@pytest.mark.skipif(bool(LACKING), reason="; ".join(LACKING) or "nothing is missing")
def test_the_whole_of_it_in_little(monkeypatch):
    """Twenty messages a run prove the path: each system refuses EICAR, and every other mail arrives."""
    monkeypatch.setattr(antivirus, "WARM_UP", 5)
    # Not below pytest's own folder: Postfix's user has to get there.
    with tempfile.TemporaryDirectory(prefix="av-bench-") as name, antivirus.Clamd(Path(name)) as clamd:
        Path(name).chmod(0o755)
        rspamd = antivirus.postfix_with_rspamd(clamd)

        class SoonRspamd(rspamd):
            """With a short list of top-level domains: it compiles the real one for 12 s."""

            def configure(self) -> None:
                super().configure()
                domains, file = self.folder / "domains", self.folder / "rspamd.conf"
                domains.write_text("com\ntest\n")
                file.write_text(file.read_text().replace("options {", f'options {{\n    url_tld = "{domains}";', 1))

        tidegate = antivirus.scanning_tidegate(clamd)

        class OneWorker(tidegate):
            """With half as much to start."""

            def configure(self) -> None:
                super().configure()
                file = self.folder / "tidegate.toml"
                file.write_text(file.read_text().replace("workers = 2", "workers = 1"))

        kinds = [OneWorker, SoonRspamd, Postfix]
        with antivirus.places(kinds, Path(name)) as found, Steps() as steps:
            for place in found[:2]:
                antivirus.refuses_viruses(place)
            with pytest.raises(antivirus.BenchmarkError, match="nothing is scanned"):
                antivirus.refuses_viruses(found[2])
            steps.announce(3)
            runs = antivirus.throughput(found, [SIZE], 1, steps)
    assert [each.system for each in runs] == ["tidegate", "rspamd", "postfix"]
    assert len(antivirus.judge(runs, [SIZE])) == 2
