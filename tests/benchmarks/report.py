"""The results as tables for people, JSON for programs and a picture for both."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from backlog import KEPT_TARGET, Backlog
from footprint import Footprint
from latency import Latency, percentile
from places import DIRECT
from rich.console import Console
from rich.table import Table
from setting import Setting
from throughput import Ratio, Throughput, summarise

MEBI = 1024**2
NOTHING = Throughput()
# Beyond this something else had a good part of the machine: ratios of neighbours still stand, absolute figures do not.
DISTURBED = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything measured; what was not asked for is empty."""

    setting: Setting
    throughput: Throughput = NOTHING
    ratios: tuple[Ratio, ...] = ()
    latencies: tuple[Latency, ...] = ()
    footprints: tuple[Footprint, ...] = ()
    backlogs: tuple[Backlog, ...] = ()

    @property
    def missed(self) -> list[str]:
        """The targets that were judged and not met."""
        missed = [f"{ratio.scenario}: {ratio.ratio:.2f} < {ratio.target}" for ratio in self.ratios if not ratio.met]
        slowed = [backlog for backlog in self.backlogs if backlog.system == "tidegate" and backlog.kept < KEPT_TARGET]
        return missed + [f"backlog: new mail keeps {backlog.kept:.2f} < {KEPT_TARGET}" for backlog in slowed]


def console() -> Console:
    """Standard output; wide enough for the tables when it is a file or a pipe."""
    return Console(width=None if Console().is_terminal else 120)


def show(results: Results, out: Console) -> None:
    """Print all that there is."""
    _show_setting(results.setting, out)
    if results.throughput.runs:
        _show_throughput(results.throughput, out)
    if results.ratios:
        _show_ratios(results.ratios, out)
    if results.latencies:
        _show_latency(results.latencies, out)
    if results.footprints:
        _show_footprints(results.footprints, out)
    if results.backlogs:
        _show_backlogs(results.backlogs, out)


def _show_setting(setting: Setting, out: Console) -> None:
    out.print(
        f"{', '.join(setting.systems)}; Python {setting.python}; {setting.cores} cores {setting.processor}, "
        f"{setting.memory_octets / 1024**3:.0f} GiB; Linux {setting.kernel}; data on {setting.file_system}, "
        f"{setting.fsync_ms:.2f} ms an fsync; {setting.measured_at}",
        highlight=False,
    )
    for warning in setting.warnings:
        out.print(f"warning: {warning}", style="bold red")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    return table


def _show_throughput(found: Throughput, out: Console) -> None:
    table = _table(
        "Throughput: messages/s to full delivery",
        *("size", "system", "median", "min", "max", "accepted/s", "CPU ms", "peak MB", "other load"),
    )
    disturbed = False
    peaks = {(peak.system, peak.scenario): f"{peak.octets / MEBI:.0f}" for peak in found.peaks}
    for each in summarise(found.runs):
        relay = each.system != DIRECT
        disturbed |= each.other_load > DISTURBED
        table.add_row(
            each.scenario,
            each.system,
            *(f"{rate:.0f}" for rate in (each.rate, each.rate_low, each.rate_high, each.accepted_rate)),
            f"{each.cpu_ms:.2f}" if relay else "",
            peaks.get((each.system, each.scenario), ""),
            f"{each.other_load:.0%}",
        )
    out.print(table)
    if disturbed:
        out.print(f"Other load above {DISTURBED:.0%}: trust the ratios more than the figures.", highlight=False)


def _show_ratios(ratios: Iterable[Ratio], out: Console) -> None:
    table = _table("Tidegate / Postfix, round by round", "size", "median", "min", "max", "target", "")
    for ratio in ratios:
        verdict = "met" if ratio.met else "MISSED"
        table.add_row(
            ratio.scenario, f"{ratio.ratio:.2f}", f"{ratio.low:.2f}", f"{ratio.high:.2f}", f"≥ {ratio.target}", verdict
        )
    out.print(table)


def _show_latency(latencies: Iterable[Latency], out: Console) -> None:
    table = _table(
        "Latency at 50 messages/s, ms from the final dot; added = less direct",
        *("system", "p50", "p99", "max", "added p50", "added p99", "250 p50", "250 p99"),
    )
    base: Latency | None = None
    for each in latencies:
        base = base or each
        p50, p99 = (percentile(each.arrival_ms, percent) for percent in (50, 99))
        added = (p50 - percentile(base.arrival_ms, 50), p99 - percentile(base.arrival_ms, 99))
        accepted = (percentile(each.accepted_ms, percent) for percent in (50, 99))
        figures = (p50, p99, max(each.arrival_ms), *added, *accepted)
        table.add_row(each.system, *(f"{figure:.2f}" for figure in figures))
    out.print(table)


def _show_footprints(footprints: Iterable[Footprint], out: Console) -> None:
    table = _table(
        "Memory, MB of PSS",
        "system",
        "at rest",
        "500 idle clients",
        "KB a client",
        "processes",
        "50 MB message",
        "seconds",
    )
    for each in footprints:
        per_client = (each.idle_octets - each.rest_octets) / each.idle_clients / 1024
        table.add_row(
            each.system,
            f"{each.rest_octets / MEBI:.0f}",
            f"{each.idle_octets / MEBI:.0f}",
            f"{per_client:.0f}",
            f"{each.idle_processes}",
            f"{each.large_peak_octets / MEBI:.0f}",
            f"{each.large_seconds:.2f}",
        )
    out.print(table)


def _show_backlogs(backlogs: Iterable[Backlog], out: Console) -> None:
    table = _table(
        "Backlog for a dead next hop",
        *("system", "queued", "banner s", "first 250 s", "delivered s", "new mail/s", "kept", "at rest MB", "peak MB"),
    )
    for each in backlogs:
        starts = ((0, each.empty_start, each.empty_rates), (each.messages, each.full_start, each.full_rates))
        for queued, start, rates in starts:
            full = queued > 0
            table.add_row(
                each.system,
                f"{queued}",
                *(f"{time:.2f}" for time in (start.banner_seconds, start.accepted_seconds, start.delivered_seconds)),
                f"{median(rates):.0f}",
                f"{each.kept:.2f}" if full else "",
                f"{each.full_rest_octets / MEBI:.0f}" if full else "",
                f"{each.full_peak_octets / MEBI:.0f}" if full else "",
            )
    out.print(table)
    out.print(f"kept: new mail's rate with the backlog / without; target ≥ {KEPT_TARGET}", highlight=False)


def write_json(results: Results, path: Path) -> None:
    """Write every single run, not only medians."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n")
