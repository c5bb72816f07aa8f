"""The whole pipeline: Tidegate and Postfix with rspamd's milter, with all they ship, before one clamd and one DNS.

    python tests/benchmarks/filtering.py                    about five minutes
    python tests/benchmarks/filtering.py --rounds 1 --scale 0.1  a quick look

One mail as newsletters are (plain text, HTML, links, signed with RSA-2048; at 90 KB with a picture), sent again and
again; it passes SPF, DKIM and DMARC. Tidegate has its default filters, 300 custom rules, six lists in the DNS, and
clamd; its cache of results is off, since it would scan the mail once. rspamd is Debian's with all its modules and their
rules; those that need Redis (statistics, greylisting, limits, history) switch themselves off. Before anything is
measured, each must refuse EICAR and say of the mail that SPF, DKIM and DMARC pass. Beside them Postfix without any
filter; runs interleaved.

Judged: Tidegate's messages a second are at least three times those of Postfix with rspamd.

It runs in a network namespace of its own, where connections to 127.0.0.1 come from 192.0.2.25: nobody authenticates
what his own machine sends. Needs root, clamd, rspamd, unbound and Postfix; installs nothing and touches no installed
service. Exit: 0 target met, 1 missed, 69 something is missing here, 70 a system failed.
"""

import argparse
import asyncio
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import antivirus
from antivirus import FAILED, OK, TARGET_MISSED, UNAVAILABLE, Clamd, places, refuses_viruses
from load import BenchmarkError, free_port
from places import RECIPIENT, Place, deliver
from programs import find, missing
from progress import Steps
from rule_workload import mails, rules
from senderauth_peer import unbound
from systems import LIVE_DOMAIN, PROJECT, Postfix, System
from throughput import Run, Scenario, ratios, summarise

from gateway.mail.content import Content
from gateway.policy.signing import SigningKey, generate_key, read_signing_key
from gateway.senderauth.dkim.canonical import SignedMessage
from gateway.senderauth.dkim.signing import sign_dkim

HOW_TO_GET = "Debian, Ubuntu: apt-get install --no-install-recommends postfix clamav-daemon rspamd unbound"
TIMES_RSPAMD = 3.0
AUTHOR = "client.bench.test"
CLIENT = "192.0.2.25"
NETWORK = f"""
ip link set lo up
ip address add {CLIENT}/32 dev lo
ip route replace table local local 127.0.0.1 dev lo src {CLIENT}
exec "$@"
"""
# Set for the program that runs in the namespace.
INSIDE = "TIDEGATE_BENCHMARK_NETWORK"
RULES = 300
TEXT_OCTETS = 7500
PICTURE_OCTETS = 60 * 1024
SIZES = (("8 KB", 0, 2000), ("90 KB", PICTURE_OCTETS, 1000))
VERDICT_SECONDS = 30.0
ADDRESS_ZONES = ("zen.lists.test", "bl.lists.test", "white.lists.test")
NAME_ZONES = ("names.lists.test", "uri.lists.test", "hosts.lists.test")
LISTS = """
[filters]
dnsbl.lists = [{ zone = "zen.lists.test", score = 3.0 }, { zone = "bl.lists.test", score = 3.0 },
    { zone = "white.lists.test", score = -1.0 }]
rhsbl.lists = [{ zone = "names.lists.test", score = 3.0, of = ["helo", "reverse-path"] }]
uribl.lists = [{ zone = "uri.lists.test", score = 3.0 }, { zone = "hosts.lists.test", score = 3.0 }]
"""
DMARC_PASSES = ("R_SPF_ALLOW", "R_DKIM_ALLOW", "DMARC_POLICY_ALLOW")


# The mail and its author's records ------------------------------------------------------------------------------------


