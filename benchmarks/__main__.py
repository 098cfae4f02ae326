"""``python -m benchmarks``: every measurement, one after the other."""

from __future__ import annotations

from . import million, oneshot


def main() -> None:
    """Run them all."""
    million.main([])
    oneshot.main([])


main()
