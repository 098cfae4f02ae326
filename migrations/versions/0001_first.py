"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: As at this revision; the models may move on.
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    _users_and_queues()
    _channels()
    _messages()
    _bookkeeping()


def _users_and_queues() -> None:
    op.create_table(
        "broker_users",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("password_hash", sa.String(72), nullable=True),
        sa.Column("uid", BIG, nullable=True),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_broker_users"),
        sa.UniqueConstraint("name", name="uq_broker_users_name"),
        sa.UniqueConstraint("uid", name="uq_broker_users_uid"),
    )
    op.create_table(
        "broker_channels",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("owner_id", BIG, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("publish", sa.String(16), nullable=False),
        sa.Column("subscriptions", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_broker_channels"),
        sa.UniqueConstraint("name", name="uq_broker_channels_name"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["broker_users.id"], name="fk_broker_channels_owner_id"
        ),
    )
    op.create_index("ix_broker_channels_owner_id", "broker_channels", ["owner_id"])
    op.create_table(
        "broker_queues",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(386), nullable=False),
        sa.Column("owner_id", BIG, nullable=False),
        sa.Column("channel_id", BIG, nullable=True),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("ready", BIG, nullable=False),
        sa.Column("delayed", BIG, nullable=False),
        sa.Column("leased", BIG, nullable=False),
        sa.Column("dead", BIG, nullable=False),
        sa.Column("bytes", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_broker_queues"),
        sa.UniqueConstraint("name", name="uq_broker_queues_name"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["broker_users.id"], name="fk_broker_queues_owner_id"
        ),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["broker_channels.id"], name="fk_broker_queues_channel_id"
        ),
    )
    op.create_index("ix_broker_queues_owner_id", "broker_queues", ["owner_id"])
    op.create_index(
        "ix_broker_queues_channel_id",
        "broker_queues",
        ["channel_id"],
        sqlite_where=sa.text("channel_id IS NOT NULL"),
        postgresql_where=sa.text("channel_id IS NOT NULL"),
    )


def _channels() -> None:
    op.create_table(
        "broker_subscriptions",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("channel_id", BIG, nullable=False),
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("queue_id", BIG, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_broker_subscriptions"),
        sa.UniqueConstraint(
            "channel_id",
            "user_id",
            "name",
            name="uq_broker_subscriptions_channel_id_user_id_name",
        ),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["broker_channels.id"], name="fk_broker_subscriptions_channel_id"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["broker_users.id"], name="fk_broker_subscriptions_user_id"
        ),
        sa.UniqueConstraint("queue_id", name="uq_broker_subscriptions_queue_id"),
        sa.ForeignKeyConstraint(
            ["queue_id"], ["broker_queues.id"], name="fk_broker_subscriptions_queue_id"
        ),
    )
    op.create_index("ix_broker_subscriptions_user_id", "broker_subscriptions", ["user_id"])


def _messages() -> None:
    op.create_table(
        "broker_messages",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("sender", sa.String(128), nullable=False),
        sa.Column("sent_at", BIG, nullable=False),
        sa.Column("content_type", sa.String(255), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_broker_messages"),
    )
    op.create_table(
        "broker_deliveries",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("queue_id", BIG, nullable=False),
        sa.Column("message_id", BIG, nullable=False),
        sa.Column("rank", BIG, nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("attempts", BIG, nullable=False),
        sa.Column("generation", BIG, nullable=False),
        sa.Column("ready_at", BIG, nullable=True),
        sa.Column("due_at", BIG, nullable=True),
        sa.Column("leased_by", BIG, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_broker_deliveries"),
    )
    op.create_index(
        "ix_broker_deliveries_due",
        "broker_deliveries",
        ["queue_id", "due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL"),
    )
    op.create_index(
        "ix_broker_deliveries_ready",
        "broker_deliveries",
        ["queue_id", "rank", "id"],
        sqlite_where=sa.text("due_at IS NULL"),
        postgresql_where=sa.text("due_at IS NULL"),
    )
    op.create_table(
        "broker_publications",
        sa.Column("message_id", BIG, autoincrement=False, nullable=False),
        sa.Column("copies", BIG, nullable=False),
        sa.Column("remaining", BIG, nullable=False),
        sa.PrimaryKeyConstraint("message_id", name="pk_broker_publications"),
    )


def _bookkeeping() -> None:
    op.create_table(
        "broker_keys",
        sa.Column("target_id", BIG, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("message_id", BIG, nullable=False),
        sa.Column("expires_at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("target_id", "key", name="pk_broker_keys"),
    )
    op.create_index("ix_broker_keys_expires_at", "broker_keys", ["expires_at"])
    op.create_table(
        "broker_removals",
        sa.Column("queue_id", BIG, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("queue_id", name="pk_broker_removals"),
    )
    sequences = op.create_table(
        "broker_sequences",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", BIG, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_broker_sequences"),
    )
    op.bulk_insert(sequences, [{"name": "id", "value": 0}])


def downgrade() -> None:
    """Refuse: there is nothing before it."""
    raise NotImplementedError("there is no schema before the first")
