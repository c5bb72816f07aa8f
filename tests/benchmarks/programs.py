"""What must be on the machine before anything is measured. Nothing is installed; what is missing is named."""

import grp
import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable

# Distributions keep daemons off an ordinary user's PATH.
SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/usr/libexec/postfix"))
HOW_TO_GET = """Debian, Ubuntu: apt-get install --no-install-recommends postfix  (choose "No configuration")
Fedora, RHEL:   dnf install postfix postfix-perl-scripts
Alpine:         apk add postfix
Arch:           pacman -S postfix"""


def find(program: str) -> str:
    """Path of a program that :func:`missing` has found before."""
    return shutil.which(program, path=SEARCH) or program


def postfix_setting(name: str) -> str:
    """One built-in default of the installed Postfix, for example where its daemons are."""
    command = [find("postconf"), "-dhx", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def missing(programs: Iterable[str]) -> list[str]:
    """Say, a line each, which of the programs are not here."""
    return [f"{program}: not found" for program in programs if shutil.which(program, path=SEARCH) is None]


def postfix_obstacles() -> list[str]:
    """Say why a Postfix instance cannot be started here; empty when it can."""
    obstacles = missing(("postfix", "postconf"))
    if obstacles:
        return obstacles
    if os.geteuid() != 0:
        obstacles.append(
            "postfix: its master process starts only as root; run this with sudo (an own instance, thrown away after)"
        )
    for setting, look_up in (("mail_owner", pwd.getpwnam), ("setgid_group", grp.getgrnam)):
        name = postfix_setting(setting)
        try:
            look_up(name)
        except KeyError:
            obstacles.append(f"postfix: the system has no {setting} {name!r}; Postfix's package creates it")
    return obstacles


def package_obstacles(package: str, why: str) -> list[str]:
    """Say that a Python package is missing and what it is wanted for."""
    if importlib.util.find_spec(package):
        return []
    return [f"{package}: Python package not found, wanted for {why}; pip install '.[test]' in the project"]