def newsletter(key: SigningKey, picture_octets: int) -> bytes:
    """Return a signed mail, line ends CRLF, with a picture of so many octets."""
    _, _, body = mails(TEXT_OCTETS, 1)[0].partition(b"\r\n\r\n")
    boundary = body.split(b"\r\n", 1)[0].removeprefix(b"--").decode()
    kind = f'multipart/alternative; boundary="{boundary}"'
    if picture_octets:
        picture = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + random.Random(1).randbytes(picture_octets)  # noqa: S311 - reproducible, nothing secret
        encoded = base64.encodebytes(picture).replace(b"\n", b"\r\n")
        body = (
            b"--mixed\r\nContent-Type: %b\r\n\r\n%b\r\n--mixed\r\nContent-Type: image/jpeg\r\n"
            b'Content-Disposition: attachment; filename="picture.jpg"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
            b"%b\r\n--mixed--\r\n" % (kind.encode(), body, encoded)
        )
        kind = 'multipart/mixed; boundary="mixed"'
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime())
    head = (
        f"From: News <sender@{AUTHOR}>\r\nTo: <{RECIPIENT}>\r\nSubject: Our catalogue for the season\r\n"
        f"Date: {date}\r\nMessage-ID: <1.{picture_octets}@{AUTHOR}>\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\nList-Unsubscribe: <https://{AUTHOR}/u/1>\r\n\r\n"
    )
    octets = head.encode() + body
    return asyncio.run(sign_dkim(SignedMessage.of(Content(octets)), key, int(time.time()))) + octets


def records(key: SigningKey) -> Mapping[tuple[str, str], str]:
    """Return what the DNS says of the author; of every other name it says that it does not exist."""
    # RFC 5782 §5: the entries by which a list shows that it works.
    tests = [f"2.0.0.127.{zone}" for zone in ADDRESS_ZONES] + [f"test.{zone}" for zone in NAME_ZONES]
    return {(name, "A"): "127.0.0.2" for name in tests} | {
        (AUTHOR, "A"): CLIENT,
        (AUTHOR, "MX"): f"10 {AUTHOR}.",
        (AUTHOR, "TXT"): f"v=spf1 ip4:{CLIENT} -all",
        (f"_dmarc.{AUTHOR}", "TXT"): "v=DMARC1; p=reject",
        (ip_address(CLIENT).reverse_pointer, "PTR"): AUTHOR,
        (f"s1._domainkey.{AUTHOR}", "TXT"): key.record,
    }


# The systems ----------------------------------------------------------------------------------------------------------


def filtering_tidegate(clamd: Clamd, dns_port: int) -> type[System]:
    """Return Tidegate with its default filters, rules, lists and this clamd."""

    scanning: Any = antivirus.scanning_tidegate(clamd)

    class FilteringTidegate(scanning):  # type: ignore[misc]  # a class that is made
        """What the relay's benchmark switches off is on."""

        def configure(self) -> None:
            super().configure()
            with (self.folder / "tidegate.toml").open("a") as file:
                file.write(f'\n[dns]\nservers = ["127.0.0.1:{dns_port}"]\n')
                # As all clients of this machine are in the other benchmarks.
                file.write(f'[limits]\nexempt = ["{CLIENT}"]\n')
            policy = self.folder / "policies" / f"{LIVE_DOMAIN}.toml"
            text, _, _ = policy.read_text().partition("# Two relays are compared")
            policy.write_text(text + '[antivirus]\nmode = "reject"\n' + LISTS + rules(RULES))

    made: type[System] = FilteringTidegate
    return made


def postfix_with_all_of_rspamd(clamd: Clamd, dns_port: int) -> type[System]:
    """Return Postfix whose milter is an rspamd with all its modules."""
    return antivirus.postfix_with_rspamd(clamd, "rspamd/pipeline.conf", DNS_PORT=dns_port)


def authenticates(place: Place, mail: Path) -> None:
    """Send the mail once; a system that does not see that it is authentic leaves out work: no fair figure."""
    deliver(place, 1, 0, mail)
    said = _said_by_tidegate if place.name == "tidegate" else _said_by_rspamd
    deadline = time.monotonic() + VERDICT_SECONDS
    while lacking := said(place):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{place.name} does not say of the mail: {', '.join(lacking)}")
        time.sleep(0.2)


def _said_by_rspamd(place: Place) -> list[str]:
    text = (_folder(place) / "rspamd/log").read_text(errors="replace")
    return [word for word in DMARC_PASSES if word not in text]


def _said_by_tidegate(place: Place) -> list[str]:
    command = [sys.executable, "-m", "gateway", "trace", RECIPIENT, "--config", str(_folder(place) / "tidegate.toml")]
    text = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True).stdout
    return [word for word in ("spf=pass", "dkim=pass", "dmarc=pass") if word not in text.replace(" ", "=")]


