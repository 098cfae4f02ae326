"""Look at an installed wheel: what is in it, and what can be found inside.

Run by scripts/smoke-wheel with the interpreter of the environment the wheel
was installed in; the only argument is the wheel. Exits 1 with the reason.
"""

from __future__ import annotations

import sys
import zipfile
from importlib import import_module
from importlib.resources import files


def complaints(wheel: str) -> list[str]:
    """Return what is wrong with ``wheel``, a sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    found = []
    top = {name.partition("/")[0] for name in names}
    strangers = sorted(name for name in top if name != "broker" and not name.endswith(".dist-info"))
    if strangers:
        found.append(f"it installs more than the package broker: {', '.join(strangers)}")
    needed = {"broker/py.typed", "broker/cli/__main__.py", "broker/migrations/env.py"}
    found.extend(f"{name} is missing" for name in sorted(needed.difference(names)))
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
        found.append("the licence is missing")
    for package in ("cli", "migrations", "tests"):
        try:
            import_module(package)
        except ModuleNotFoundError:
            continue
        found.append(f"{package} can be imported as a top-level package")
    # As Alembic will look for them: as files, by the installed package.
    versions = files("broker.migrations") / "versions"
    revisions = [entry.name for entry in versions.iterdir() if entry.name.endswith(".py")]
    if not set(revisions) - {"__init__.py"}:
        found.append("no migration is found in broker.migrations.versions")
    return found


if __name__ == "__main__":
    problems = complaints(sys.argv[1])
    for problem in problems:
        sys.stderr.write(f"{sys.argv[1]}: {problem}\n")
    sys.exit(bool(problems))
