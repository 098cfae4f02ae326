"""The statements of the store, as SQLAlchemy Core builds them from the models.

Nothing here runs with the program: SQLAlchemy takes longer to import than a command takes,
and to compile a statement longer than to execute it. ``scripts/make-statements`` keeps their
text in :mod:`broker.store.statements`, and a test holds the one to the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import channels, copies, dead, deliveries, messages, queues, status, users
from .draft import BulkDraft, Draft


def drafts() -> Iterator[tuple[str, Draft | BulkDraft]]:
    """Yield the statements with their names."""
    for module in (users, queues, channels, messages, deliveries, copies, dead, status):
        for name, value in vars(module).items():
            if isinstance(value, Draft | BulkDraft):
                yield name, value
