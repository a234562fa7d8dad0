"""The plots of docs/capacity.md: light, without colour alone telling curves apart (markers and dashes differ too)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from bench.capacity_model import Run

#: Okabe and Ito's colours, which colour-blind people tell apart, the pale yellow left out.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
MARKERS, DASHES = ("o", "s", "^", "D", "v"), ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
STYLE = {
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 11,
    "axes.titlesize": 12,
    "legend.frameon": False,
    "lines.linewidth": 2,
}
Point = tuple[float, float]


def _panels(titles: Sequence[str], height: float = 4.4, *, share_y: bool = False) -> tuple[Figure, Sequence[Axes]]:
    mpl.rcParams.update(STYLE)
    figure, axes = plt.subplots(1, len(titles), figsize=(11, height), sharey=share_y, layout="constrained")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, loc="left")
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def curves(axis: Axes, lines: Mapping[str, Sequence[Point]]) -> None:
    """One curve for each label."""
    for index, (label, points) in enumerate(lines.items()):
        style = {"color": COLORS[index], "marker": MARKERS[index], "linestyle": DASHES[index]}
        axis.plot(*zip(*points, strict=True), label=label, **style)


def plot_workers(path: Path, panels: Mapping[str, Mapping[str, Sequence[Point]]]) -> None:
    """Fewest workers at most (y) against pictures an hour (x): a panel for each pattern, a curve for each duration of a picture."""
    figure, axes = _panels(list(panels), share_y=True)
    for axis, lines in zip(axes, panels.values(), strict=True):
        curves(axis, lines)
        axis.set_xscale("log")
        axis.set_xlabel("pictures an hour, on average")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axis.tick_params(axis="x", which="minor", labelbottom=False)
    axes[0].set_yscale("log")
    axes[0].set_ylim(0.9, 45)
    axes[0].yaxis.set_major_locator(FixedLocator([1, 2, 3, 5, 8, 12, 20, 40]))
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes[0].yaxis.set_minor_locator(NullLocator())
    axes[0].set_ylabel("max workers needed")
    axes[0].legend(title="work a picture", loc="upper left")
    _save(figure, path)


def plot_burst(path: Path, runs: Mapping[str, Run]) -> None:
    """Workers, and jobs in the queue, over the seconds after a burst: a curve for each scaling rule."""
    figure, axes = _panels(("Workers, starting ones included", "Pictures waiting"))
    for index, (label, run) in enumerate(runs.items()):
        style = {"color": COLORS[index], "linestyle": DASHES[index], "where": "post", "label": label}
        times = [look.time for look in run.looks]
        axes[0].step(times, [look.workers for look in run.looks], **style)
        axes[1].step(times, [look.queued for look in run.looks], **style)
    for axis in axes:
        axis.set_xlabel("seconds after the burst")
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("workers")
    axes[1].set_ylabel("pictures")
    axes[1].legend(loc="upper right")
    _save(figure, path)


def plot_idle(path: Path, waits: Mapping[str, Sequence[Point]], billed: Mapping[str, Sequence[Point]], cold: float) -> None:
    """The 95 % wait, and the billed seconds a picture, against the idle timeout: a curve for each rate of pictures."""
    figure, axes = _panels(("What 95 of 100 pictures wait at most", "Worker seconds billed a picture"))
    curves(axes[0], waits)
    curves(axes[1], billed)
    for axis in axes:
        axis.axvline(cold, color="#666666", linewidth=1, linestyle=(0, (2, 2)))
        axis.set_xscale("log")
        axis.set_xlabel("idle timeout, s")
        axis.set_xticks([x for x, _ in next(iter(waits.values()))])
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_ylabel("seconds")
        axis.set_ylim(bottom=0)
    axes[0].annotate("mean cold start", (cold, axes[0].get_ylim()[1]), (5, -4), textcoords="offset points", va="top", color="#444444")
    axes[1].legend(title="pictures an hour")
    _save(figure, path)
