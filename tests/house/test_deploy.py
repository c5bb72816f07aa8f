"""The examples beside the program: an administrator who copies one must not find it broken.

There is no container engine here, so the compose file is held to its structure, and to ``docker compose config`` where
that is installed.
"""

import ipaddress
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.conftest import ROOT

DEPLOY = ROOT / "gateway/deploy"
COMPOSE = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
UNIT = (DEPLOY / "tidegate.service").read_text(encoding="utf-8")
CONTAINER = tomllib.loads((DEPLOY / "container/tidegate.toml").read_text(encoding="utf-8"))


def block(text: str, key: str, indent: int = 0) -> str:
    """Return what stands below ``key`` at an indentation of YAML."""
    found = re.search(rf"^ {{{indent}}}{key}:.*\n((?:(?: {{{indent + 1},}}.*)?\n)*)", text, re.MULTILINE)
    assert found, f"{key} is missing"
    return found[1]


def keys(text: str, indent: int) -> list[str]:
    return re.findall(rf"^ {{{indent}}}([a-z_]+):", text, re.MULTILINE)


def mounts(service: str) -> Iterator[tuple[str, str]]:
    for line in re.findall(r"^ {6}- (.+)$", block(block(COMPOSE, "services"), service, 2), re.MULTILINE):
        if re.match(r"[\w./]+:/", line):
            source, target = line.split(":")[:2]
            yield source, target


def _run(program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program, 127 when it is not there (as a shell says)."""
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        return subprocess.CompletedProcess([program], 127, "", "")
    return subprocess.run([found, *arguments], capture_output=True, text=True, check=False)


def test_the_compose_file_has_a_gateway_a_scanner_and_a_resolver():
    assert keys(COMPOSE, 0) == ["name", "services", "networks", "volumes"]
    assert keys(block(COMPOSE, "services"), 2) == ["gateway", "clamav", "resolver"]
    gateway = block(block(COMPOSE, "services"), "gateway", 2)
    assert "read_only: true" in gateway
    assert "cap_drop: [ALL]" in gateway
    # Running transactions may take ten minutes; a shorter grace would cut them.
    assert "stop_grace_period: 11m" in gateway


def test_everything_the_compose_file_mounts_is_declared_or_there():
    declared = keys(block(COMPOSE, "volumes"), 2)
    for service in keys(block(COMPOSE, "services"), 2):
        for source, _ in mounts(service):
            assert source in declared or (DEPLOY / source).exists(), f"{service}: {source}"


def test_the_gateways_resolver_is_the_one_beside_it():
    resolver = block(block(COMPOSE, "services"), "resolver", 2)
    address = re.search(r"ipv4_address: (\S+)", resolver)[1]
    assert CONTAINER["dns"]["servers"] == [f"{address}:53"]
    network = re.search(r"subnet: (\S+)", COMPOSE)[1]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(network)
    assert f"access-control: {network} allow" in (DEPLOY / "unbound.conf").read_text(encoding="utf-8")


def test_the_ports_published_are_those_listened_on():
    published = re.search(r"ports: \[(.*)\]", COMPOSE)[1]
    inside = {mapping.strip(' "').rsplit(":", 1)[1] for mapping in published.split(",")}
    listened = {CONTAINER["listen"][0]["address"], CONTAINER["metrics"]["address"]}
    assert inside == {address.rsplit(":", 1)[1] for address in listened}
    exposed = re.search(r"^EXPOSE (.*)$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert inside == set(exposed.split())


def test_docker_compose_takes_the_file():
    if _run("docker", "compose", "version").returncode:
        pytest.skip("docker compose is not installed")
    done = _run("docker", "compose", "--file", str(DEPLOY / "compose.yaml"), "config", "--quiet")
    assert done.returncode == 0, done.stderr


@pytest.mark.real
def test_unbound_takes_its_configuration():
    done = _run("unbound-checkconf", str(DEPLOY / "unbound.conf"))
    if done.returncode == 127:
        pytest.skip("needs unbound-checkconf (Debian: unbound)")
    assert done.returncode == 0, done.stderr


# systemd.exec(5): without one of these a break-in reaches further than the mail.
HARDENING = (
    "NoNewPrivileges=true",
    "ProtectSystem=strict",
    "ProtectHome=true",
    "PrivateTmp=true",
    "PrivateDevices=true",
    "ProtectKernelModules=true",
    "ProtectKernelTunables=true",
    "RestrictNamespaces=true",
    "MemoryDenyWriteExecute=true",
    "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
    "SystemCallFilter=@system-service",
    "UMask=0077",
)


def test_the_unit_is_notified_drained_and_hardened():
    lines = UNIT.splitlines()
    assert "Type=notify" in lines
    assert "User=tidegate" in lines
    # The supervisor drains its workers itself; a signal to all of them would take them from under it.
    assert "KillMode=mixed" in lines
    # Longer than the drain of a worker, ten minutes.
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[1]) > 600
    for key in HARDENING:
        assert key in lines


@pytest.mark.real
def test_systemd_takes_the_unit(tmp_path: Path):
    unit = tmp_path / "tidegate.service"
    # The program must exist for the check; here it lies elsewhere.
    here = Path(sys.executable).with_name("python")
    unit.write_text(re.sub(r"/opt/tidegate/bin/tidegate", str(here), UNIT), encoding="utf-8")
    done = _run("systemd-analyze", "verify", "--man=no", str(unit))
    if done.returncode == 127:
        pytest.skip("needs systemd-analyze (Debian: systemd)")
    if "Failed to initialize manager" in done.stderr:
        pytest.skip(f"systemd-analyze cannot run here: {done.stderr.strip()}")
    assert (done.returncode, [line for line in done.stderr.splitlines() if "tidegate.service" in line]) == (0, [])
