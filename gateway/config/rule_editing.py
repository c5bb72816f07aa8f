"""Changing the rules of a policy file in its text: comments, order and spelling of everything else stay.

Each function takes a file's text and returns the new one. What it makes is parsed again and must hold exactly the
change that was asked for and nothing else; ``EditError`` says so where it does not, or where there is nothing to
change, and the file is then to be edited by hand. A rule is put at the end of the file, with ``when`` as it was
written by whoever adds it.
"""

import copy
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

RULE, OFF, MAILBOX = "rule", "rules_off", "mailbox"
Data = dict[str, Any]


class EditError(ValueError):
    """The text cannot be changed as asked; the message says why."""


@dataclass(frozen=True, slots=True)
class RuleSpot:
    """Where a rule stands: in the table of ``mailbox`` (as written; "": the file's own), the ``index``-th there."""

    mailbox: str
    index: int


def spots(text: str, name: str) -> tuple[RuleSpot, ...]:
    """Return where rules called ``name`` stand in a policy file's text."""
    return tuple(
        RuleSpot(mailbox, index)
        for mailbox, table in _tables(tomllib.loads(text))
        for index, rule in enumerate(_list(table, RULE))
        if isinstance(rule, Mapping) and rule.get("name") == name
    )


def with_rule(text: str, mailbox: str, keys: Mapping[str, Any], when: str) -> str:
    """Return the text with one more rule; ``when`` is its condition as TOML, with or without the outer braces."""
    condition = when.strip() if when.strip().startswith("{") else f"{{ {when.strip()} }}"
    try:
        parsed = tomllib.loads(f"when = {condition}")
    except tomllib.TOMLDecodeError as error:
        raise EditError(f'the condition is no TOML: {error}; such as subject = {{ contains = "invoice" }}') from error
    # What is no single table would bring further keys, or rules, along.
    if parsed.keys() != {"when"} or not isinstance(parsed["when"], dict):
        raise EditError('the condition is one table, such as subject = { contains = "invoice" }')
    header = f"[[{RULE}]]" if not mailbox else f"[[{MAILBOX}.{tomlkit.item(mailbox).as_string()}.{RULE}]]"
    lines = [header, tomlkit.dumps(dict(keys)).rstrip("\n"), f"when = {condition}"]

    def change(data: Data) -> None:
        # TOML v1.0.0, "array of tables": a table made here is a new element of the array.
        table = data.setdefault(MAILBOX, {}).setdefault(mailbox, {}) if mailbox else data
        table.setdefault(RULE, []).append({**keys, "when": parsed["when"]})

    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    return _checked(text, f"{text}{gap}" + "\n".join(line for line in lines if line) + "\n", change)


def with_key(text: str, spot: RuleSpot, key: str, value: bool | float) -> str:  # noqa: FBT001 - a key's value
    """Return the text with one key of a rule set; EditError when it says so already, or has an action for a score."""

    def change(data: Any) -> None:
        table = data[MAILBOX][spot.mailbox] if spot.mailbox else data
        rule = table[RULE][spot.index]
        if key == "score" and "action" in rule:
            action = rule["action"]
            raise EditError(f'the rule has an action, "{action}", and so no score; edit the file by hand')
        rule[key] = value

    return _changed(text, change)


def switched_off(text: str, mailbox: str, name: str) -> str:
    """Return the text with an inherited rule switched off for the file, or for one mailbox of it."""

    def change(data: Any) -> None:
        table = _own_table(data, mailbox)
        if name in _list(table, OFF):
            raise EditError(f'"{name}" is switched off there already')
        table.setdefault(OFF, []).append(name)

    return _changed(text, change)


def switched_on(text: str, mailbox: str, name: str) -> str:
    """Return the text with an inherited rule no longer switched off for the file, or for one mailbox of it."""

    def change(data: Any) -> None:
        table = _own_table(data, mailbox)
        if name not in _list(table, OFF):
            raise EditError(f'"{name}" is not switched off there')
        table[OFF].remove(name)

    return _changed(text, change)


def _changed(text: str, change: Any) -> str:
    try:
        document = tomlkit.parse(text)
        change(document)
        return _checked(text, document.as_string(), change)
    except TOMLKitError as error:
        raise EditError(f"this file is written in a way that cannot be edited mechanically: {error}") from error


def _checked(before: str, after: str, change: Any) -> str:
    wanted = copy.deepcopy(tomllib.loads(before))
    change(wanted)
    try:
        made = tomllib.loads(after)
    except tomllib.TOMLDecodeError as error:
        raise EditError(f"this file is written in a way that cannot be edited mechanically: {error}") from error
    if made != wanted:
        raise EditError("this file is written in a way that cannot be edited mechanically; edit it by hand")
    if made == tomllib.loads(before):
        raise EditError("it says so already")
    return after


def _own_table(data: Any, mailbox: str) -> Any:
    if not mailbox:
        return data
    return data.setdefault(MAILBOX, {}).setdefault(mailbox, {})


def _tables(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "", data
    mailboxes = data.get(MAILBOX)
    for mailbox, table in mailboxes.items() if isinstance(mailboxes, Mapping) else ():
        if isinstance(table, Mapping):
            yield mailbox, table


def _list(table: Mapping[str, Any], key: str) -> list[Any]:
    found = table.get(key)
    return found if isinstance(found, list) else []
