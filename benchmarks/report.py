"""The results as a table for people, in Markdown, which a terminal shows as well, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .aims import verdicts
from .cases import CASES
from .results import Results, Row, shown

SIZES = {0: "", 100: "100 B", 1024: "1 KiB"}


def table(results: Results) -> str:
    """Return one table a case: a row a figure, a column a peer, and the aims beside them."""
    parts = []
    for letter, case in CASES.items():
        rows = [row for row in results if row.case == letter]
        if rows:
            parts.append(f"### ({letter}) {case.title}\n\n{_grid(results, rows)}")
    return "\n\n".join(parts) + "\n"


def _grid(results: Results, rows: list[Row]) -> str:
    rows.sort(key=lambda row: row.body)
    with_values = {peer for row in rows for peer in results.values(row)}
    peers = [peer for peer in results.peers() if peer in with_values]
    lines = [["bodies", "figure", *peers, "aim, and what came of it"]]
    for row in rows:
        values = [shown(results.value(row, peer), row.unit) for peer in peers]
        aims = "; ".join(str(verdict) for verdict in verdicts(results, row))
        lines.append([SIZES.get(row.body, f"{row.body} B"), row.figure, *values, aims])
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
