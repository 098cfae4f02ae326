"""``python -m benchmarks.document``: put the last run into ``docs/performance.md``.

What lies between its markers is made from ``bench.json``; the plot goes beside it.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from .report import table
from .results import Results, Row

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- bench: made by make bench-docs -->", "<!-- end of bench -->"
PLOT = "performance.png"


def read(report: dict[str, Any]) -> Results:
    """Return the results that a report was written from."""
    results = Results()
    for entry in report["results"]:
        row = Row(*(entry[name] for name in Row._fields))
        for peer, values in entry["rounds"].items():
            for value in values:
                results.add(row, peer, value)
    results.versions = report["versions"]
    results.skipped = report["skipped"]
    return results


def text(report: dict[str, Any]) -> str:
    """Return what stands between the markers."""
    results = read(report)
    versions = ", ".join(f"{n} {v}".strip() for n, v in results.versions.items())
    parts = [
        f"{report['when']}; {report['machine']}; {report['system']}; Python {report['python']}, "
        f"SQLite {report['sqlite']}. Rounds: {report['rounds']}, of {report['seconds']:g} s "
        f"for each figure. Load average {report['load_average']:g}, the bench's own included.",
        f"Versions: {versions}.",
        *(f"Without {name}: {why.rstrip('.')}." for name, why in results.skipped.items()),
        f"![rates and times of the broker and its peers]({PLOT})",
        table(results).strip(),
    ]
    return "\n\n".join(parts)


def main() -> None:
    """Rewrite the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("build/bench"))
    folder = parser.parse_args().folder
    report = json.loads((folder / "bench.json").read_text())
    head, _, rest = DOCUMENT.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{text(report)}\n\n{END}{tail}")
    if (folder / "bench.png").exists():
        shutil.copyfile(folder / "bench.png", DOCUMENT.with_name(PLOT))


if __name__ == "__main__":
    main()
