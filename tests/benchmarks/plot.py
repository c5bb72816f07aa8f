"""Small multiples: one panel a figure, one column a size, a dot for every run, a bar for the median."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from places import DIRECT
from report import MEBI, Results
from throughput import Throughput

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# System, size, value.
Points = list[tuple[str, str, float]]

# From here on decimals are noise.
LARGE = 100
COLOURS = {"tidegate": "#1b6ca8", "postfix": "#b5651d", "direct": "#888888"}
FIGURES: tuple[tuple[str, Callable[[Throughput], Points]], ...] = (
    ("messages/s to full delivery", lambda found: [(run.system, run.scenario, run.rate) for run in found.runs]),
    ("CPU ms a message", lambda found: [(run.system, run.scenario, run.cpu_ms) for run in found.runs]),
    ("peak memory, MB", lambda found: [(peak.system, peak.scenario, peak.octets / MEBI) for peak in found.peaks]),
)


def draw(results: Results, path: Path) -> None:
    """Write the picture; the file's ending names its format."""
    import matplotlib as mpl  # noqa: PLC0415  half a second that only --plot pays

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  as above; must follow the choice of backend

    sizes = list(dict.fromkeys(run.scenario for run in results.throughput.runs))
    rows = len(FIGURES) * bool(sizes) + bool(results.latencies)
    if not rows:
        return
    columns = max(1, len(sizes))
    extent = (4.2 * columns, 1.9 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=extent, squeeze=False, layout="constrained")
    for panels, (title, points) in zip(grid, FIGURES if sizes else (), strict=False):
        for axes, size in zip(panels, sizes, strict=True):
            values = [(system, value) for system, label, value in points(results.throughput) if label == size]
            _dots(axes, [each for each in values if each[0] != DIRECT])
            axes.set_title(f"{size}: {title}", fontsize=9, loc="left")
    if results.latencies:
        _latency(grid[rows - 1][0], results)
        for spare in grid[rows - 1][1:]:
            spare.set_visible(False)
    setting = results.setting
    figure.suptitle(
        f"{', '.join(setting.systems)} · {setting.cores} cores {setting.processor} · {setting.file_system}", fontsize=8
    )
    figure.savefig(path, dpi=130)


def _dots(axes: "Axes", points: Sequence[tuple[str, float]]) -> None:
    names = list(dict.fromkeys(system for system, _ in points))[::-1]
    for height, name in enumerate(names):
        values = [value for system, value in points if system == name]
        axes.plot(values, [height] * len(values), "o", color=COLOURS[name], alpha=0.5, markersize=5)
        middle = median(values)
        axes.plot([middle, middle], [height - 0.3, height + 0.3], color=COLOURS[name], linewidth=2.5)
        label = f"{middle:,.0f}" if middle >= LARGE else f"{middle:.3g}"
        axes.annotate(label, (middle, height + 0.32), ha="center", va="bottom", fontsize=8, color=COLOURS[name])
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(-0.6, len(names) - 0.2)
    axes.set_xlim(0, 1.15 * max(value for _, value in points))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _latency(axes: "Axes", results: Results) -> None:
    for each in (latency for latency in results.latencies if latency.system != DIRECT):
        ordered = sorted(each.arrival_ms)
        shares = [(rank + 1) / len(ordered) for rank in range(len(ordered))]
        axes.step(ordered, shares, where="post", color=COLOURS[each.system], label=each.system)
    axes.set_xlim(left=0)
    axes.set_title("latency at 50 messages/s: share arrived after ms", fontsize=9, loc="left")
    axes.legend(fontsize=7, frameon=False)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
