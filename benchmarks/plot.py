"""The main figures as bars, a panel a figure, in one PNG."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .report import SIZES, WITHOUT_SERVER
from .results import Results, Row, shown

#: Case, figure, title, and whether of servers or of what does without.
PANELS = (
    ("a", "rate", "(a) send, one in flight", True),
    ("b", "rate", "(b) send, window of 1000", True),
    ("c", "rate", "(c) send, 50 connections", True),
    ("d", "one at a time", "(d) pull and ack, one at a time", True),
    ("d", "push", "(d) by push", True),
    ("e", "rate", "(e) end to end", True),
    ("f", "to 100: deliveries", "(f) deliveries to 100", True),
    ("c", "p99", "(c) p99, 50 connections", True),
    ("e", "latency p99", "(e) p99, end to end, 200/s", True),
    ("i", "rate", "(i) 200 active, 1000 idle", True),
    ("g", "memory, idle", "(g) memory, idle", True),
    ("h", "send one", "(h) one-shot", True),
    ("a", "rate", "(a) put one, without a server", False),
    ("d", "one at a time", "(d) get and ack, without a server", False),
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

    panels = []
    for case, name, title, is_served in PANELS:
        rows = [row for row in results if (row.case, row.figure) == (case, name)]
        peers = [
            peer
            for peer in results.peers()
            if (peer not in WITHOUT_SERVER) is is_served
            and any(peer in results.values(row) for row in rows)
        ]
        rows = [row for row in rows if any(peer in results.values(row) for peer in peers)]
        if rows:
            panels.append((sorted(rows, key=lambda row: row.body), peers, title))
    if not panels:
        return False
    height = -(-len(panels) // COLUMNS)
    figure, axes = pyplot.subplots(
        height, COLUMNS, figsize=(5 * COLUMNS, 3.2 * height), squeeze=False, layout="constrained"
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (rows, peers, title) in zip(axes.flat, panels, strict=False):
        _panel(axis, results, rows, peers, title)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
    return True


def _panel(axis: Any, results: Results, rows: list[Row], peers: list[str], title: str) -> None:
    """Draw one figure: a group of bars a peer, a bar a size of bodies."""
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
