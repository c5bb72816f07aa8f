"""``[[rule]]`` tables → ``Rule`` values, or what is wrong with them and where.

Every mistake is found at once, each with the key path that leads to it and with what is allowed. A rule that could
never fire, or would fire on everything, is a mistake.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from gateway.policy.action import Action, Ground
from gateway.policy.rule import AllOf, Condition, Rule
from gateway.rules import units
from gateway.rules.complaint import Complaint, KeyPath, choices, shown
from gateway.rules.conditions import ConditionReader
from gateway.rules.vouching import AUTHORS, PATHS, claimed
from gateway.smtp.replies import POLICY_DEFER, POLICY_REJECT
from gateway.smtp.reply import EnhancedStatus, Reply

KEYS = (
    "name", "when", "score", "action", "reply", "ground", "stop", "enabled", "expires", "unauthenticated", "comment",
)  # fmt: skip
MAX_NAME_CHARACTERS = 100
# A reply line has 512 octets (RFC 5321 §4.5.3.1.5) with its code and the trace id.
MAX_REPLY_CHARACTERS = 400
# More than any sum of thresholds that makes sense.
MAX_SCORE = 1_000.0

# RFC 5321 §4.2.3: "service not available, closing transmission channel".
CLOSING = 421

_CODED = re.compile(r"(?P<code>[245]\d\d) +(?P<kind>[245])\.(?P<subject>\d{1,3})\.(?P<detail>\d{1,3}) +(?P<text>.+)")
_BARE_CODE = re.compile(r"[2-5]\d\d(?:[ -]|$)")
_REFUSALS: Mapping[Action, Reply] = {Action.REJECT: POLICY_REJECT, Action.DEFER: POLICY_DEFER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the tables stand in.

    ``list_text`` returns the text of an ``in_list`` FILE as written (the caller resolves its folder and notes it as a
    text of the snapshot); it raises ``OSError`` or ``ValueError``, whose message becomes the complaint. ``filters``
    maps each filter's name to its result words. ``place`` gives a rule's ``file:line`` from its path ``(index,)``.
    """

    list_text: Callable[[str], str]
    filters: Mapping[str, frozenset[str]]
    place: Callable[[KeyPath], str]


@dataclass(frozen=True, slots=True)
class Reading:
    """The rules of one list of tables; usable only when there is no complaint."""

    rules: tuple[Rule, ...]
    complaints: tuple[Complaint, ...]


def read_rules(tables: Any, surroundings: Surroundings) -> Reading:
    """Return the rules that a file's ``rule`` key holds; ``tables`` is its value as ``tomllib`` gave it."""
    if not isinstance(tables, list):
        return Reading((), (Complaint((), f"tables with the header [[rule]] are wanted, not {shown(tables)}"),))
    reader = _RuleReader(surroundings)
    rules = [reader.read(table, index) for index, table in enumerate(tables)]
    reader.check_names(tables)
    return Reading(tuple(rule for rule in rules if rule is not None), tuple(reader.complaints))


