"""The statements of the hot paths, a module for the tables of a kind.

They run on the driver's own cursor with positional parameters: what SQLAlchemy
does around each execution costs more than the statement itself (measured in
``ARCHITECTURE.md``). Everything else goes through SQLAlchemy's connection.
"""

from . import deliveries, messages
from .dead import *  # noqa: F403
from .deliveries import *  # noqa: F403
from .messages import *  # noqa: F403
from .queues import *  # noqa: F403
from .statement import BULK_SIZES, Bulk, ByIds, Statement

__all__ = ["BULKS_OF_A_SERVER", "BULK_SIZES", "Bulk", "ByIds", "Statement"]

#: What a server's batches are made of.
BULKS_OF_A_SERVER = (
    messages.INSERT_MESSAGES_ALIKE,
    messages.INSERT_MESSAGES,
    messages.DELETE_MESSAGES,
    deliveries.INSERT_DELIVERIES_ALIKE,
    deliveries.INSERT_DELIVERIES,
    deliveries.LEASE,
    deliveries.FIND_LEASES,
    deliveries.DELETE_DELIVERIES,
)
