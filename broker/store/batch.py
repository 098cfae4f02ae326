"""One batch: executed in one transaction, and if that fails, narrowed to the culprit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..commands.request import Request
from ..errors import BrokerError, Internal
from .database import Database
from .dialect import StoreFailure
from .handlers import execute
from .transaction import Transaction

logger = logging.getLogger(__name__)


class Batch(NamedTuple):
    """What a committed batch has brought.

    Attributes:
        outcomes: for each request its result or the BrokerError that refused it.
        transactions: those that were committed: one, but after a failure.
    """

    outcomes: list[Any]
    transactions: list[Transaction]


def run_batch(database: Database, requests: Sequence[Request], now: int) -> Batch:
    """Execute requests in one transaction and commit it, synced.

    If the batch fails as a whole, by a constraint, a full disk or a handler's
    bug, it is rolled back and its commands are run one by one, each in a
    transaction of its own, so that only the culprit fails.

    Raises:
        StoreFailure: whether the batch was committed is not known; nobody may be
            told that it was.
    """
    try:
        with database.transaction(now) as tx:
            outcomes = execute(tx, requests)
    except StoreFailure:
        raise
    except Exception as error:  # noqa: BLE001 - any bug of any handler; the writer goes on
        if len(requests) == 1:
            return Batch([_refusal(error)], [])
        logger.warning("a batch of %d commands failed, now one by one: %s", len(requests), error)
        batches = [run_batch(database, [request], now) for request in requests]
        return Batch(
            [outcome for batch in batches for outcome in batch.outcomes],
            [tx for batch in batches for tx in batch.transactions],
        )
    return Batch(outcomes, [tx])


def _refusal(error: Exception) -> BrokerError:
    if isinstance(error, BrokerError):
        return error
    logger.error("a command failed", exc_info=error)
    return Internal("the command failed; the server's log has the reason")
