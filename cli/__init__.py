"""The command line: ``brokerctl``, a module a noun."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run ``brokerctl`` with the arguments of the process."""
    from .app import run

    run()
