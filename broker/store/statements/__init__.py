"""The statements of the store, as text.

They run on the driver's own cursor with positional parameters: what SQLAlchemy does around
each execution costs more than the statement itself, and to import it more than a whole
command (measured in ``ARCHITECTURE.md``). It builds them from the models all the same, in
:mod:`broker.store.core`; after a change there, ``make statements``.
"""

from .statement import BULK_SIZES, Bulk, ByIds, Statement
from .texts import *  # noqa: F403 - all of them, by their names

__all__ = ["BULK_SIZES", "Bulk", "ByIds", "Statement"]
