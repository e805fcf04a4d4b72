"""Draws findings as SVG: the same findings give the same file."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .frame import Findings, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#3b6fb6", "#c77d2e", "#7a7a7a")


def draw_debounce(findings: Findings, file: Path) -> None:
    """Adds a second and the wait of an add, by scene and system."""
    rows = [row for row in findings.rows if "adds/s" in row and "windows/s" not in row]
    rows = [row for row in rows if "late p50 ms" not in row]
    if rows:
        _draw(rows, {"adds/s": "adds per second", "add p99 ms": "p99 of an add, ms"}, file)


def _draw(rows: list[Row], figures: dict[str, str], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    # Text as text, and no dates or random ids, so that a new run changes what has changed.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "durable-jobs", "font.size": 9})
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(figures), figsize=(9, 3.2), layout="constrained")
    for axis, (name, label) in zip(axes, figures.items(), strict=True):
        _bars(axis, rows, name, label)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(file, metadata={"Date": None, "Creator": None})


def _bars(axis: "Axes", rows: list[Row], name: str, label: str) -> None:
    scenes = list(dict.fromkeys(str(row["scene"]) for row in rows))
    systems = list(dict.fromkeys(str(row["system"]) for row in rows))
    for place, system in enumerate(systems):
        values: list[Any] = [
            next((row[name] for row in rows if (row["scene"], row["system"]) == (scene, system)), 0)
            for scene in scenes
        ]
        where = [n + (place - (len(systems) - 1) / 2) * 0.27 for n in range(len(scenes))]
        bars = axis.bar(where, values, 0.25, label=system, color=COLOURS[place])
        axis.bar_label(bars, [f"{value:,.0f}" for value in values], fontsize=7)
    axis.set_yscale("log")
    axis.set_xticks(range(len(scenes)), [scene.replace(", ", "\n") for scene in scenes])
    axis.set_title(label)
    axis.spines[["top", "right"]].set_visible(False)
