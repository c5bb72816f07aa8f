"""A ``when`` table → a condition, or complaints with the key path of each thing that is wrong.

All keys of a table must hold. ``any`` and ``all`` are lists of tables, ``not`` is a table (or a list of which none may
hold). Every other key is a subject; its value is a table of operators, or short for one: a text, number, true or false
for ``is`` (for texts true and false ask ``exists``), a list for ``in``.

Several operators at one subject must hold for one and the same of its values, and so must those of all the
``attachment`` subjects in one table: one attachment that has the name and the size.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gateway.policy.rule import AllOf, AnyOf, Clause, Condition, NotOf, SameValue, Value
from gateway.rules import lists, soundness, units
from gateway.rules.complaint import Complaint, KeyPath, choices, shown
from gateway.rules.operators import OPERATORS, operators_of
from gateway.rules.subjects import ATTACHMENT, OPTIONAL_PARAMETER, SUBJECTS, TEXTS, Kind, Subject
from gateway.rules.values import address_key, domain_key, fold

COMBINATIONS = ("all", "any", "not")
# Nested deeper than anybody writes; TOML's own tables may nest further.
MAX_DEPTH = 20
# Values of one operator; longer lists belong in a file.
MAX_VALUES = 10_000
_HEADER_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~")
_PARTS = tuple(sorted(name.partition(".")[2] for name in SUBJECTS if name.startswith(ATTACHMENT + ".")))
_TOP = tuple(dict.fromkeys(name.partition(".")[0] for name in SUBJECTS))


class ConditionReader:
    """Reads conditions; what is wrong is added to ``complaints``, and what is returned is then not to be used."""

    def __init__(self, list_text: Callable[[str], str], filters: Mapping[str, frozenset[str]]) -> None:
        self._list_text = list_text
        self._filters = filters
        self.complaints: list[Complaint] = []

    def read(self, table: Any, path: KeyPath) -> Condition:
        """Return the condition of a ``when`` table at ``path``."""
        return self._table(table, path, MAX_DEPTH)

    def _complain(self, path: KeyPath, text: str) -> None:
        self.complaints.append(Complaint(path, text))

    def _table(self, table: Any, path: KeyPath, depth: int) -> Condition:
        parts: list[Condition] = []
        if not isinstance(table, Mapping):
            self._complain(
                path, f'a table such as {{ subject = {{ contains = "发票" }} }} is wanted, not {shown(table)}'
            )
        elif not table:
            self._complain(path, "an empty table holds for every message; at least one subject is wanted")
        elif depth == 0:
            self._complain(path, f"nested deeper than {MAX_DEPTH} tables")
        else:
            for key, value in table.items():
                parts.extend(self._key(key, value, (*path, key), depth - 1))
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _key(self, key: str, value: Any, path: KeyPath, depth: int) -> Iterator[Condition]:
        if key == "not":
            yield NotOf(
                AnyOf(self._list(value, path, depth)) if isinstance(value, list) else self._table(value, path, depth)
            )
        elif key in COMBINATIONS:
            parts = self._list(value, path, depth)
            yield AllOf(parts) if key == "all" else AnyOf(parts)
        elif key == ATTACHMENT and isinstance(value, Mapping):
            yield from self._attachment(value, path)
        else:
            yield from self._subject(key, value, path)

    def _list(self, value: Any, path: KeyPath, depth: int) -> tuple[Condition, ...]:
        if isinstance(value, Mapping):
            # One table is a list of one: any = { a, b } is a likely slip, and would mean all.
            self._complain(path, "a list of tables such as [ { … }, { … } ] is wanted")
            return ()
        if not isinstance(value, list) or not value:
            self._complain(path, f"a list of tables is wanted, with at least one, not {shown(value)}")
            return ()
        return tuple(self._table(part, (*path, index), depth) for index, part in enumerate(value))

    def _attachment(self, table: Mapping[str, Any], path: KeyPath) -> Iterator[Condition]:
        same: list[Clause] = []
        for key, value in table.items():
            name = f"{ATTACHMENT}.{key}"
            if name not in SUBJECTS:
                self._complain((*path, key), f"no subject{choices(key, _PARTS)}")
                continue
            for clause in self._clauses(SUBJECTS[name], name, value, (*path, key)):
                # How many there are, and whether there is one, is about the message, not about one attachment.
                if clause.operator == "exists" or key == "count":
                    yield clause
                else:
                    same.append(clause)
        if same:
            yield _same(same)

    def _subject(self, key: str, value: Any, path: KeyPath) -> Iterator[Condition]:
        for subject, name, inner, place in self._named(key, value, path):
            clauses = self._clauses(subject, name, inner, place)
            yield from (clause for clause in clauses if clause.operator == "exists")
            same = [clause for clause in clauses if clause.operator != "exists"]
            if same:
                yield _same(same)

    def _named(self, key: str, value: Any, path: KeyPath) -> Iterator[tuple[Subject, str, Any, KeyPath]]:
        """Yield each subject that a key stands for, with its canonical name, what is asked of it and where."""
        head, _, parameter = key.partition(".")
        subject = SUBJECTS.get(key) or SUBJECTS.get(head)
        if subject is None or (parameter and not subject.parameter and subject.name != key):
            self._complain(path, f"no subject{choices(key, (*_TOP, *COMBINATIONS))}")
        elif parameter and subject.parameter:
            yield from self._with_parameter(subject, parameter, value, path)
        elif subject.parameter and isinstance(value, Mapping) and not _is_operators(value):
            for inner, asked in value.items():
                yield from self._nested(subject, inner, asked, (*path, inner))
        elif subject.parameter and subject.name not in OPTIONAL_PARAMETER:
            self._complain(path, f"{subject.name}.{subject.parameter} is wanted, such as {_EXAMPLES[subject.name]}")
        else:
            yield from self._known(subject, subject.name, value, path)

    def _nested(
        self, subject: Subject, name: str, value: Any, path: KeyPath
    ) -> Iterator[tuple[Subject, str, Any, KeyPath]]:
        # An unquoted dnsbl.zen.example is a table in a table.
        if isinstance(value, Mapping) and value and not _is_operators(value):
            for inner, asked in value.items():
                yield from self._nested(subject, f"{name}.{inner}", asked, (*path, inner))
        else:
            yield from self._with_parameter(subject, name, value, path)

    def _with_parameter(
        self, subject: Subject, parameter: str, value: Any, path: KeyPath
    ) -> Iterator[tuple[Subject, str, Any, KeyPath]]:
        lower = parameter.lower()
        if subject.name.startswith("header") and not _HEADER_NAME.issuperset(lower):
            self._complain(path, f"{shown(parameter)} is no name of a header field (RFC 5322 §2.2)")
        elif subject.name == "filter" and lower not in self._filters:
            self._complain(path, f"no filter{choices(parameter, sorted(self._filters))}")
        else:
            yield from self._known(subject, f"{subject.name}.{lower}", value, path)

    def _known(
        self, subject: Subject, name: str, value: Any, path: KeyPath
    ) -> Iterator[tuple[Subject, str, Any, KeyPath]]:
        wanted = _FILTERS.get(subject.name)
        if wanted and self._filters.keys().isdisjoint(wanted):
            self._complain(path, f"asks for the filter {wanted[0]}, which this version does not have")
        else:
            yield subject, name, value, path

    def _clauses(self, subject: Subject, name: str, value: Any, path: KeyPath) -> list[Clause]:
        if isinstance(value, Mapping):
            if not value:
                self._complain(path, f"an operator is wanted; allowed: {', '.join(operators_of(subject))}")
            found = [self._clause(subject, name, key, asked, (*path, key)) for key, asked in value.items()]
        elif isinstance(value, list):
            found = [self._clause(subject, name, "between" if subject.kind is Kind.CLOCK else "in", value, path)]
        elif isinstance(value, bool) and subject.kind is not Kind.FLAG:
            found = [self._clause(subject, name, "exists", value, path)]
        else:
            found = [self._clause(subject, name, "is", value, path)]
        return [clause for clause in found if clause is not None]

    def _clause(self, subject: Subject, name: str, word: str, value: Any, path: KeyPath) -> Clause | None:
        allowed = operators_of(subject)
        if word not in allowed:
            hint = choices(word, allowed)
            self._complain(path, f"no operator for {subject.name}, which is {_article(subject.kind)}{hint}")
            return None
        if word == "exists":
            return self._valued(name, word, [value], path, units.flag)
        if word == "in_list":
            return self._in_list(subject, name, value, path)
        if word == "between":
            return self._range(subject, name, value, path)
        if isinstance(value, list) and OPERATORS[word].single:
            self._complain(path, "one value is wanted, no list")
            return None
        return self._valued(name, word, value, path, self._reader(subject, name, word))

    def _valued(self, name: str, word: str, value: Any, path: KeyPath, read: Callable[[Any], Value]) -> Clause | None:
        given = value if isinstance(value, list) else [value]
        found: list[Value] = []
        bad = len(self.complaints)
        if not given or len(given) > MAX_VALUES:
            self._complain(path, f"1 to {MAX_VALUES} values are wanted; longer lists belong in a file (in_list)")
        for index, one in enumerate(given):
            # A value that stands alone has its operator's path.
            here = (*path, index) if isinstance(value, list) and word != "exists" else path
            try:
                found.append(read(one))
            except ValueError as error:
                self._complain(here, f"{error}, not {shown(one)}" if _echoes(error) else str(error))
        return Clause(subject=name, operator=word, values=tuple(found)) if len(self.complaints) == bad else None

    def _range(self, subject: Subject, name: str, value: Any, path: KeyPath) -> Clause | None:
        clause = self._valued(name, "between", value, path, _UNITS[subject.kind])
        ends = clause.values if clause else ()
        if clause is None or len(ends) != 2:  # noqa: PLR2004 - both ends
            if clause is not None:
                self._complain(path, "two values are wanted, the first and the last")
            return None
        if (
            subject.kind is not Kind.CLOCK
            and isinstance(ends[0], float)
            and isinstance(ends[1], float)
            and ends[0] > ends[1]
        ):
            self._complain(path, "the first value must not be more than the last: nothing would be between them")
            return None
        return clause

    def _in_list(self, subject: Subject, name: str, value: Any, path: KeyPath) -> Clause | None:
        if not isinstance(value, str) or not value:
            self._complain(path, f"the name of a file is wanted, not {shown(value)}")
            return None
        try:
            found = lists.entries(self._list_text(value), self._reader(subject, name, "in"))
        except lists.ListError as error:
            self._complain(path, f"{value}: {error}")
        except (OSError, ValueError) as error:
            self._complain(path, f"cannot be read: {error}")
        else:
            return Clause(subject=name, operator="in_list", values=found, source=value)
        return None

    def _reader(self, subject: Subject, name: str, word: str) -> Callable[[Any], Value]:
        if subject.kind not in TEXTS:
            return _UNITS[subject.kind]
        if word == "matches":
            return _pattern
        if word == "raw_matches":
            return _raw_pattern
        if word in {"is", "in"} and subject.kind is not Kind.TEXT:
            check = address_key if subject.kind is Kind.ADDRESS else domain_key
            return lambda value: _looked_up(value, check)
        filters = _FILTERS.get(subject.name) or (name.partition(".")[2],) * (subject.name == "filter")
        return self._result(subject, filters) if filters and word in {"is", "in"} else _literal

    def _result(self, subject: Subject, filters: tuple[str, ...]) -> Callable[[Any], Value]:
        words = sorted(set().union(*(self._filters.get(name, frozenset()) for name in filters)))

        def read(value: Any) -> Value:
            text = _literal(value)
            # A list's codes stand beside its results.
            if text not in words and subject.name != "dnsbl":
                raise ValueError(f"a result the filter never gives{choices(text, words)}")
            return text

        return read


# Subject → the names that the filter behind it may have.
_FILTERS: Mapping[str, tuple[str, ...]] = {
    "spf": ("spf",),
    "dkim": ("dkim",),
    "dmarc": ("dmarc",),
    "virus": ("virus", "antivirus"),
    "dnsbl": ("dnsbl",),
}
_EXAMPLES = {"header": "header.List-Id", "filter": "filter.helo"}
_UNITS: Mapping[Kind, Callable[[Any], Value]] = {
    Kind.COUNT: units.number,
    Kind.SIZE: units.size,
    Kind.SPAN: units.span,
    Kind.CLOCK: units.clock,
    Kind.NETWORK: units.network,
    Kind.FLAG: units.flag,
}


def _same(clauses: list[Clause]) -> Condition:
    return clauses[0] if len(clauses) == 1 else SameValue(tuple(clauses))


def _is_operators(table: Mapping[str, Any]) -> bool:
    return any(key in OPERATORS for key in table)


def _article(kind: Kind) -> str:
    return kind.value if kind is Kind.FLAG else f"{'an' if kind.value[0] in 'aI' else 'a'} {kind.value}"


def _echoes(error: ValueError) -> bool:
    return "wanted" in str(error)


def _literal(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text in quotes is wanted")  # noqa: TRY004 - complaints are ValueErrors
    if not fold(value):
        raise ValueError('a text with a visible character is wanted; "exists" asks whether there is any text')
    return value


def _looked_up(value: Any, check: Callable[[str], str]) -> str:
    text = _literal(value)
    check(text)
    return text


def _pattern(value: Any) -> str:
    source = _source(value)
    written = soundness.as_shown(source)
    wrong = soundness.complaint(written, octets=False)
    if wrong:
        raise ValueError(wrong)
    return written


def _raw_pattern(value: Any) -> str:
    source = _source(value)
    wrong = soundness.complaint(source, octets=True)
    if wrong:
        raise ValueError(wrong)
    return source


def _source(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a pattern in quotes is wanted")  # noqa: TRY004 - complaints are ValueErrors
    return value
