"""The commands of docs/operations.md, run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support import environment

from broker.client import lines
from broker.commands.archive import COPIES_A_LINE, FORMAT, VERSION
from broker.store.handlers.imports import REMEMBERED_MS

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()
#: `brokerctl` of this checkout, and each command's own output apart.
SHELL = """set -euo pipefail
brokerctl() {{ {python} -m broker.cli "$@"; }}
{commands}
"""
MARK = "=== next ==="


def steps() -> list[tuple[str, list[str]]]:
    """Return each command with the output that the document shows."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_every_command_does_what_the_document_shows(tmp_path: Path) -> None:
    commands = "\n".join(f"{command}\necho '{MARK}'" for command, _ in steps())
    done = subprocess.run(
        ["/bin/bash", "-c", SHELL.format(python=sys.executable, commands=commands)],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outputs = done.stdout.split(f"{MARK}\n")
    assert len(steps()) > 15
    for (command, shown), output in zip(steps(), outputs, strict=False):
        pattern = "".join(re.escape(line).replace(re.escape("..."), ".*") + "\n" for line in shown)
        assert re.fullmatch(pattern, output), (command, output)


def test_its_numbers_are_the_constants() -> None:
    assert f"last {REMEMBERED_MS // 86_400_000} days" in TEXT
    assert f"{lines.BATCH_LINES} lines or {lines.BATCH_BYTES // 2**20} MiB" in TEXT
    assert f"at most {COPIES_A_LINE} a line" in TEXT
    assert f'`format` ("{FORMAT}"), `version` ({VERSION};' in TEXT
