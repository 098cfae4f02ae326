"""What the tables are called: all that may be known of them without SQLAlchemy."""

from __future__ import annotations

from typing import Final

#: So that the tables can live in an application's own database.
PREFIX: Final = "broker_"
#: Where Alembic notes the revision.
VERSION_TABLE: Final = f"{PREFIX}version"
QUEUES: Final = f"{PREFIX}queues"
USERS: Final = f"{PREFIX}users"

#: Users, queues, channels, subscriptions, messages and deliveries draw from one
#: sequence, so that an id says by itself what it names.
ID_SEQUENCE: Final = "id"
