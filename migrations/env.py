"""How Alembic reaches a database: the broker's own connection, or one opened by hand.

The store passes its connection and holds the transaction around the upgrade
(:func:`broker.store.schema.upgrade`). From the command line, ``alembic upgrade
head`` opens ``$BROKER_URL`` (or ``-x url=PATH``) as the broker does, under its lock.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from broker.models import Base
from broker.tables import VERSION_TABLE


def configure(connection: Connection) -> None:
    """Run the migrations on a connection, in its transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table=VERSION_TABLE,
        render_as_batch=True,
        transactional_ddl=True,
        compare_type=True,
    )
    context.run_migrations()


def run_by_hand() -> None:
    """Open the database of the command line under the owner lock and migrate it."""
    from broker import config
    from broker.errors import BrokerError, Invalid
    from broker.store.schema import opened_by_hand

    url = context.get_x_argument(as_dictionary=True).get("url")
    try:
        address = config.locate(url)
        if address.kind != "file":
            raise Invalid(f"{address} is no database: give the path of one")
        with opened_by_hand(address.path) as connection:
            configure(connection)
    except BrokerError as error:
        raise SystemExit(f"alembic: {error.message}") from error


if context.is_offline_mode():
    raise SystemExit("alembic: migrations look at the database; there is no offline mode")
given = context.config.attributes.get("connection")
if given is None:
    run_by_hand()
else:
    configure(given)
