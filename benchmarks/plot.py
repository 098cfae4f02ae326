"""The main figures as bars, a panel a figure, in one PNG."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .report import SIZES
from .results import Results, Row, shown

#: Case, figure, title.
PANELS = (
    ("a", "rate", "(a) send, one in flight"),
    ("b", "rate", "(b) send, window of 1000"),
    ("c", "rate", "(c) send, 50 connections"),
    ("d", "one at a time", "(d) pull and ack, one at a time"),
    ("d", "push", "(d) by push"),
    ("e", "rate", "(e) end to end"),
    ("f", "to 100: deliveries", "(f) deliveries to 100"),
    ("c", "p99", "(c) p99, 50 connections"),
    ("e", "latency p99", "(e) p99, end to end, 200/s"),
    ("i", "rate", "(i) 200 active, 1000 idle"),
    ("g", "memory, idle", "(g) memory, idle"),
    ("h", "send one", "(h) one-shot"),
)
COLUMNS = 3
COLOURS = {0: "#4878a8", 100: "#4878a8", 1024: "#e0a040"}
OURS = "broker"


def draw(path: Path, results: Results) -> bool:
    """Write the plot; False if there is nothing to draw it with, or nothing to draw."""
    if find_spec("matplotlib") is None:
        return False
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = [panel for panel in PANELS if _rows(results, panel[0], panel[1])]
    if not panels:
        return False
    height = -(-len(panels) // COLUMNS)
    figure, axes = pyplot.subplots(
        height, COLUMNS, figsize=(5 * COLUMNS, 3.2 * height), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (case, name, title) in zip(axes.flat, panels, strict=False):
        _panel(axis, results, _rows(results, case, name), title)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return True


def _rows(results: Results, case: str, figure: str) -> list[Row]:
    found = [row for row in results if (row.case, row.figure) == (case, figure)]
    return sorted(found, key=lambda row: row.body)


def _panel(axis: Any, results: Results, rows: list[Row], title: str) -> None:
    """Draw one figure: a group of bars a peer, a bar a size of bodies."""
    peers = [p for p in results.peers() if any(results.value(row, p) is not None for row in rows)]
    thickness = 0.8 / len(rows)
    for number, row in enumerate(rows):
        for place, peer in enumerate(peers):
            value = results.value(row, peer)
            if value is None:
                continue
            at = place + (number - (len(rows) - 1) / 2) * thickness
            axis.barh(
                at, value, thickness, color=COLOURS.get(row.body, "#888888"),
                label=SIZES.get(row.body) if place == 0 else None,
            )  # fmt: skip
            axis.text(value, at, f" {shown(value, row.unit)}", va="center", fontsize=7)
    axis.set_yticks(range(len(peers)), peers, fontsize=8)
    for label in axis.get_yticklabels():
        if label.get_text().startswith(OURS):
            label.set_fontweight("bold")
    axis.invert_yaxis()
    axis.set_xticks([])
    axis.margins(x=0.25)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.set_title(title, fontsize=10, loc="left")
    if len(rows) > 1:
        axis.legend(fontsize=7, frameon=False, loc="lower right")
