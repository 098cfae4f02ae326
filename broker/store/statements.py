"""The statements of the hot paths: built from the models' tables, compiled once.

They run on the driver's own cursor with positional parameters: what SQLAlchemy
does around each execution costs more than the statement itself (measured in
``ARCHITECTURE.md``). Everything else goes through SQLAlchemy's connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from sqlalchemy import Table, bindparam, delete, func, insert, literal_column, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import Dialect

from ..models import (
    Base,
    Channel,
    Delivery,
    IdempotencyKey,
    Message,
    Publication,
    Queue,
    Sequence,
    Subscription,
)
from ..models.base import BigInt


class Statement:
    """A statement and the order of its parameters.

    Args:
        build: returns the Core statement; called at the first use, so that
            importing this module compiles nothing.
        parameters: the names of its bound parameters in the order of their places.
    """

    __slots__ = ("_build", "_sql", "parameters")

    def __init__(self, build: Callable[[], Any], *parameters: str) -> None:
        self._build = build
        self._sql: dict[str, str] = {}
        self.parameters = parameters

    def sql(self, dialect: str) -> str:
        """Return the text of the statement for a dialect, by its name."""
        text = self._sql.get(dialect)
        if text is None:
            compiled = self._build().compile(dialect=_DIALECTS[dialect]())
            order = tuple(compiled.positiontup or ())
            if order != self.parameters:
                raise AssertionError(f"parameters are {order}, not {self.parameters}")
            text = self._sql[dialect] = str(compiled)
        return text


_DIALECTS: dict[str, Callable[[], Dialect]] = {"sqlite": lambda: sqlite.dialect(paramstyle="qmark")}


def table_of(model: type[Base]) -> Table:
    """Return the table of a model."""
    return cast(Table, model.__table__)


_SEQUENCES = table_of(Sequence)
_QUEUES = table_of(Queue)
_CHANNELS = table_of(Channel)
_SUBSCRIPTIONS = table_of(Subscription)
_MESSAGES = table_of(Message)
_DELIVERIES = table_of(Delivery)
_PUBLICATIONS = table_of(Publication)
_KEYS = table_of(IdempotencyKey)

#: SQLite's dialect writes an OFFSET beside each LIMIT; as a literal it is no parameter.
_ZERO = literal_column("0", BigInt)


def _insert(table: Any, *columns: str) -> Statement:
    return Statement(
        lambda: insert(table).values({column: bindparam(column) for column in columns}), *columns
    )


ALLOCATE = Statement(
    lambda: (
        update(_SEQUENCES)
        .values(value=_SEQUENCES.c.value + bindparam("count"))
        .where(_SEQUENCES.c.name == bindparam("sequence"))
        .returning(_SEQUENCES.c.value)
    ),
    "count",
    "sequence",
)

_QUEUE_COLUMNS = (
    "id", "name", "owner_id", "channel_id", "ready", "delayed", "leased", "dead", "bytes",
)  # fmt: skip

FIND_QUEUE = Statement(
    lambda: select(*(_QUEUES.c[c] for c in _QUEUE_COLUMNS)).where(_QUEUES.c.name == bindparam("n")),
    "n",
)
FIND_QUEUE_BY_ID = Statement(
    lambda: select(*(_QUEUES.c[c] for c in _QUEUE_COLUMNS)).where(_QUEUES.c.id == bindparam("n")),
    "n",
)
_COUNTERS = ("ready", "delayed", "leased", "dead", "bytes")
ADD_TO_QUEUE = Statement(
    lambda: (
        update(_QUEUES)
        .values({c: _QUEUES.c[c] + bindparam(f"add_{c}") for c in _COUNTERS})
        .where(_QUEUES.c.id == bindparam("queue"))
    ),
    *(f"add_{counter}" for counter in _COUNTERS),
    "queue",
)
ADD_TO_SUBSCRIPTIONS = Statement(
    lambda: (
        update(_QUEUES)
        .values({c: _QUEUES.c[c] + bindparam(f"add_{c}") for c in _COUNTERS})
        .where(_QUEUES.c.channel_id == bindparam("channel"))
    ),
    *(f"add_{counter}" for counter in _COUNTERS),
    "channel",
)

FIND_CHANNEL = Statement(
    lambda: select(
        _CHANNELS.c.id,
        _CHANNELS.c.name,
        _CHANNELS.c.owner_id,
        _CHANNELS.c.publish,
        _CHANNELS.c.subscriptions,
    ).where(_CHANNELS.c.name == bindparam("n")),
    "n",
)
IS_SUBSCRIBED = Statement(
    lambda: select(_SUBSCRIPTIONS.c.id).where(
        _SUBSCRIPTIONS.c.channel_id == bindparam("channel"),
        _SUBSCRIPTIONS.c.user_id == bindparam("user"),
    ),
    "channel",
    "user",
)

INSERT_MESSAGE = _insert(
    _MESSAGES, "id", "sender", "sent_at", "content_type", "headers", "body"
)  # fmt: skip
INSERT_DELIVERY = _insert(
    _DELIVERIES,
    "id", "queue_id", "message_id", "rank", "size", "attempts", "generation", "ready_at", "due_at",
)  # fmt: skip
INSERT_PUBLICATION = _insert(_PUBLICATIONS, "message_id", "copies", "remaining")

#: One delivery a subscription, made inside the database: ids follow the message's own.
FAN_OUT = Statement(
    lambda: insert(_DELIVERIES).from_select(
        ["id", "queue_id", "message_id", "rank", "size", "attempts", "generation", "ready_at",
         "due_at"],
        select(
            bindparam("before") + func.row_number().over(order_by=_SUBSCRIPTIONS.c.queue_id),
            _SUBSCRIPTIONS.c.queue_id,
            bindparam("message"),
            bindparam("rank"),
            bindparam("size"),
            literal_column("0"),
            literal_column("0"),
            bindparam("ready_at"),
            bindparam("due_at"),
        ).where(_SUBSCRIPTIONS.c.channel_id == bindparam("channel")),
    ),
    "before", "message", "rank", "size", "ready_at", "due_at", "channel",
)  # fmt: skip

CLAIM = Statement(
    lambda: (
        select(
            _DELIVERIES.c.id,
            _DELIVERIES.c.message_id,
            _DELIVERIES.c.rank,
            _DELIVERIES.c.size,
            _DELIVERIES.c.attempts,
            _DELIVERIES.c.generation,
            _MESSAGES.c.sender,
            _MESSAGES.c.sent_at,
            _MESSAGES.c.content_type,
            _MESSAGES.c.headers,
            _MESSAGES.c.body,
        )
        .join_from(_DELIVERIES, _MESSAGES, _MESSAGES.c.id == _DELIVERIES.c.message_id)
        .where(_DELIVERIES.c.queue_id == bindparam("queue"), _DELIVERIES.c.due_at.is_(None))
        .order_by(_DELIVERIES.c.rank, _DELIVERIES.c.id)
        .limit(bindparam("count"))
        .offset(_ZERO)
    ),
    "queue",
    "count",
)
LEASE = Statement(
    lambda: (
        update(_DELIVERIES)
        .values(
            due_at=bindparam("until"),
            leased_by=bindparam("user"),
            attempts=_DELIVERIES.c.attempts + literal_column("1"),
            generation=_DELIVERIES.c.generation + literal_column("1"),
        )
        .where(_DELIVERIES.c.id == bindparam("delivery"))
    ),
    "until",
    "user",
    "delivery",
)
FIND_DELIVERY = Statement(
    lambda: select(
        _DELIVERIES.c.queue_id,
        _DELIVERIES.c.message_id,
        _DELIVERIES.c.size,
        _DELIVERIES.c.generation,
        _DELIVERIES.c.due_at,
        _DELIVERIES.c.leased_by,
    ).where(_DELIVERIES.c.id == bindparam("delivery")),
    "delivery",
)
#: Ends a lease: ready (``until`` NULL) or delayed; ``uncounted`` is taken off the attempts.
RELEASE = Statement(
    lambda: (
        update(_DELIVERIES)
        .values(
            due_at=bindparam("until"),
            leased_by=literal_column("NULL"),
            attempts=_DELIVERIES.c.attempts - bindparam("uncounted"),
        )
        .where(_DELIVERIES.c.id == bindparam("delivery"))
    ),
    "uncounted",
    "until",
    "delivery",
)
EXTEND = Statement(
    lambda: (
        update(_DELIVERIES)
        .values(due_at=bindparam("until"))
        .where(_DELIVERIES.c.id == bindparam("delivery"))
    ),
    "until",
    "delivery",
)
FIND_DUE = Statement(
    lambda: (
        select(_DELIVERIES.c.id, _DELIVERIES.c.leased_by)
        .where(
            _DELIVERIES.c.queue_id == bindparam("queue"), _DELIVERIES.c.due_at <= bindparam("now")
        )
        .order_by(_DELIVERIES.c.due_at)
        .limit(bindparam("count"))
        .offset(_ZERO)
    ),
    "queue",
    "now",
    "count",
)
NEXT_DUE = Statement(
    lambda: select(func.min(_DELIVERIES.c.due_at)).where(
        _DELIVERIES.c.queue_id == bindparam("queue"), _DELIVERIES.c.due_at.is_not(None)
    ),
    "queue",
)
MAKE_READY = Statement(
    lambda: (
        update(_DELIVERIES)
        .values(
            ready_at=func.coalesce(_DELIVERIES.c.ready_at, _DELIVERIES.c.due_at),
            due_at=literal_column("NULL"),
            leased_by=literal_column("NULL"),
        )
        .where(_DELIVERIES.c.id == bindparam("delivery"))
    ),
    "delivery",
)
#: The head of a queue, to tell how long its oldest message has been ready.
READY_HEAD = Statement(
    lambda: (
        select(_DELIVERIES.c.ready_at)
        .where(_DELIVERIES.c.queue_id == bindparam("queue"), _DELIVERIES.c.due_at.is_(None))
        .order_by(_DELIVERIES.c.rank, _DELIVERIES.c.id)
        .limit(bindparam("count"))
        .offset(_ZERO)
    ),
    "queue",
    "count",
)

DELETE_DELIVERY = Statement(
    lambda: delete(_DELIVERIES).where(_DELIVERIES.c.id == bindparam("delivery")), "delivery"
)
DELETE_MESSAGE = Statement(
    lambda: delete(_MESSAGES).where(_MESSAGES.c.id == bindparam("message")), "message"
)
TAKE_COPIES = Statement(
    lambda: (
        update(_PUBLICATIONS)
        .values(remaining=_PUBLICATIONS.c.remaining - bindparam("copies"))
        .where(_PUBLICATIONS.c.message_id == bindparam("message"))
        .returning(_PUBLICATIONS.c.remaining)
    ),
    "copies",
    "message",
)
DELETE_PUBLICATION = Statement(
    lambda: delete(_PUBLICATIONS).where(_PUBLICATIONS.c.message_id == bindparam("message")),
    "message",
)
READY_SLICE = Statement(
    lambda: (
        select(_DELIVERIES.c.id, _DELIVERIES.c.message_id)
        .where(_DELIVERIES.c.queue_id == bindparam("queue"), _DELIVERIES.c.due_at.is_(None))
        .limit(bindparam("count"))
        .offset(_ZERO)
    ),
    "queue",
    "count",
)
DUE_SLICE = Statement(
    lambda: (
        select(_DELIVERIES.c.id, _DELIVERIES.c.message_id)
        .where(_DELIVERIES.c.queue_id == bindparam("queue"), _DELIVERIES.c.due_at.is_not(None))
        .limit(bindparam("count"))
        .offset(_ZERO)
    ),
    "queue",
    "count",
)

FIND_KEY = Statement(
    lambda: select(_KEYS.c.message_id, _KEYS.c.expires_at).where(
        _KEYS.c.target_id == bindparam("target"), _KEYS.c.key == bindparam("k")
    ),
    "target",
    "k",
)
INSERT_KEY = _insert(_KEYS, "target_id", "key", "message_id", "expires_at")
DELETE_KEY = Statement(
    lambda: delete(_KEYS).where(
        _KEYS.c.target_id == bindparam("target"), _KEYS.c.key == bindparam("k")
    ),
    "target",
    "k",
)
NEXT_KEY_EXPIRY = Statement(lambda: select(func.min(_KEYS.c.expires_at)))
EXPIRED_KEYS = Statement(
    lambda: (
        select(_KEYS.c.target_id, _KEYS.c.key)
        .where(_KEYS.c.expires_at <= bindparam("now"))
        .order_by(_KEYS.c.expires_at)
        .limit(bindparam("count"))
        .offset(_ZERO)
    ),
    "now",
    "count",
)
