"""Make REVISION.sql: a database as the program of one revision leaves it.

    PYTHONPATH=CHECKOUT_OF_THAT_REVISION python tests/upgrades/make.py

It is run once, when a revision is done, and its result is never made anew: what
there is in the field is not made anew either. It has rows in every table and
messages in every state that the revision knows.
"""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import broker
from broker.store import schema

YEAR_MS = 365 * 86_400_000
HERE = Path(__file__).parent


def fill(database: str) -> None:
    """Use everything that every revision has."""
    with broker.connect(database) as admin:
        admin.create_user("alice", password="correct horse")
        admin.create_user("bob", uid=54321)
        for queue in ("jobs", "other", "removed"):
            admin.create_queue(queue)
        admin.create_channel("news", publish="anyone")
        admin.create_channel("unheard")
        admin.subscribe("news")
        with broker.connect(database, user="alice") as alice:
            alice.subscribe("news")
            alice.subscribe("news", as_name="second")
            alice.send(
                "jobs", b"ready", priority=9, headers={"n": "v\u00e4lue"}, content_type="a/b"
            )
            alice.send("jobs", bytes(range(256)))
            for body in (b"leased", b"leased and given back", b"lease has ended"):
                alice.send("other", body)
            alice.pull("other", lease_ms=12 * 3_600_000)
            message: Any = alice.pull("other", lease_ms=60_000)
            alice.nack(message.receipt, delay_ms=5 * YEAR_MS)
            alice.pull("other", lease_ms=1)
        admin.send("jobs", b"delayed", delay_ms=5 * YEAR_MS, priority=0)
        admin.send("jobs", b"delay is over", delay_ms=1)
        admin.send("jobs", b"keyed", key="once", key_ttl_ms=5 * YEAR_MS)
        admin.send("jobs", b"keyed for a moment", key="moment", key_ttl_ms=1)
        admin.publish("news", b"to three", key="once", key_ttl_ms=5 * YEAR_MS)
        admin.publish("news", b"to two by now")
        admin.publish("news", b"delayed for three", delay_ms=5 * YEAR_MS)
        pulled: Any = admin.pull_channel_many("news", 2)
        admin.ack(pulled[1].receipt)
        admin.send("removed", b"of a deleted queue")
        if schema.HEAD >= "0002":
            fill_0002(admin)


def fill_0002(admin: Any) -> None:
    """Use what came with 0002: the dead, expiry, settings, pauses."""
    admin.create_queue("graves")
    admin.create_queue(
        "limited",
        settings={
            "max_messages": 5, "ttl": "1000d", "on_expire": "dead", "backoff": "1s,2,1m",
        },
    )  # fmt: skip
    admin.create_queue("feeding", settings={"dead_letter": "graves", "max_attempts": 1})
    for queue, body in (("limited", b"dead"), ("feeding", b"in its grave"), ("limited", b"failed")):
        admin.send(queue, body)
        message = admin.pull(queue)
        how: dict[str, Any] = {"dead": True} if body == b"dead" else {"delay_ms": 0}
        admin.nack(message.receipt, reason="no use", **how)
    admin.send("limited", b"expires some day", ttl_ms=5 * YEAR_MS)
    message = admin.pull("news@alice")
    admin.nack(message.receipt, dead=True, reason="unreadable")
    admin.pause("graves")
    admin.set_queue("news@alice", {"max_bytes": "1M", "expire_idle": "3000d"})


def leave_a_removal(database: str) -> None:
    """Delete a queue as a process does that is killed before it has emptied it."""
    connection = sqlite3.connect(database)
    with connection:
        ((queue_id,),) = connection.execute("SELECT id FROM broker_queues WHERE name = 'removed'")
        connection.execute("INSERT INTO broker_removals VALUES (?)", (queue_id,))
        connection.execute("DELETE FROM broker_queues WHERE id = ?", (queue_id,))
    connection.close()


def main() -> None:
    """Write the dump of the revision of the program that is imported."""
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "broker.db")
        fill(database)
        leave_a_removal(database)
        connection = sqlite3.connect(database)
        lines = "\n".join(connection.iterdump())
        connection.close()
    target = HERE / f"{schema.HEAD}.sql"
    target.write_text(lines + "\n")
    print(target)


if __name__ == "__main__":
    main()
