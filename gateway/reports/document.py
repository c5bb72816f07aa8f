"""An evaluation as lines and tables in one language: what every renderer sets, word for word."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil

from gateway.reports.words import WORDS, Language
from gateway.servicelevel.deadline import DeadlineState
from gateway.servicelevel.evaluation import Evaluation
from gateway.servicelevel.figures import MICRO
from gateway.servicelevel.month import shown
from gateway.servicelevel.result import ClauseResult, Credit, Outcome
from gateway.servicelevel.sample import RECEIVE, SEND
from gateway.servicelevel.summary import STATIONS, DaySummary

DIRECTIONS = (SEND, RECEIVE)
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# What was excluded automatically, the longest first; a report is read by people.
MOST_CAUSES = 50
_SIGNS = {"<=": "≤", ">=": "≥", "<": "<", "": ""}
_DEFINITIONS = ("send", "receive", "excluded", "minute", "quantile", "month", "no-data")


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table; ``marks`` are the rows' outcomes, for colour."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """A report's content: ``facts`` at its head, remarks, tables, definitions."""

    language: Language
    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...]
    tables: tuple[Table, ...]
    definitions: tuple[str, ...]


def document(evaluation: Evaluation, language: Language) -> Document:
    """Return the content of a report."""
    return _Writer(evaluation, WORDS[language], language).document()


