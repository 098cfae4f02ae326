"""Running a server as a process: the event loop, the log, the exit status."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from typing import Any

from .options import Options
from .server import Server

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run(options: Options, *, announce: Callable[[str], None], log_level: str) -> int:
    """Run a server until SIGTERM or SIGINT; return the exit status of the process.

    Args:
        options: how it listens and what it allows.
        announce: called with each door once it accepts.
        log_level: ``debug``, ``info``, ``warning`` or ``error``; the log goes to stderr.

    Raises:
        BrokerError: it could not start.
    """
    logging.basicConfig(
        stream=sys.stderr, level=getattr(logging, log_level.upper()), format=LOG_FORMAT
    )

    async def serve() -> int:
        return await Server(options, announce).run()

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(serve())


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's factory where it is installed; it is four times as quick at echoing."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Any = uvloop.new_event_loop
    return factory  # type: ignore[no-any-return]
