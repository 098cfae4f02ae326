"""Messages, publications and keys."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, func, select, update

from ...models import IdempotencyKey, Message, Publication
from .draft import ZERO, BulkDraft, Draft, delete_from, insert_into, insert_run, one_of, table_of

_MESSAGES = table_of(Message)
_PUBLICATIONS = table_of(Publication)
_KEYS = table_of(IdempotencyKey)

INSERT_MESSAGES = insert_into(
    _MESSAGES, "id", "sender", "sent_at", "content_type", "headers", "body"
)  # fmt: skip
INSERT_MESSAGES_ALIKE = insert_run(
    _MESSAGES, "body", shared=["sender", "sent_at", "content_type", "headers"]
)
FIND_MESSAGE = Draft(
    select(
        _MESSAGES.c.sender,
        _MESSAGES.c.sent_at,
        _MESSAGES.c.content_type,
        _MESSAGES.c.headers,
        _MESSAGES.c.body,
    ).where(_MESSAGES.c.id == bindparam("message")),
    "message",
)
DELETE_MESSAGES = delete_from(_MESSAGES.c.id)

INSERT_PUBLICATIONS = insert_into(_PUBLICATIONS, "message_id", "copies", "remaining")
FIND_PUBLICATION = Draft(
    select(_PUBLICATIONS.c.copies).where(_PUBLICATIONS.c.message_id == bindparam("message")),
    "message",
)
TAKE_COPIES = Draft(
    update(_PUBLICATIONS)
    .values(remaining=_PUBLICATIONS.c.remaining - bindparam("copies"))
    .where(_PUBLICATIONS.c.message_id == bindparam("message"))
    .returning(_PUBLICATIONS.c.remaining),
    "copies",
    "message",
)
DELETE_PUBLICATION = Draft(
    delete(_PUBLICATIONS).where(_PUBLICATIONS.c.message_id == bindparam("message")),
    "message",
)

FIND_KEYS = BulkDraft(
    lambda size: select(_KEYS.c.key, _KEYS.c.message_id, _KEYS.c.expires_at, _KEYS.c.count).where(
        _KEYS.c.target_id == bindparam("target"), one_of(_KEYS.c.key, size)
    ),
    ["id"],
    shared=["target"],
)
INSERT_KEYS = insert_into(_KEYS, "target_id", "key", "message_id", "expires_at", "count")
DELETE_KEY = Draft(
    delete(_KEYS).where(_KEYS.c.target_id == bindparam("target"), _KEYS.c.key == bindparam("k")),
    "target",
    "k",
)
NEXT_KEY_EXPIRY = Draft(select(func.min(_KEYS.c.expires_at)))
EXPIRED_KEYS = Draft(
    select(_KEYS.c.target_id, _KEYS.c.key)
    .where(_KEYS.c.expires_at <= bindparam("now"))
    .order_by(_KEYS.c.expires_at)
    .limit(bindparam("count"))
    .offset(ZERO),
    "now",
    "count",
)
