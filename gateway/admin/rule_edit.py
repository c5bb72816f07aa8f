"""An operator's change to the custom rules: found, checked as a whole, and only then written (invariant 10).

``RuleEditor`` loads the configuration, changes one policy file's text (``gateway.config.rule_editing``), loads the
whole again with that text in the place of the file's, and writes the file only when everything holds: a command never
leaves a configuration that does not load. The file is replaced at once, with its mode, and not when somebody else has
changed it meanwhile. What serves goes on as it is until a reload.

``RefusedError`` says what is wrong with what was asked; ``ConfigError`` what would not load.
"""

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.admin.protocol import RefusedError
from gateway.config.difference import diff
from gateway.config.fields import mailbox_or_domain
from gateway.config.loader import load
from gateway.config.policy_files import DEFAULT_NAME
from gateway.config.rule_editing import (
    EditError,
    RuleSpot,
    spots,
    switched_off,
    switched_on,
    with_key,
    with_rule,
)
from gateway.config.source import Disk
from gateway.policy.catalogue import Catalogue
from gateway.smtp.address import Mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleChange:
    """What was written: the ``file``, the rule's ``name``, and each change as ``file:line key: old → new``."""

    operation: str
    name: str
    file: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """A table of a policy file: the file's own, or that of a mailbox as it is written there."""

    file: Path
    mailbox: str = ""


class RuleEditor:
    """Edits the policies of one configuration file."""

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        """Load what is there now; raise ``ConfigError``."""
        self._path = path
        self._catalogue = catalogue
        self._snapshot = load(path, catalogue)
        folder = self._snapshot.config.policies.resolve()
        # By the names that the load knows them by, relative ones included.
        texts = {Path(name): text for name, text in self._snapshot.texts.items()}
        self._files = {
            file: text for file, text in texts.items() if file.suffix == ".toml" and file.parent.resolve() == folder
        }
        default = next((file for file in self._files if file.stem == DEFAULT_NAME), None)
        self._default = default or next((file.parent for file in self._files), folder) / f"{DEFAULT_NAME}.toml"

    def add(self, name: str, where: str, keys: Mapping[str, Any], when: str) -> RuleChange:
        """Put a rule behind those of ``where``: ``default``, a policy file's name, a domain or a mailbox."""
        place = self._place(where)
        return self._change(
            "add", name, place.file, lambda text: with_rule(text, place.mailbox, {"name": name, **keys}, when)
        )

    def enable(self, name: str, where: str) -> RuleChange:
        """Let a rule count again: in itself, or (``where``) for those who switched it off."""
        if where:
            place = self._place(where)
            return self._change("enable", name, place.file, lambda text: switched_on(text, place.mailbox, name))
        return self._set("enable", name, "enabled", True)

    def disable(self, name: str, where: str) -> RuleChange:
        """Let a rule count no more: for everybody, or for ``where`` alone, which inherits it."""
        if where:
            place = self._place(where)
            return self._change("disable", name, place.file, lambda text: switched_off(text, place.mailbox, name))
        return self._set("disable", name, "enabled", False)

    def edit_score(self, name: str, score: float) -> RuleChange:
        """Give a rule another score; one with an action has none."""
        return self._set("edit-score", name, "score", score)

    def _set(self, operation: str, name: str, key: str, value: Any) -> RuleChange:
        file, spot = self._only_spot(name)
        return self._change(operation, name, file, lambda text: with_key(text, spot, key, value))

    def _only_spot(self, name: str) -> tuple[Path, RuleSpot]:
        found = [(file, spot) for file, text in self._files.items() for spot in spots(text, name)]
        if not found:
            raise RefusedError(f'no rule is called "{name}"; `tidegate rule list` has them all')
        if len(found) > 1:
            places = ", ".join(f"{file.name}{f' of {spot.mailbox}' if spot.mailbox else ''}" for file, spot in found)
            raise RefusedError(f'"{name}" is a rule of {places}; edit the one that is meant by hand')
        return found[0]

    def _place(self, where: str) -> _Place:
        if where == DEFAULT_NAME:
            return _Place(self._default)
        for file in self._files:
            if where in (file.name, file.stem) and file != self._default:
                return _Place(file)
        try:
            asked = mailbox_or_domain(where)
        except ValueError as error:
            raise RefusedError(f"{where}: {error}") from error
        for policy_file in self._snapshot.policies.files:
            if asked.domain in policy_file.policy.domains:
                return _Place(Path(policy_file.file), self._mailbox_as_written(policy_file.file, where, asked))
        raise RefusedError(f"no policy claims {asked.domain}; `tidegate policy list` has them all")

    def _mailbox_as_written(self, file: str, where: str, asked: Mailbox) -> str:
        if not asked.local_part:
            return ""
        layered = self._snapshot.policies.layers_of(asked)
        prefix = layered.layers[-1].prefix
        return str(prefix[-1]) if prefix and layered.layers[-1].source.name == file else where

    def _change(self, operation: str, name: str, file: Path, edit: Callable[[str], str]) -> RuleChange:
        before = self._files.get(file, "")
        try:
            after = edit(before)
        except EditError as error:
            raise RefusedError(f"{file}: {error}") from error
        with _sole_editor(self._default.parent):
            # Under the lock: what is checked beside this text must be what stands beside it afterwards.
            new = load(self._path, self._catalogue, _Edited(file, after))
            changes = diff(self._snapshot, new)
            replace_text(file, before, after)
        return RuleChange(operation=operation, name=name, file=str(file), changes=changes)


class _Edited(Disk):
    """The files as they are, but for one."""

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._text = text

    def text(self, path: Path) -> str:
        """Return a file's text; raise ``ConfigError``."""
        return self._text if path == self._file else super().text(path)

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder; raise ``OSError``."""
        names = super().names(folder)
        return names if folder != self._file.parent or self._file.name in names else [*names, self._file.name]


def replace_text(file: Path, before: str, after: str) -> None:
    """Give a file another text, whole or not at all; RefusedError when it is not ``before`` any more, or OSError.

    A link is followed, and its target replaced. The new file has the old one's mode, and its owner where that may be.
    """
    target = file.resolve()
    status = target.stat() if target.exists() else None
    if status is not None and target.read_bytes().decode("utf-8-sig") != before:
        raise RefusedError(f"{file} was changed by somebody else at this moment; try again")
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as written:
            written.write(after.encode())
            written.flush()
            os.fchmod(descriptor, status.st_mode & 0o7777 if status else 0o644)
            if status is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _sole_editor(folder: Path) -> Iterator[None]:
    """Have other commands wait: what one reads and checks, none replaces before it has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