class _Writer:
    def __init__(self, evaluation: Evaluation, words: Mapping[str, str], language: Language) -> None:
        self._evaluation, self._words, self._language = evaluation, words, language

    def document(self) -> Document:
        words = self._words
        tables = (
            self._clauses(),
            self._waiting(),
            self._exclusions(),
            self._faults(),
            self._adjustments(),
            self._deadlines(),
            self._stations(),
            self._apart(),
        )
        return Document(
            language=self._language,
            title=f"{words['title']} · {self._evaluation.customer} · {self._evaluation.month}",
            subtitle=words["subtitle"],
            facts=tuple(self._facts()),
            remarks=tuple(self._remarks()),
            tables=tuple(table for table in tables if table.rows),
            definitions=tuple(words[f"definition-{name}"] for name in _DEFINITIONS),
        )

    def _facts(self) -> Iterator[tuple[str, str]]:
        evaluation, words = self._evaluation, self._words
        start, end = evaluation.span
        yield words["customer"], evaluation.customer
        yield words["month"], str(evaluation.month)
        yield words["zone"], evaluation.month.zone
        yield words["period"], f"{self._time(start)} \N{EN DASH} {self._time(end)}"
        yield words["judged"], self._time(evaluation.judged_at)
        owed = dict.fromkeys(result.credit for result in evaluation.results if result.credit is not Credit.NONE)
        yield words["owed"], ", ".join(words[credit.value] for credit in owed) or words["nothing-owed"]
        yield words["digest"], evaluation.digest

    def _remarks(self) -> Iterator[str]:
        if not self._evaluation.complete:
            yield self._words["so-far"]
        if self._evaluation.stale_days:
            yield self._words["stale"].format(days=", ".join(self._evaluation.stale_days))
        yield self._words["digest-note"]

    # Tables

    def _clauses(self) -> Table:
        results = self._evaluation.results
        return Table(
            self._words["clauses"],
            self._columns(
                "clause", "measure", "limit", "value", "before", "samples", "excluded", "outcome", "credit", "note"
            ),
            tuple(self._clause(result) for result in results),
            tuple(_mark(result) for result in results),
        )

    def _clause(self, result: ClauseResult) -> tuple[str, ...]:
        words = self._words
        limit = f"{_SIGNS[result.comparison]} {self._amount(result, result.limit)}" if result.limit is not None else ""
        judged = result.limit is not None or result.outcome is Outcome.NO_DATA
        return (
            words[f"clause-{result.clause}"],
            words[result.measure],
            limit,
            self._amount(result, result.value),
            self._amount(result, result.before) if result.before is not None else "",
            str(result.samples),
            self._excluded(result),
            words[result.outcome.value] if judged else words["shown"],
            words[result.credit.value] if result.credit is not Credit.NONE else "",
            self._note(result),
        )

    def _amount(self, result: ClauseResult, amount: float | None) -> str:
        if amount is None:
            return "\N{EN DASH}"
        return f"{number(amount, result.unit)} {self._words[result.unit]}".rstrip()

    def _excluded(self, result: ClauseResult) -> str:
        parts = []
        if result.exclusions:
            parts.append(self._words["recorded"].format(numbers=", ".join(map(str, result.exclusions))))
        if result.automatic:
            parts.append(self._words["automatic"].format(count=result.automatic))
        return "; ".join(parts)

    def _note(self, result: ClauseResult) -> str:
        parts = []
        for note in result.note.split():
            name, _, value = note.partition(":")
            parts.append(self._words[f"note-{name}"].format(value=float(value) if name == "error" else value))
        if not result.decides and result.limit is not None:
            parts.append(self._words["decided-elsewhere"])
        return "; ".join(parts)

    def _waiting(self) -> Table:
        found = [
            (each.us, direction, key, each)
            for direction in DIRECTIONS
            for key, each in self._evaluation.delays[direction].excluded.items()
        ]
        rows = tuple(
            (
                self._words[direction],
                letter,
                system,
                f"{phase}: {cause}",
                str(each.waits),
                length(us / MICRO),
                self._time(each.first),
                self._time(each.last),
            )
            for us, direction, (letter, system, phase, cause), each in sorted(
                found, key=lambda entry: (-entry[0], entry[1], entry[2])
            )[:MOST_CAUSES]
        )
        columns = self._columns("direction", "class", "system", "cause", "waits", "length", "from", "to")
        return Table(self._words["waiting"], columns, rows)

    def _exclusions(self) -> Table:
        words = self._words
        rows = tuple(
            (
                str(each.number),
                words[each.clause.value],
                words[each.kind.value],
                self._time(each.start),
                self._time(each.end),
                each.customer or words["all-customers"],
                each.reason,
                f"{each.by}, {self._time(each.recorded_at)}",
                f"{words['withdrawn']}: {each.withdrawn_by}, {self._time(each.withdrawn_at)}"
                if each.withdrawn_at
                else words["counts"],
            )
            for each in self._evaluation.exclusions
        )
        columns = self._columns("number", "clause", "class", "from", "to", "customer", "reason", "by", "state")
        return Table(words["exclusions"], columns, rows)

    def _faults(self) -> Table:
        words = self._words
        rows = tuple(
            (
                str(each.number),
                words.get(f"cause-{each.cause}", each.cause),
                self._time(each.start),
                words["lasting"] if each.end is None else self._time(each.end),
                "" if each.end is None else length(each.end - each.start),
                each.customer or words["all-customers"],
                each.reason,
                each.opened_by,
            )
            for each in self._evaluation.faults
        )
        columns = self._columns("number", "cause", "from", "to", "length", "customer", "reason", "by")
        return Table(words["faults"], columns, rows)

    def _adjustments(self) -> Table:
        rows = tuple(
            (
                str(each.number),
                self._time(each.start),
                self._time(each.end),
                each.customer or self._words["all-customers"],
                each.what,
                each.agreed_with,
                f"{each.by}, {self._time(each.recorded_at)}",
            )
            for each in self._evaluation.adjustments
        )
        columns = self._columns("number", "from", "to", "customer", "what", "agreed", "by")
        return Table(self._words["adjustments"], columns, rows)

    def _deadlines(self) -> Table:
        words = self._words
        late = {DeadlineState.MISSED, DeadlineState.OVERDUE}
        rows = tuple(
            (
                str(each.number),
                words.get(f"kind-{each.kind}", each.kind),
                each.subject,
                self._time(each.start),
                self._time(each.due),
                self._time(each.met_at) if each.met_at is not None else "\N{EN DASH}",
                words["missed" if each.state(self._evaluation.judged_at) in late else "kept"],
            )
            for each in self._evaluation.deadlines
        )
        columns = self._columns("number", "kind", "subject", "from", "due", "met", "outcome")
        return Table(words["deadlines"], columns, rows)

    def _stations(self) -> Table:
        rows = tuple(
            (
                self._words[direction],
                self._words[name],
                str(station.count),
                f"{100 * station.sum_us / whole:.2f} %",
                self._seconds(station.average_seconds),
                self._seconds(station.quantile_seconds(0.95)),
                self._seconds(station.max_seconds),
            )
            for direction in DIRECTIONS
            if (whole := sum(station.sum_us for station in self._evaluation.delays[direction].stations))
            for name, station in zip(STATIONS, self._evaluation.delays[direction].stations, strict=True)
        )
        columns = self._columns("direction", "station", "samples", "part", "average", "p95", "maximum")
        return Table(self._words["stations"], columns, rows)

    def _seconds(self, amount: float | None) -> str:
        return "\N{EN DASH}" if amount is None else f"{number(amount, 'seconds')} {self._words['seconds']}"

    def _apart(self) -> Table:
        rows = [row for direction in DIRECTIONS for row in self._apart_of(direction)]
        return Table(self._words["apart"], self._columns("measure", "value", "samples"), tuple(rows))

    def _apart_of(self, direction: str) -> Iterator[tuple[str, str, str]]:
        day: DaySummary = self._evaluation.delays[direction]
        if not day.copies:
            return
        said = {name: self._words[f"apart-{name}"].format(direction=self._words[direction]) for name in _APART}
        delivered = day.before.count
        if delivered:
            scanner = day.stations[1]
            spent = f"{self._seconds(scanner.average_seconds)} / {self._seconds(scanner.max_seconds)}"
            yield said["antivirus"], spent if scanner.count else "\N{EN DASH}", str(scanner.count)
        yield said["held"], f"{day.held} / {length(day.stations[3].sum_us / MICRO)}", str(day.copies)
        put_off = length(day.greylisted_us / day.greylisted / MICRO) if day.greylisted else "\N{EN DASH}"
        yield said["greylisted"], f"{day.greylisted} / {put_off}", str(day.copies)
        yield said["given-up"], str(day.given_up), str(day.copies)
        yield said["doubtful"], str(day.doubtful), str(day.copies)

    def _columns(self, *names: str) -> tuple[str, ...]:
        return tuple(self._words[name] for name in names)

    def _time(self, utc: float) -> str:
        return shown(utc, self._evaluation.month.zone)


