"""The report as one self-contained HTML file: no script, nothing fetched, prints on A4; everything is escaped."""

from collections.abc import Iterator
from html import escape

from gateway.reports.charts import delay_chart, stations_chart, strip_chart
from gateway.reports.document import Document, Table
from gateway.reports.words import WORDS
from gateway.servicelevel.evaluation import Evaluation

_HTML_LANGUAGES = {"en": "en", "zh": "zh-Hans"}
_STYLE = """
:root { color-scheme: light; }
body { font: 14px/1.5 "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif; color: #1b1f24;
  max-width: 1080px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin: 0; } h2 { font-size: 1.1em; margin: 2em 0 .5em; }
p.sub { color: #57606a; margin: 0 0 1.5em; } p.remark { background: #f6f8fa; padding: .5em .8em; margin: .5em 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2em 1.2em; } dt { color: #57606a; } dd { margin: 0;
  overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: 12.5px; }
th, td { text-align: left; vertical-align: top; padding: .3em .6em; border-bottom: 1px solid #d0d7de; }
th { background: #f6f8fa; } tr.missed td { background: #ffebe9; font-weight: 600; }
table.clauses td:nth-child(n+3):nth-child(-n+6), table.clauses td:nth-child(8) { white-space: nowrap; }
tr.no-data td { color: #6e7781; } figure { margin: 1.2em 0; } figcaption { font-weight: 600; margin-bottom: .3em; }
svg { width: 100%; height: auto; } svg text { font-size: 11px; fill: #424a53; }
ul { color: #424a53; font-size: 12.5px; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2, figure { break-inside: avoid; } }
"""


def page(evaluation: Evaluation, document: Document) -> str:
    """Return the HTML document."""
    words = WORDS[document.language]
    clauses, *others = document.tables
    charts = (delay_chart, strip_chart, stations_chart)
    body = [
        f"<h1>{escape(document.title)}</h1><p class='sub'>{escape(document.subtitle)}</p>",
        "<dl>",
        *(f"<dt>{escape(label)}</dt><dd>{escape(value)}</dd>" for label, value in document.facts),
        "</dl>",
        *(f"<p class='remark'>{escape(remark)}</p>" for remark in document.remarks),
        *_table(clauses, "clauses"),
        f"<h2>{escape(words['charts'])}</h2>",
        *(chart(evaluation, words) for chart in charts),
        *(line for table in others for line in _table(table)),
        f"<h2>{escape(words['definitions'])}</h2><ul>",
        *(f"<li>{escape(definition)}</li>" for definition in document.definitions),
        "</ul>",
    ]
    head = (
        f"<!doctype html>\n<html lang='{_HTML_LANGUAGES[document.language]}'><head><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{escape(document.title)}</title>"
        f"<style>{_STYLE}</style></head><body>"
    )
    return "\n".join([head, *body, "</body></html>"]) + "\n"


def _table(table: Table, kind: str = "") -> Iterator[str]:
    opened = f"<table class='{kind}'>" if kind else "<table>"
    yield f"<h2>{escape(table.title)}</h2><div class='wide'>{opened}<thead><tr>"
    yield "".join(f"<th scope='col'>{escape(column)}</th>" for column in table.columns)
    yield "</tr></thead><tbody>"
    for place, row in enumerate(table.rows):
        mark = table.marks[place] if table.marks else ""
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        yield f"<tr class='{mark}'>{cells}</tr>" if mark else f"<tr>{cells}</tr>"
    yield "</tbody></table></div>"
