"""Small multiples: one panel a figure, one column a size, a dot for every run, a bar for the median."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from report import MEBI, Results
from throughput import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"tidegate": "#1b6ca8", "postfix": "#b5651d", "direct": "#888888"}
RELAY_FIGURES: tuple[tuple[str, Callable[[Run], float]], ...] = (
    ("messages/s to full delivery", lambda run: run.rate),
    ("CPU ms a message", lambda run: run.cpu_ms),
    ("peak memory, MB", lambda run: run.peak_octets / MEBI),
)


def draw(results: Results, path: Path) -> None:
    """Write the picture; the file's ending names its format."""
    import matplotlib as mpl  # noqa: PLC0415  half a second that only --plot pays

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  as above; must follow the choice of backend

    runs = [run for run in results.runs if run.system != "direct"]
    sizes = list(dict.fromkeys(run.scenario for run in runs))
    rows = len(RELAY_FIGURES) * bool(runs) + bool(results.latencies)
    columns = max(1, len(sizes))
    figure, grid = plt.subplots(rows, columns, figsize=(4.2 * columns, 1.9 * rows), squeeze=False, layout="constrained")
    for row, (title, value) in enumerate(RELAY_FIGURES if runs else ()):
        for column, size in enumerate(sizes):
            _dots(grid[row][column], [run for run in runs if run.scenario == size], value)
            grid[row][column].set_title(f"{size}: {title}", fontsize=9, loc="left")
    if results.latencies:
        _latency(grid[rows - 1][0], results)
        for spare in grid[rows - 1][1:]:
            spare.set_visible(False)
    setting = results.setting
    figure.suptitle(
        f"{', '.join(setting.systems)} · {setting.cores} cores {setting.processor} · {setting.file_system}", fontsize=8
    )
    figure.savefig(path, dpi=130)


def _dots(axes: "Axes", runs: Sequence[Run], value: Callable[[Run], float]) -> None:
    names = list(dict.fromkeys(run.system for run in runs))[::-1]
    for height, name in enumerate(names):
        values = [value(run) for run in runs if run.system == name]
        axes.plot(values, [height] * len(values), "o", color=COLOURS[name], alpha=0.5, markersize=5)
        middle = median(values)
        axes.plot([middle, middle], [height - 0.3, height + 0.3], color=COLOURS[name], linewidth=2.5)
        axes.annotate(
            f"{middle:.3g}", (middle, height + 0.32), ha="center", va="bottom", fontsize=8, color=COLOURS[name]
        )
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.6, len(names) - 0.2)
    axes.set_xlim(0, 1.15 * max(value(run) for run in runs))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _latency(axes: "Axes", results: Results) -> None:
    for each in results.latencies:
        ordered = sorted(each.arrival_ms)
        shares = [(rank + 1) / len(ordered) for rank in range(len(ordered))]
        axes.step(ordered, shares, where="post", color=COLOURS[each.system], label=each.system)
    axes.set_xscale("log")
    axes.set_title("latency at 50 messages/s: share arrived after ms", fontsize=9, loc="left")
    axes.legend(fontsize=7, frameon=False)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
