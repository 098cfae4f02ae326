"""Time as the service sees it."""

from __future__ import annotations

import logging
import time
from typing import Final

logger = logging.getLogger(__name__)

#: A wall clock further off than this was stepped, not slewed.
STEP_MS: Final = 1000


class Clock:
    """Wall-clock time that only moves forward: read once, then advanced monotonically.

    So a step of the machine's clock neither ends nor prolongs a live lease. A step
    is logged, once for each change, and takes effect at the next start.
    """

    def __init__(self) -> None:
        self._anchor_ms = time.time_ns() // 1_000_000
        self._started_ns = time.monotonic_ns()
        self._reported_offset_ms = 0

    def now_ms(self) -> int:
        """Return the time, in milliseconds since 1970, UTC."""
        return self._anchor_ms + self.uptime_ms()

    def uptime_ms(self) -> int:
        """Return for how long this clock has run, in milliseconds."""
        return (time.monotonic_ns() - self._started_ns) // 1_000_000

    def report_step(self) -> None:
        """Log it if the machine's clock has been stepped since the last call."""
        offset = time.time_ns() // 1_000_000 - self.now_ms()
        if abs(offset - self._reported_offset_ms) >= STEP_MS:
            self._reported_offset_ms = offset
            logger.warning(
                "the clock of the machine was stepped: it is %+.1f s off the server's time, "
                "which goes on as it was until the next start",
                offset / 1000,
            )
