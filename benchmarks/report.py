"""The results as a table for people, in Markdown, which a terminal shows as well, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .aims import verdicts
from .cases import CASES
from .results import Results, Row, shown
from .stores import STORES

#: Who has a table of its own in each case.
WITHOUT_SERVER = frozenset(store.name for store in STORES)
SIZES = {0: "", 100: "100 B", 1024: "1 KiB"}


def table(results: Results) -> str:
    """Return one table a case: a row a figure, a column a peer, and the aims beside them."""
    parts = []
    for letter, case in CASES.items():
        rows = sorted((row for row in results if row.case == letter), key=lambda row: row.body)
        if rows:
            parts.append(f"### ({letter}) {case.title}")
            parts.append(
                grid(results, rows, [p for p in results.peers() if p not in WITHOUT_SERVER])
            )
            parts.append(grid(results, rows, [p for p in results.peers() if p in WITHOUT_SERVER]))
    return "\n\n".join(part for part in parts if part) + "\n"


def grid(results: Results, rows: list[Row], peers: list[str]) -> str:
    """Return a table of what some peers have of some rows; nothing if that is nothing."""
    peers = [p for p in peers if any(p in results.values(row) for row in rows)]
    rows = [row for row in rows if any(peer in results.values(row) for peer in peers)]
    if not rows:
        return ""
    lines = [["bodies", "figure", *peers, "aim, and what came of it"]]
    for row in rows:
        values = [shown(results.value(row, peer), row.unit) for peer in peers]
        aims = [str(v) for v in verdicts(results, row) if v.aim.subject in peers]
        size = SIZES.get(row.body, f"{row.body} B")
        lines.append([size, row.figure, *values, "; ".join(aims)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]) - 1)]
    lines.insert(1, ["-" * width for width in widths] + ["---"])
    return "\n".join(
        "| " + " | ".join([*map(str.ljust, line[:-1], widths), line[-1]]) + " |" for line in lines
    )


def as_json(results: Results, about: dict[str, Any]) -> dict[str, Any]:
    """Return everything, each round's value included."""
    return {
        **about,
        "versions": results.versions,
        "skipped": results.skipped,
        "results": [
            {
                **row._asdict(),
                "rounds": results.values(row),
                "values": {peer: results.value(row, peer) for peer in results.values(row)},
                "aims": [
                    {**v.aim._asdict(), "value": v.value, "is_met": v.is_met}
                    for v in verdicts(results, row)
                ],
            }
            for row in results
        ],
    }


def write(folder: Path, results: Results, about: dict[str, Any]) -> None:
    """Write ``bench.md`` and ``bench.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(table(results))
    (folder / "bench.json").write_text(json.dumps(as_json(results, about), indent=1) + "\n")
