"""The statements of the store, as SQLAlchemy Core builds them from the models.

Nothing here runs with the program: SQLAlchemy takes longer to import than a command takes,
and to compile a statement longer than to execute it. ``scripts/make-statements`` keeps their
text in :mod:`broker.store.statements`, and a test holds the one to the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from ...models import Base
from . import channels, copies, dead, deliveries, messages, queues, status, users
from .draft import BulkDraft, Draft


def schema() -> list[str]:
    """Return the statements that make the tables and their indexes, as SQLite is to keep them."""
    made: list[CreateTable | CreateIndex] = []
    for table in Base.metadata.sorted_tables:
        made.append(CreateTable(table))
        made += map(CreateIndex, sorted(table.indexes, key=lambda index: str(index.name)))
    return [str(statement.compile(dialect=sqlite.dialect())).strip() for statement in made]


def drafts() -> Iterator[tuple[str, Draft | BulkDraft]]:
    """Yield the statements with their names."""
    for module in (users, queues, channels, messages, deliveries, copies, dead, status):
        for name, value in vars(module).items():
            if isinstance(value, Draft | BulkDraft):
                yield name, value