class _RuleReader:
    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.complaints: list[Complaint] = []

    def _complain(self, path: KeyPath, text: str) -> None:
        self.complaints.append(Complaint(path, text))

    def check_names(self, tables: list[Any]) -> None:
        """Complain of names given twice."""
        first: dict[str, int] = {}
        for index, table in enumerate(tables):
            name = table.get("name") if isinstance(table, Mapping) else None
            if isinstance(name, str) and first.setdefault(name, index) != index:
                self._complain((index, "name"), f"{shown(name)} is the name of rule {first[name] + 1} already")

    def read(self, table: Any, index: int) -> Rule | None:
        if not isinstance(table, Mapping):
            self._complain((index,), f"a table is wanted, not {shown(table)}")
            return None
        before = len(self.complaints)
        for key in table:
            if key not in KEYS:
                self._complain((index, key), f"unknown key{choices(key, KEYS)}")
        rule = self._rule(table, index)
        if len(self.complaints) == before:
            self.complaints += [Complaint((index, *c.path), c.text) for c in _contradictions(rule, self._surroundings)]
        return rule if len(self.complaints) == before else None

    def _rule(self, table: Mapping[str, Any], index: int) -> Rule:
        action = self._action(table, index)
        rule = Rule(
            name=self._name(table, index),
            when=self._when(table, index),
            score=self._score(table, index),
            action=action,
            reply=self._reply(table, index, action),
            ground=self._ground(table, index),
            stop=self._flag(table, index, "stop"),
            enabled=self._flag(table, index, "enabled", default=True),
            expires_utc=self._expires(table, index),
            unauthenticated=self._flag(table, index, "unauthenticated"),
            comment=self._comment(table, index),
        )
        return replace(rule, place=self._surroundings.place((index,)))

    def _name(self, table: Mapping[str, Any], index: int) -> str:
        name = table.get("name")
        if (
            isinstance(name, str)
            and name.strip() == name
            and 0 < len(name) <= MAX_NAME_CHARACTERS
            and name.isprintable()
        ):
            return name
        wanted = f"a name of 1 to {MAX_NAME_CHARACTERS} printable characters is wanted"
        self._complain((index, "name"), f"missing; {wanted}" if name is None else f"{wanted}, not {shown(name)}")
        return ""

    def _when(self, table: Mapping[str, Any], index: int) -> Condition:
        if "when" not in table:
            self._complain((index, "when"), "missing; the condition is wanted")
            return AllOf(())
        reader = ConditionReader(self._surroundings.list_text, self._surroundings.filters)
        condition = reader.read(table["when"], (index, "when"))
        self.complaints += reader.complaints
        return condition

    def _score(self, table: Mapping[str, Any], index: int) -> float:
        if "score" not in table:
            if "action" not in table:
                self._complain((index,), f"score or action is wanted; actions: {', '.join(a.word for a in Action)}")
            return 0.0
        score = table["score"]
        number = isinstance(score, int | float) and not isinstance(score, bool) and isfinite(score)
        if not number or abs(score) > MAX_SCORE or score == 0:
            text = f"a number from {-MAX_SCORE:g} to {MAX_SCORE:g} other than 0 is wanted, not {shown(score)}"
            self._complain((index, "score"), text)
            return 0.0
        if "action" in table:
            self._complain((index, "action"), "score and action exclude each other; one is wanted")
        return float(score)

    def _action(self, table: Mapping[str, Any], index: int) -> Action | None:
        word = table.get("action")
        actions = {action.word: action for action in Action}
        if word is not None and word not in actions:
            self._complain((index, "action"), f"no action: {shown(word)}{choices(str(word), actions)}")
        return actions.get(word) if isinstance(word, str) else None

    def _reply(self, table: Mapping[str, Any], index: int, action: Action | None) -> Reply | None:
        if "reply" not in table:
            return None
        text = table["reply"]
        if action is None or action not in _REFUSALS:
            self._complain((index, "reply"), 'a reply is given only with action = "reject" or "defer"')
        # RFC 5321 §4.2: textstring is printable ASCII; without SMTPUTF8 a reply can be nothing else.
        elif not isinstance(text, str) or not text.strip() or not (text.isascii() and text.isprintable()):
            self._complain((index, "reply"), f"a text of printable ASCII characters is wanted, not {shown(text)}")
        elif len(text) > MAX_REPLY_CHARACTERS:
            self._complain((index, "reply"), f"at most {MAX_REPLY_CHARACTERS} characters are allowed")
        else:
            return self._worded(text.strip(), _REFUSALS[action], (index, "reply"))
        return None

    def _worded(self, text: str, usual: Reply, path: KeyPath) -> Reply:
        coded = _CODED.fullmatch(text)
        if coded is None:
            if _BARE_CODE.match(text):
                self._complain(path, f'a code needs its enhanced code: "{usual.code} {usual.status} TEXT"')
            return usual.saying(text)
        if wrong := _wrong_codes(coded, usual):
            self._complain(path, wrong)
        status = EnhancedStatus(int(coded["kind"]), int(coded["subject"]), int(coded["detail"]))
        return Reply(int(coded["code"]), status, coded["text"])

    def _ground(self, table: Mapping[str, Any], index: int) -> Ground | None:
        word = table.get("ground")
        grounds = {ground.value: ground for ground in Ground}
        if word is not None and word not in grounds:
            self._complain((index, "ground"), f"no ground: {shown(word)}{choices(str(word), grounds)}")
        return grounds.get(word) if isinstance(word, str) else None

    def _flag(self, table: Mapping[str, Any], index: int, key: str, *, default: bool = False) -> bool:
        value = table.get(key, default)
        if not isinstance(value, bool):
            self._complain((index, key), f"true or false is wanted, not {shown(value)}")
        return value is True

    def _expires(self, table: Mapping[str, Any], index: int) -> float | None:
        if "expires" not in table:
            return None
        try:
            return units.instant(table["expires"])
        except ValueError as error:
            self._complain((index, "expires"), f"{error}, not {shown(table['expires'])}")
            return None

    def _comment(self, table: Mapping[str, Any], index: int) -> str:
        comment = table.get("comment", "")
        if not isinstance(comment, str):
            self._complain((index, "comment"), f"a text in quotes is wanted, not {shown(comment)}")
            return ""
        return comment


def _wrong_codes(coded: re.Match[str], usual: Reply) -> str:
    # RFC 3463 §2: the class of the enhanced code is the reply code's first digit.
    if not coded["code"][0] == coded["kind"] == str(usual.code)[0]:
        return f"codes {usual.code // 100}yz {usual.code // 100}.x.y are wanted for this action"
    # RFC 5321 §3.8: it would end the transaction of every other recipient too.
    return f"{CLOSING} closes the connection; 450 or 451 is wanted" if int(coded["code"]) == CLOSING else ""


def _contradictions(rule: Rule, surroundings: Surroundings) -> Iterator[Complaint]:
    if rule.action is Action.ACCEPT and not rule.stop:
        yield Complaint(("action",), "accept without stop = true changes nothing; both are wanted for an allow list")
    if rule.unauthenticated and not rule.is_allow:
        yield Complaint(("unauthenticated",), 'only for action = "accept" with stop = true')
    if rule.is_allow and not rule.unauthenticated:
        names = claimed(rule.when)
        for subjects, check in ((AUTHORS, "dmarc"), (PATHS, "spf")):
            if names & subjects and check not in surroundings.filters:
                subject = min(names & subjects)
                text = f"{subject} counts only with {check} = pass, and this version has no filter {check}; "
                yield Complaint(("when",), text + "unauthenticated = true trusts what nobody vouches for")
