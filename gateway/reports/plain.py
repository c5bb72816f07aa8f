"""The report as text for terminals and mail, as CSV for spreadsheets, as JSON for programs."""

import csv
import io
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from gateway.reports.document import Document, Table
from gateway.servicelevel.evaluation import Evaluation
from gateway.servicelevel.minutes import MinuteState
from gateway.servicelevel.sketch import RELATIVE_ERROR

# What spreadsheets take for a formula when a cell begins with it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def text(document: Document) -> str:
    """Return the report as aligned text; what came from outside cannot move the cursor."""
    lines = [document.title, document.subtitle, ""]
    widest = max(_width(label) for label, _ in document.facts)
    lines += [f"{_padded(label, widest)}  {value}" for label, value in document.facts]
    lines += ["", *document.remarks]
    for table in document.tables:
        lines += ["", table.title, *_aligned(table)]
    lines += ["", *(f"- {definition}" for definition in document.definitions)]
    return "\n".join(map(_printable, lines)) + "\n"


def _aligned(table: Table) -> Iterator[str]:
    rows = (table.columns, *table.rows)
    widths = [max(_width(row[place]) for row in rows) for place in range(len(table.columns))]
    for row in rows:
        yield "  ".join(_padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _width(said: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in said)


def _padded(said: str, width: int) -> str:
    return said + " " * (width - _width(said))


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else "�" for letter in line)


def as_csv(document: Document) -> str:
    """Return the tables as CSV with a column for their title; UTF-8 with a mark, so that Excel reads Chinese."""
    out = io.StringIO()
    writer = csv.writer(out)
    for label, value in document.facts:
        writer.writerow([_cell(label), _cell(value)])
    for table in document.tables:
        writer.writerow([])
        writer.writerow([_cell(table.title)])
        writer.writerow(map(_cell, table.columns))
        writer.writerows(map(_cell, row) for row in table.rows)
    return "\ufeff" + out.getvalue()


def _cell(said: str) -> str:
    # A reason or a server's reply must not become a formula in somebody's spreadsheet.
    return f"'{said}" if said.startswith(_FORMULA) else said


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the evaluation as plain values; names and units as in gateway.servicelevel, times in UTC seconds."""
    start, end = evaluation.span
    return {
        "customer": evaluation.customer,
        "month": str(evaluation.month),
        "zone": evaluation.month.zone,
        "from": start,
        "to": end,
        "judged_at": evaluation.judged_at,
        "complete": evaluation.complete,
        "digest": evaluation.digest,
        "terms": evaluation.terms.model_dump(mode="json"),
        "clauses": [asdict(each) | {"credit": each.credit.value} for each in evaluation.results],
        "quantile_relative_error": RELATIVE_ERROR,
        "delay_days": [
            {
                "direction": direction,
                "day": day,
                "samples": summary.after.count,
                "average_seconds": summary.after.average_seconds,
                "average_seconds_before": summary.before.average_seconds,
                "maximum_seconds": summary.after.max_seconds,
                "maximum_seconds_before": summary.before.max_seconds,
                "over_maximum": summary.after.exceeded,
                "over_maximum_before": summary.before.exceeded,
                "given_up": summary.given_up,
            }
            for (direction, day), summary in sorted(evaluation.days.items())
        ],
        "minutes": {state.word: evaluation.minutes.count(state) for state in MinuteState},
        "outages": [
            {"from": minute * 60, "minutes": count, "state": state.word}
            for minute, count, state in evaluation.minutes.runs()
            if state is not MinuteState.UP
        ],
        "waiting_excluded": [
            {
                "direction": direction,
                "class": key[0],
                "system": key[1],
                "phase": key[2],
                "cause": key[3],
                "waits": each.waits,
                "seconds": each.us / 1_000_000,
                "first": each.first,
                "last": each.last,
            }
            for direction, summary in sorted(evaluation.delays.items())
            for key, each in sorted(summary.excluded.items())
        ],
        "exclusions": [asdict(each) for each in evaluation.exclusions],
        "faults": [asdict(each) for each in evaluation.faults],
        "adjustments": [asdict(each) for each in evaluation.adjustments],
        "deadlines": [asdict(each) for each in evaluation.deadlines],
        "stale_days": list(evaluation.stale_days),
    }


def json_text(evaluation: Evaluation) -> str:
    """Return ``as_json`` as text."""
    return json.dumps(as_json(evaluation), ensure_ascii=False, indent=2) + "\n"
