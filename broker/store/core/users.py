"""Users."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, select, true, update

from ...models import Channel, Queue, User
from .draft import Draft, table_of

_USERS = table_of(User)
_QUEUES = table_of(Queue)
_CHANNELS = table_of(Channel)

#: In the order of :class:`~broker.store.handlers.users.UserRow`.
USER_COLUMNS = ("id", "name", "password_hash", "uid", "is_admin", "created_at")


def _users() -> Any:
    return select(*(_USERS.c[column] for column in USER_COLUMNS))


FIND_USER_NAME = Draft(select(_USERS.c.name).where(_USERS.c.id == bindparam("user")), "user")
#: Each embedded command asks who runs it.
FIND_PRINCIPAL = Draft(
    select(_USERS.c.id, _USERS.c.name, _USERS.c.is_admin).where(_USERS.c.uid == bindparam("who")),
    "who",
)
FIND_USER = Draft(_users().where(_USERS.c.name == bindparam("n")), "n")
LIST_USERS = Draft(_users().order_by(_USERS.c.name))
#: NULL where there is nobody yet.
FIRST_USER = Draft(select(func.min(_USERS.c.id)))
COUNT_ADMINS = Draft(select(func.count()).where(_USERS.c.is_admin.is_(true())))
INSERT_USER = Draft(
    insert(_USERS).values({column: bindparam(column) for column in USER_COLUMNS}), *USER_COLUMNS
)
SET_PASSWORD = Draft(
    update(_USERS)
    .values(password_hash=bindparam("hashed"))
    .where(_USERS.c.id == bindparam("user")),
    "hashed",
    "user",
)
DELETE_USER = Draft(delete(_USERS).where(_USERS.c.id == bindparam("user")), "user")

# --- what a user owns ---

#: Subscriptions' queues are not: they go with the user.
_OWNED_QUEUES = and_(_QUEUES.c.owner_id == bindparam("user"), _QUEUES.c.channel_id.is_(None))
_OWNED_CHANNELS = _CHANNELS.c.owner_id == bindparam("user")

#: How many queues, and how many channels.
COUNT_OWNED = Draft(
    select(func.count(), select(func.count()).where(_OWNED_CHANNELS).scalar_subquery()).where(
        _OWNED_QUEUES
    ),
    "user",
)
GIVE_QUEUES = Draft(
    update(_QUEUES).values(owner_id=bindparam("heir")).where(_OWNED_QUEUES), "heir", "user"
)
GIVE_CHANNELS = Draft(
    update(_CHANNELS).values(owner_id=bindparam("heir")).where(_OWNED_CHANNELS), "heir", "user"
)