def _folder(place: Place) -> Path:
    if place.system is None:
        raise BenchmarkError("no system to ask")
    return place.system.folder


# Running and judging --------------------------------------------------------------------------------------------------


def scenarios(folder: Path, key: SigningKey, scale: float) -> list[Scenario]:
    """Write the mails into ``folder``, line ends LF as smtp-source takes them."""
    found = []
    for label, picture, messages in SIZES:
        octets = newsletter(key, picture)
        mail = folder / f"{picture}.eml"
        mail.write_bytes(octets.replace(b"\r\n", b"\n"))
        count = max(20, round(messages * scale))
        found.append(Scenario(label=label, octets=len(octets), messages=count, target=TIMES_RSPAMD, mail=mail))
    return found


def run(chosen: argparse.Namespace, data: Path, steps: Steps) -> tuple[list[Run], list[str]]:
    """Measure and print; return the runs and the targets missed."""
    key = read_signing_key(generate_key("rsa"), AUTHOR, "s1")
    sizes = scenarios(data, key, chosen.scale)
    dns_port = free_port()
    (data / "systems").mkdir(mode=0o755)
    with Clamd(data) as clamd, unbound(data, dns_port, records(key)):
        kinds: Sequence[type[System]] = (
            filtering_tidegate(clamd, dns_port),
            postfix_with_all_of_rspamd(clamd, dns_port),
            Postfix,
        )
        steps.announce(len(sizes) * chosen.rounds * len(kinds))
        with places(kinds, data / "systems") as found:
            for place in found[:2]:
                refuses_viruses(place)
                authenticates(place, _mail_of(sizes[0]))
            runs = antivirus.throughput(found, sizes, chosen.rounds, steps)
    return runs, show(runs, sizes)


def _mail_of(scenario: Scenario) -> Path:
    if scenario.mail is None:
        raise BenchmarkError("the scenario has no mail")
    return scenario.mail


def show(runs: Sequence[Run], sizes: Sequence[Scenario]) -> list[str]:
    """Print every figure and return the targets missed."""
    for summary in summarise(runs):
        print(
            f"{summary.scenario:>6}  {summary.system:<9}{summary.rate:7.0f} messages/s"
            f"  ({summary.rate_low:.0f} to {summary.rate_high:.0f}), {summary.cpu_ms:.2f} ms CPU each"
        )
    missed = []
    for peer in ("rspamd", "postfix"):
        for ratio in ratios(runs, sizes, "tidegate", peer):
            line = f"{ratio.scenario}: tidegate / {peer} {ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
            judged = peer == "rspamd"
            print(line + (f", target {ratio.target:g}" if judged else ""))
            missed += [line] if judged and not ratio.met else []
    return missed


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="interleaved runs of each system and size")
    parser.add_argument("--scale", type=float, default=1.0, metavar="X", help="multiply the messages of a run")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder on the disk to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="every run")
    return parser.parse_args(words)


def main() -> int:
    """Check, measure, print, judge."""
    chosen = arguments()
    if lacking := [*antivirus.obstacles(), *missing(("unbound", "unshare", "ip"))]:
        print("Cannot measure here:", *lacking, "", HOW_TO_GET, sep="\n", file=sys.stderr)
        return UNAVAILABLE
    if INSIDE not in os.environ:
        command = [find("unshare"), "--net", "sh", "-ec", NETWORK, "sh", sys.executable, *sys.argv]
        return subprocess.run(command, env=os.environ | {INSIDE: CLIENT}, check=False).returncode
    try:
        with tempfile.TemporaryDirectory(prefix="filtering-", dir=chosen.data) as folder, Steps() as steps:
            Path(folder).chmod(0o755)
            runs, missed = run(chosen, Path(folder), steps)
    except BenchmarkError as error:
        print(f"failed: {error}", file=sys.stderr)
        return FAILED
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(each) for each in runs], indent=1, default=str))
    for line in missed:
        print(f"missed: {line}", file=sys.stderr)
    return TARGET_MISSED if missed else OK


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    sys.exit(main())
