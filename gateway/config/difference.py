"""What a reload changes, in lines for people, and which of it waits for a restart."""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.config.flat import config_table, leaves, policy_table
from gateway.config.layers import BUILT_IN, Layer, Layered
from gateway.config.policy_set import PolicyFile, PolicySet
from gateway.config.problem import Path, dotted
from gateway.config.render import toml_value
from gateway.config.rule_difference import rule_changes
from gateway.config.snapshot import Snapshot
from gateway.policy.domain_policy import DomainPolicy, RecipientCheck

# Sockets are bound, processes started and folders opened once, before anybody drops root.
RESTART: tuple[Path, ...] = (("listen",), ("data",), ("workers",), ("metrics", "address"))

NOT_SET = "not set"

Leaves = Mapping[Path, Any]


def diff(old: Snapshot, new: Snapshot) -> tuple[str, ...]:
    """Return one line a change, ``file:line key: old → new``; a change that many policies inherit is one line."""
    lines = [*_changes(_config_leaves(old), _config_leaves(new), old.layered, new.layered)]
    before, after = old.policies, new.policies
    lines += _policy_changes(before.default, after.default, before.default_layered, after.default_layered)
    lines += _file_changes(before, after)
    lines += rule_changes(before, after)
    # Every policy inherits default.toml, and repeats what changed there.
    return tuple(dict.fromkeys(lines))


def needs_restart(old: Snapshot, new: Snapshot) -> tuple[str, ...]:
    """Return the keys whose new value waits for a restart: ``listen``, ``data``, ``workers``, ``metrics.address``."""
    before, after = config_table(old.config), config_table(new.config)
    return tuple(dotted(path) for path in RESTART if _value(before, path) != _value(after, path))


def _value(table: Any, path: Path) -> Any:
    for part in path:
        table = table[part]
    return table


def _config_leaves(snapshot: Snapshot) -> Leaves:
    return dict(leaves(config_table(snapshot.config)))


def _file_changes(old: PolicySet, new: PolicySet) -> Iterator[str]:
    before, after = _by_name(old), _by_name(new)
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if now is None and was is not None:
            yield f"{was.file}: removed, with its domains {', '.join(was.policy.domains)}"
        elif was is None and now is not None:
            yield f"{now.file}: added, for {', '.join(now.policy.domains)}"
        elif was is not None and now is not None:
            yield from _policy_changes(was.policy, now.policy, was.layered, now.layered)
            yield from _mailbox_changes(was, now)


def _by_name(policies: PolicySet) -> dict[str, PolicyFile]:
    return {file.policy.name: file for file in policies.files}


def _mailbox_changes(old: PolicyFile, new: PolicyFile) -> Iterator[str]:
    for key in sorted(old.mailboxes.keys() | new.mailboxes.keys()):
        was, layered_was = old.mailboxes.get(key, (old.policy, old.layered))
        now, layered_now = new.mailboxes.get(key, (new.policy, new.layered))
        yield from _policy_changes(was, now, layered_was, layered_now)


def _policy_changes(old: DomainPolicy, new: DomainPolicy, layered_old: Layered, layered_new: Layered) -> Iterator[str]:
    if old == new:
        return
    yield from _changes(dict(leaves(policy_table(old))), dict(leaves(policy_table(new))), layered_old, layered_new)
    yield from _list_change(old.recipients, new.recipients)


def _list_change(old: RecipientCheck, new: RecipientCheck) -> Iterator[str]:
    if old.source == new.source and old.addresses != new.addresses:
        added, removed = len(new.addresses - old.addresses), len(old.addresses - new.addresses)
        yield f"{new.source}: {added} addresses added, {removed} removed"


def _changes(old: Leaves, new: Leaves, layered_old: Layered, layered_new: Layered) -> Iterator[str]:
    for path in (*new, *(path for path in old if path not in new)):
        was, now = old.get(path, NOT_SET), new.get(path, NOT_SET)
        if was != now:
            place, fallen_back_to = _place(path, layered_old, layered_new)
            yield f"{place}: {_shown(was)} → {_shown(now)}{fallen_back_to}"


def _place(path: Path, old: Layered, new: Layered) -> tuple[str, str]:
    """Return where the change was made: the key as written now, or where it was taken out, and what holds instead."""
    was, now = old.setter(path), new.setter(path)
    if was is not None and not _still_says(was, path, new):
        return f"{was.source.name} {dotted(was.prefix + path)}", f" ({new.origin(path)})"
    if now is None:
        return f"{BUILT_IN} {dotted(path)}", ""
    return f"{now.origin(path)} {dotted(now.prefix + path)}", ""


def _still_says(was: Layer, path: Path, new: Layered) -> bool:
    place = (was.source.name, was.prefix)
    return any((layer.source.name, layer.prefix) == place and layer.has(path) for layer in new.layers)


def _shown(value: Any) -> str:
    return value if value is NOT_SET else toml_value(value)