def _mark(result: ClauseResult) -> str:
    """Return the outcome of a line that decides, and that of any line without data."""
    decides = result.limit is not None and result.decides
    return result.outcome.value if decides or result.outcome is Outcome.NO_DATA else ""


_APART = ("antivirus", "held", "greylisted", "given-up", "doubtful")


def number(amount: float, unit: str) -> str:
    """Return an amount as written in reports: never rounded to the better side of its limit."""
    if unit == "percent":
        # 99.99 must not read as 100, nor 99.8999 as 99.9: cut, not rounded, once the noise of a float is gone.
        return f"{round(amount * 10**6) // 100 / 10_000:.4f}".rstrip("0").rstrip(".")
    if unit == "share":
        return _scientific(amount) if amount else "0"
    # Nor may 60.0004 s read as 60: up, once the noise of a float's last digits is gone.
    decimals = 3 if unit == "seconds" else 2
    return f"{ceil(round(amount * 10**6) / 10 ** (6 - decimals)) / 10**decimals:.{decimals}f}".rstrip("0").rstrip(".")


def _scientific(amount: float) -> str:
    """Return a small share as the contract writes it."""
    digits, _, power = f"{amount:.5e}".partition("e")
    return f"{digits.rstrip('0').rstrip('.')}\N{MULTIPLICATION SIGN}10{str(int(power)).translate(_SUPERSCRIPTS)}"


def length(seconds: float) -> str:
    """Return a length of time as ``2:05:09``, hours beyond a day included."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
