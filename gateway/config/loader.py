"""``load``: ``tidegate.toml`` and its policies → one ``Snapshot``, or every problem at once (invariant 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gateway.config.abuse_desk import desk_policy
from gateway.config.complaint import read_model
from gateway.config.dmarc_reports import unsigned_reports
from gateway.config.embedded import embedded_source
from gateway.config.fields import Folder
from gateway.config.layers import Layer, Layered
from gateway.config.models import GatewayConfig
from gateway.config.policies import PolicyReader
from gateway.config.policy_files import PolicyFiles, read_policy_files
from gateway.config.problem import ConfigError, Problem
from gateway.config.recipient_list import ListReader
from gateway.config.snapshot import Snapshot, digest_of
from gateway.config.source import Disk, Files, Source, read_source
from gateway.config.suffixes import read_suffixes
from gateway.policy.catalogue import Catalogue

NAME = "tidegate.toml"
VARIABLE = "TIDEGATE_CONFIG"
SYSTEM_PATH = Path("/etc/tidegate") / NAME

# The built-in layer of the keys that are paths: written as in a file, so that they are resolved like one.
_PATHS = {name: str(GatewayConfig.model_fields[name].default) for name in ("data", "policies", "blocklists")}


def find_config(
    option: Path | None, environment: Mapping[str, str], folder: Path, system_path: Path = SYSTEM_PATH
) -> Path | None:
    """Return the file: ``--config``, ``TIDEGATE_CONFIG``, ``./tidegate.toml``, ``/etc``; None: the embedded default."""
    if option is not None:
        return option
    if environment.get(VARIABLE):
        return Path(environment[VARIABLE])
    return next((path for path in (folder / NAME, system_path) if path.exists()), None)


_DISK = Disk()


def load(path: Path | None, catalogue: Catalogue, files: Files = _DISK) -> Snapshot:
    """Return the snapshot of a configuration file, None: of the embedded default; raise ``ConfigError``.

    ``files`` is where the texts come from: the disk, or ``Kept`` those of an earlier snapshot.
    """
    if path is None:
        return load_embedded(Path(), catalogue, files)
    problems: list[Problem] = []
    return _snapshot(_main_source(path, files, problems), path, catalogue, files, problems)


def load_embedded(folder: Path, catalogue: Catalogue, files: Files = _DISK) -> Snapshot:
    """Return the snapshot of what runs without any file, with its data under ``folder/var``; raise ``ConfigError``."""
    return _snapshot(embedded_source(folder), None, catalogue, files, [])


def _main_source(path: Path, files: Files, problems: list[Problem]) -> Source:
    try:
        return read_source(path, files)
    except ConfigError as error:
        problems.extend(error.problems)
        # Nothing of it can be judged, but the policies where they usually are, so that all errors come at once.
        return Source(name=str(path), folder=path.parent, text="", data={})


def _snapshot(
    source: Source, path: Path | None, catalogue: Catalogue, files: Files, problems: list[Problem]
) -> Snapshot:
    layered = Layered((Layer(source=source),))
    # What was no TOML has been named already, and says nothing about its keys.
    config = None if problems else _config(layered, source, problems)
    policy_files = _policy_files(layered, source, files, problems)
    lists = ListReader(files)
    reader = PolicyReader(catalogue, source.folder, config.max_message if config else None, lists, problems)
    policies = reader.read(policy_files)
    if config is not None:
        complaints = read_suffixes(config, lists)
        problems.extend(layered.problem(complaint.path, complaint.text) for complaint in complaints)
    if config is not None and not problems:
        complaints = unsigned_reports(config.dmarc_reports, policies)
        problems.extend(layered.problem(complaint.path, complaint.text) for complaint in complaints)
    if problems or config is None:
        raise ConfigError(problems)
    contents = _contents((source, *policy_files.sources), lists.texts)
    return Snapshot(
        config=config,
        policies=replace(policies, desk=desk_policy(config.data)),
        digest=digest_of(contents),
        texts=MappingProxyType(dict(contents)),
        path=path,
        layered=layered,
    )


def _policy_files(layered: Layered, source: Source, files: Files, problems: list[Problem]) -> PolicyFiles:
    folder = source.folder / _policies(source.data)
    try:
        return read_policy_files(folder, files, problems)
    except OSError as error:
        if source.text:
            problems.append(layered.problem(("policies",), f"the folder {folder} cannot be read: {error.strerror}"))
        return PolicyFiles(None, ())


def _config(layered: Layered, source: Source, problems: list[Problem]) -> GatewayConfig | None:
    config = read_model(GatewayConfig, _PATHS | dict(source.data), Folder(source.folder))
    if isinstance(config, GatewayConfig):
        return config
    problems.extend(layered.problem(complaint.path, complaint.text) for complaint in config)
    return None


def _policies(data: Mapping[str, Any]) -> str:
    # The policies are read even when tidegate.toml is wrong, so that all errors come at once.
    written = data.get("policies")
    return written if isinstance(written, str) and "\0" not in written else _PATHS["policies"]


def _contents(sources: Sequence[Source], lists: Mapping[str, str]) -> list[tuple[str, str]]:
    return [*((source.name, source.text) for source in sources), *lists.items()]
