"""Servers under fault: checkpoints that come often, and the receipts in what they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def checkpointing(folder: Path, pages: int) -> str:
    """Return a PYTHONPATH with which a server checkpoints after so many pages of log.

    Python reads it at the server's start: a setting it would be of no use to offer.
    """
    (folder / "sitecustomize.py").write_text(
        f"from broker.store import checkpoints\ncheckpoints.MOST_PAGES = {pages}\n"
    )
    return str(folder)


def receipts_of(reply: Any) -> list[str]:
    """Return the receipts in a reply of RESP2."""
    records = [part for part in reply if isinstance(part, list)] if isinstance(reply, list) else []
    return [
        record[record.index(b"receipt") + 1].decode() for record in records if b"receipt" in record
    ]
