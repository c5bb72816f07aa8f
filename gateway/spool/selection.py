"""``QueueQuery`` → the SQL condition on ``recipient`` (every value a parameter)."""

import json
from collections.abc import Iterable

from gateway.spool.message import QueueQuery, RecipientState
from gateway.storage import Row

Condition = tuple[str, tuple[object, ...]]


def condition(query: QueueQuery, now_utc: float, states: Iterable[RecipientState]) -> Condition:
    """Return (text after WHERE, parameters); ``states`` are those the operation may touch."""
    wanted = query.states & frozenset(states) if query.states else frozenset(states)
    parts: list[tuple[str, tuple[object, ...]]] = [
        ("state IN (SELECT value FROM json_each(?))", (json.dumps(sorted(s.value for s in wanted)),)),
    ]
    if query.trace_ids:
        parts.append(("trace_id IN (SELECT value FROM json_each(?))", (json.dumps(sorted(query.trace_ids)),)))
    if query.recipient:
        parts.append(("(address = ? OR wire = ?)", (query.recipient.casefold(), query.recipient)))
    if query.domain:
        parts.append(("substr(address, -length(?)) = ?", (f"@{query.domain}", f"@{query.domain}")))
    if query.route:
        parts.append(("route = ?", (query.route,)))
    if query.older_than:
        parts.append(
            (
                "trace_id IN (SELECT trace_id FROM message WHERE received_at <= ?)",
                (now_utc - query.older_than,),
            ),
        )
    return " AND ".join(text for text, _ in parts), tuple(v for _, values in parts for v in values)


def trace_ids_json(rows: Iterable[Row]) -> str:
    """Return the distinct first columns as a JSON list, for ``json_each``."""
    return json.dumps(list(dict.fromkeys(row[0] for row in rows)))
