"""The policies folder: which files there are, and each file's layers over ``default.toml``.

``default.toml`` is what every policy starts from and claims no domain; every other ``*.toml`` is the policy of the
domains it names. Files whose name begins with a dot are an editor's and are passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.config.layers import Layer, Layered
from gateway.config.problem import ConfigError, Problem
from gateway.config.source import Files, Source, read_source

DEFAULT_NAME = "default"
# Not part of the merged policy: rules add to those below them (rule_layers), a mailbox's table is a layer of its own.
RULES = frozenset({"rule"})
MAILBOX = frozenset({"mailbox"}) | RULES
# What default.toml cannot say for others, and what a policy says once for all its mailboxes.
PER_FILE = frozenset({"domains", "mailbox"}) | RULES
PER_POLICY = frozenset({"customer", "domains", "incidents", "mailbox", "next_hop_owner", "signing"}) | RULES


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """``default`` is None when the folder has no ``default.toml``."""

    default: Source | None
    others: tuple[Source, ...]

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every file, ``default.toml`` first."""
        return (*((self.default,) if self.default else ()), *self.others)


def read_policy_files(folder: Path, files: Files, problems: list[Problem]) -> PolicyFiles:
    """Return the files of a folder that could be read; what is wrong with the others is added to ``problems``.

    OSError when the folder cannot be read.
    """
    default: Source | None = None
    others: list[Source] = []
    for path in _paths(folder, files):
        try:
            source = read_source(path, files)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        if path.stem == DEFAULT_NAME:
            default = source
        else:
            others.append(source)
    return PolicyFiles(default, tuple(others))


def default_layers(files: PolicyFiles) -> Layered:
    """Return the layers of the default policy."""
    return Layered((Layer(source=files.default, apart=PER_FILE),) if files.default else ())


def domain_layers(files: PolicyFiles, source: Source) -> Layered:
    """Return the layers of a policy file."""
    return Layered((*default_layers(files).layers, Layer(source=source, apart=MAILBOX)))


def inherited_layers(domain: Layered) -> Layered:
    """Return the part of a policy's layers that its mailboxes start from and may change."""
    return Layered(tuple(replace(layer, apart=PER_POLICY) for layer in domain.layers))


def mailbox_layers(domain: Layered, source: Source, mailbox: str) -> Layered:
    """Return the layers of a file's ``[mailbox."…"]`` table."""
    return Layered((*domain.layers, Layer(source=source, prefix=("mailbox", mailbox), apart=RULES)))


def _paths(folder: Path, files: Files) -> Iterator[Path]:
    for name in sorted(files.names(folder)):
        if name.endswith(".toml") and not name.startswith("."):
            yield folder / name
