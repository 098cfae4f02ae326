"""The command line: ``brokerctl``, a module a noun."""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run ``brokerctl`` with the arguments of the process."""
    import gc

    # Nothing a one-shot's imports make is garbage; looking for some in them costs
    # it a tenth of its time. What runs for longer (`serve`, `shell`) looks again.
    gc.disable()
    from .app import run

    run()
