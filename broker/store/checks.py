"""Whether a database is whole: SQLite's own check, references, counters, orphans.

Each looks at every row, so this is for copies, never for a start or for a file that
serves. It is written in SQL and not with the handlers, which it is to catch.
"""

from __future__ import annotations

import sqlite3

from ..tables import PREFIX

#: At most so many of each kind are reported; the first say what there is to know.
MAX_REPORTED = 20

_ALL = (
    f"(SELECT id, queue_id, message_id, size FROM {PREFIX}deliveries"
    f" UNION ALL SELECT id, queue_id, message_id, size FROM {PREFIX}dead_deliveries)"
)
_LIVING = f"(SELECT count(*) FROM {PREFIX}deliveries d WHERE d.queue_id = q.id AND"

#: What the rows of a queue come to, by the name of its counter.
_COUNTED = {
    "ready": f"{_LIVING} due_at IS NULL)",
    "delayed": f"{_LIVING} due_at IS NOT NULL AND leased_by IS NULL)",
    "leased": f"{_LIVING} leased_by IS NOT NULL)",
    "dead": f"(SELECT count(*) FROM {PREFIX}dead_deliveries d WHERE d.queue_id = q.id)",
    "bytes": "coalesce(s.size, 0)",
}

#: What must find nothing, by what each row it finds means.
_ORPHANS = {
    "delivery {} has no message": (
        f"SELECT id FROM {_ALL} d WHERE NOT EXISTS"
        f" (SELECT 1 FROM {PREFIX}messages m WHERE m.id = d.message_id)"
    ),
    "message {} has no delivery": (
        f"SELECT id FROM {PREFIX}messages WHERE id NOT IN (SELECT message_id FROM {_ALL})"
    ),
    "delivery {} is both alive and dead": (
        f"SELECT id FROM {PREFIX}dead_deliveries WHERE id IN (SELECT id FROM {PREFIX}deliveries)"
    ),
    "delivery {} is in no queue": (
        f"SELECT id FROM {_ALL} WHERE queue_id NOT IN (SELECT id FROM {PREFIX}queues)"
        f" AND queue_id NOT IN (SELECT queue_id FROM {PREFIX}removals)"
    ),
    "delivery {} has another size than its message": (
        f"SELECT d.id FROM {_ALL} d JOIN {PREFIX}messages m ON m.id = d.message_id"
        " WHERE d.size != length(m.body)"
    ),
    "publication {} counts other copies than there are": (
        f"SELECT p.message_id FROM {PREFIX}publications p LEFT JOIN"
        f" (SELECT message_id, count(*) AS copies FROM {_ALL} WHERE id != message_id"
        "  GROUP BY message_id) d"
        " ON d.message_id = p.message_id WHERE p.remaining != coalesce(d.copies, 0)"
    ),
    "the copies of message {} have no publication": (
        f"SELECT DISTINCT message_id FROM {_ALL} WHERE id != message_id"
        f" AND message_id NOT IN (SELECT message_id FROM {PREFIX}publications)"
    ),
    "channel {} counts other subscriptions than there are": (
        f"SELECT name FROM {PREFIX}channels c WHERE subscriptions !="
        f" (SELECT count(*) FROM {PREFIX}subscriptions s WHERE s.channel_id = c.id)"
    ),
    "subscription {} has no queue of its channel": (
        f"SELECT s.id FROM {PREFIX}subscriptions s WHERE NOT EXISTS (SELECT 1 FROM"
        f" {PREFIX}queues q WHERE q.id = s.queue_id AND q.channel_id = s.channel_id)"
    ),
    "queue {} is of a channel, but of no subscription": (
        f"SELECT name FROM {PREFIX}queues WHERE channel_id IS NOT NULL"
        f" AND id NOT IN (SELECT queue_id FROM {PREFIX}subscriptions)"
    ),
    "queue {} is marked as limited wrongly": (
        f"SELECT name FROM {PREFIX}queues WHERE is_limited IS NOT"
        " (max_messages > 0 OR max_bytes > 0 OR ttl > 0 OR sends_paused)"
    ),
    "id {} is beyond the last that was given out": (
        f"SELECT id FROM (SELECT id FROM {_ALL} UNION ALL SELECT id FROM {PREFIX}messages"
        f" UNION ALL SELECT id FROM {PREFIX}queues UNION ALL SELECT id FROM {PREFIX}users"
        f" UNION ALL SELECT id FROM {PREFIX}channels)"
        f" WHERE id > (SELECT value FROM {PREFIX}sequences WHERE name = 'id')"
    ),
}


def damage(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with the file and its references; of any revision."""
    try:
        rows = connection.execute(f"PRAGMA integrity_check({MAX_REPORTED})").fetchall()
    except sqlite3.DatabaseError as error:
        # Some damage ends the search for damage.
        return [str(error)]
    found = [str(text) for (text,) in rows if text != "ok"]
    if found:
        # The rest would stumble over it.
        return found
    broken = connection.execute("PRAGMA foreign_key_check").fetchmany(MAX_REPORTED)
    return [f"row {row} of {table} refers to no row of {to}" for table, row, to, _ in broken]


def disorder(connection: sqlite3.Connection) -> list[str]:
    """Return where counters are wrong and rows belong to nothing; of the newest revision."""
    return [*_wrong_counters(connection), *_orphans(connection)]


def _wrong_counters(connection: sqlite3.Connection) -> list[str]:
    columns = ", ".join([*_COUNTED, *_COUNTED.values()])
    rows = connection.execute(
        f"SELECT q.name, {columns} FROM {PREFIX}queues q LEFT JOIN"
        f" (SELECT queue_id, sum(size) AS size FROM {_ALL} GROUP BY queue_id) s"
        " ON s.queue_id = q.id"
    )
    half = len(_COUNTED)
    found: list[str] = []
    for name, *values in rows:
        for counter, said, real in zip(_COUNTED, values[:half], values[half:], strict=True):
            if said != real and len(found) < MAX_REPORTED:
                found.append(f"queue {name} counts {said} as {counter}, and there are {real}")
    return found


def _orphans(connection: sqlite3.Connection) -> list[str]:
    return [
        meaning.format(row[0])
        for meaning, query in _ORPHANS.items()
        for row in connection.execute(query).fetchmany(MAX_REPORTED)
    ]
