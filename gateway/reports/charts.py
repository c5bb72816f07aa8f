"""The report's charts as inline SVG: delay per day with its limit, connectivity by minute, share of stations.

A day without mail has no bar: nothing is drawn where nothing was measured. What a chart shows stands in the tables too.
"""

from collections.abc import Mapping
from html import escape

from gateway.reports.document import DIRECTIONS, number
from gateway.servicelevel.evaluation import Evaluation
from gateway.servicelevel.minutes import MinuteState
from gateway.servicelevel.month import MINUTE, day_of
from gateway.servicelevel.summary import STATIONS

WIDTH, _LEFT, _RIGHT = 960, 70, 10
_PLOT = WIDTH - _LEFT - _RIGHT
_HEIGHT, _TOP, _BOTTOM = 170, 12, 22
_ROW = 9
# Told apart by people who do not see red and green alike, and in print by their order (Okabe and Ito).
_COLOURS = {"send": "#0072b2", "receive": "#56b4e9"}
_STATES = {
    MinuteState.UP: "#d9efe3",
    MinuteState.DOWN_RECEIVE: "#e69f00",
    MinuteState.DOWN_SEND: "#f0e442",
    MinuteState.DOWN: "#d55e00",
    MinuteState.EXCLUDED: "#9aa5b1",
    MinuteState.UNKNOWN: "#cc79a7",
}
_STATION_COLOURS = ("#56b4e9", "#009e73", "#999999", "#e69f00", "#d55e00", "#0072b2")
# The longest civil day has 25 hours.
_DAY_MINUTES = 1500


def delay_chart(evaluation: Evaluation, words: Mapping[str, str]) -> str:
    """Return the average delay per day after exclusions, with the limit."""
    days, limit = evaluation.month.days, evaluation.terms.average_delay
    averages = {
        place: summary.after.average_seconds
        for place, summary in evaluation.days.items()
        if summary.after.average_seconds is not None
    }
    top = max([limit * 1.25, *(value for value in averages.values() if value is not None)])
    plot = _HEIGHT - _TOP - _BOTTOM
    slot = _PLOT / len(days)
    parts = [_line(_LEFT, y := _TOP + plot * (1 - limit / top), WIDTH - _RIGHT, y, "#d55e00", dashed="5 3")]
    parts.append(_label(_LEFT - 4, y + 4, f"{number(limit, 'seconds')} {words['seconds']}", "end"))
    for column, day in enumerate(days):
        for lane, direction in enumerate(DIRECTIONS):
            average = averages.get((direction, day))
            if average is not None:
                high = max(1.0, plot * average / top)
                x = _LEFT + column * slot + slot * (0.1 + 0.4 * lane)
                said = f"{day} {words[direction]}: {number(average, 'seconds')} {words['seconds']}"
                parts.append(_box(x, _TOP + plot - high, slot * 0.38, high, _COLOURS[direction], said))
        parts.append(_label(_LEFT + (column + 0.5) * slot, _HEIGHT - 8, day[-2:], "middle"))
    parts.append(_line(_LEFT, _TOP + plot, WIDTH - _RIGHT, _TOP + plot, "#555"))
    legend = [(words[direction], _COLOURS[direction]) for direction in DIRECTIONS]
    return _figure(words["chart-delay"], _HEIGHT, parts, legend)


def strip_chart(evaluation: Evaluation, words: Mapping[str, str]) -> str:
    """Return a row a day, a minute a place: what can be seen of 43,200 minutes is what was not up."""
    zone, days = evaluation.month.zone, evaluation.month.days
    rows = {day: row for row, day in enumerate(days)}
    starts: dict[str, int] = {}
    parts = [_label(_LEFT - 6, _TOP + row * _ROW + 8, day[-5:], "end") for day, row in rows.items() if not row % 2]
    for minute, count, state in evaluation.minutes.runs():
        at = minute
        while at < minute + count:
            day = day_of(at * MINUTE, zone)
            begin = starts.setdefault(day, _first_minute(at, day, zone))
            stop = at
            # A run is cut at midnight; whole quarters of an hour belong to one day.
            while stop < minute + count and day_of(stop * MINUTE, zone) == day:
                stop = min(minute + count, (stop // 15 + 1) * 15)
            if day in rows:
                x = _LEFT + (at - begin) / _DAY_MINUTES * _PLOT
                wide = max((stop - at) / _DAY_MINUTES * _PLOT, 0.8)
                said = f"{day}: {words[_state_word(state)]}, {stop - at} {words['minutes']}"
                parts.append(_box(x, _TOP + rows[day] * _ROW, wide, _ROW - 2, _STATES[state], said))
            at = stop
    legend = [(words[_state_word(state)], colour) for state, colour in _STATES.items()]
    return _figure(words["chart-strip"], _TOP + len(days) * _ROW + 6, parts, legend)


def _first_minute(at: int, day: str, zone: str) -> int:
    while day_of((at - 1) * MINUTE, zone) == day:
        at = (at - 1) // 15 * 15
    return at


def _state_word(state: MinuteState) -> str:
    return "excluded-minute" if state is MinuteState.EXCLUDED else state.word


def stations_chart(evaluation: Evaluation, words: Mapping[str, str]) -> str:
    """Return where the time of each direction's delays went, as shares of their sum."""
    parts: list[str] = []
    for row, direction in enumerate(DIRECTIONS):
        spent = [station.sum_us for station in evaluation.delays[direction].stations]
        whole = sum(spent)
        y = _TOP + row * 30
        parts.append(_label(_LEFT - 6, y + 14, words[direction], "end"))
        if not whole:
            parts.append(_label(_LEFT + 4, y + 14, words["no-data"], "start"))
            continue
        x = float(_LEFT)
        for name, share, colour in zip(STATIONS, spent, _STATION_COLOURS, strict=True):
            wide = share / whole * _PLOT
            if share:
                parts.append(_box(x, y, wide, 20, colour, f"{words[name]}: {100 * share / whole:.2f} %"))
            x += wide
    legend = [(words[name], colour) for name, colour in zip(STATIONS, _STATION_COLOURS, strict=True)]
    return _figure(words["chart-stations"], _TOP + 30 * len(DIRECTIONS), parts, legend)


def _figure(title: str, height: float, parts: list[str], legend: list[tuple[str, str]]) -> str:
    keys, x = [], float(_LEFT)
    for name, colour in legend:
        keys += [_box(x, height + 4, 10, 10, colour, name), _label(x + 14, height + 13, name, "start")]
        x += 34 + sum(12 if ord(letter) > 0xFF else 6.5 for letter in name)  # noqa: PLR2004 - CJK is twice as wide
    drawn = "".join((*parts, *keys))
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {height + 20:g}" role="img" aria-label="{escape(title)}">{drawn}</svg></figure>'
    )


def _box(x: float, y: float, wide: float, high: float, colour: str, said: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"'
    return f'<rect {place} fill="{colour}"><title>{escape(said)}</title></rect>'


def _line(x: float, y: float, to_x: float, to_y: float, colour: str, dashed: str = "") -> str:
    dash = f' stroke-dasharray="{dashed}"' if dashed else ""
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}"{dash}/>'


def _label(x: float, y: float, said: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'
