"""Settings and limits of queues, expiry, dead deliveries."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: As at this revision; the models may move on.
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

#: New columns of queues that are not NULL, and what those that exist get.
_QUEUE_COLUMNS: tuple[tuple[str, Any, str | None], ...] = (
    ("dropped", BIG, "0"),
    ("sends_paused", sa.Boolean(), "0"),
    ("pulls_paused", sa.Boolean(), "0"),
    ("max_attempts", BIG, "5"),
    ("dead_letter", sa.String(128), None),
    ("backoff", sa.String(64), None),
    ("ttl", BIG, "0"),
    ("on_expire", sa.String(16), "drop"),
    ("max_messages", BIG, "0"),
    ("max_bytes", BIG, "0"),
    ("on_full", sa.String(16), "reject"),
    ("expire_idle", BIG, "0"),
    ("idle_at", BIG, None),
    ("is_limited", sa.Boolean(), "0"),
)


def upgrade() -> None:
    """Add them; what is there lives for ever, within the default of five attempts."""
    _add("broker_queues", _QUEUE_COLUMNS)
    op.drop_index("ix_broker_queues_channel_id", "broker_queues")
    _index("broker_queues", "channel", ["channel_id", "is_limited"], "channel_id IS NOT NULL")
    _index("broker_queues", "idle_at", ["idle_at"], "idle_at IS NOT NULL")
    _index("broker_queues", "dead_letter", ["dead_letter"], "dead_letter IS NOT NULL")
    _add("broker_keys", (("count", BIG, "1"),))
    _deliveries()


def _add(table: str, columns: tuple[tuple[str, Any, str | None], ...]) -> None:
    """Add columns, filled for the rows there are, without leaving a default behind."""
    with op.batch_alter_table(table, recreate="always") as batch:
        for name, kind, default in columns:
            batch.add_column(
                sa.Column(name, kind, nullable=default is None, server_default=default)
            )
    with op.batch_alter_table(table, recreate="always") as batch:
        for name, kind, default in columns:
            if default is not None:
                batch.alter_column(name, existing_type=kind, server_default=None)


def _deliveries() -> None:
    op.drop_index("ix_broker_deliveries_due", "broker_deliveries")
    op.drop_index("ix_broker_deliveries_ready", "broker_deliveries")
    with op.batch_alter_table("broker_deliveries", recreate="always") as batch:
        batch.add_column(sa.Column("expires_at", BIG, nullable=True))
        batch.add_column(sa.Column("failures", sa.Text(), nullable=True))
        batch.add_column(sa.Column("died", sa.Text(), nullable=True))
    _index("broker_deliveries", "ready", ["queue_id", "rank", "id", "expires_at"], "due_at IS NULL")
    _index(
        "broker_deliveries",
        "delayed",
        ["queue_id", "due_at"],
        "due_at IS NOT NULL AND leased_by IS NULL",
    )
    _index("broker_deliveries", "leased", ["queue_id", "due_at"], "leased_by IS NOT NULL")
    _index(
        "broker_deliveries",
        "expiring",
        ["expires_at"],
        "expires_at IS NOT NULL AND leased_by IS NULL",
    )
    op.create_table(
        "broker_dead_deliveries",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("queue_id", BIG, nullable=False),
        sa.Column("message_id", BIG, nullable=False),
        sa.Column("rank", BIG, nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("attempts", BIG, nullable=False),
        sa.Column("generation", BIG, nullable=False),
        sa.Column("failures", sa.Text(), nullable=True),
        sa.Column("died", sa.Text(), nullable=True),
        sa.Column("dead_at", BIG, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_broker_dead_deliveries"),
    )
    op.create_index(
        "ix_broker_dead_deliveries_queue_id_id", "broker_dead_deliveries", ["queue_id", "id"]
    )


def _index(table: str, name: str, columns: list[str], where: str) -> None:
    op.create_index(
        f"ix_{table}_{name}",
        table,
        columns,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )


def downgrade() -> None:
    """Refuse: what is dead or expiring has no place before."""
    raise NotImplementedError("restore the back-up that the upgrade made")
