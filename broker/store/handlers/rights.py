"""Who may do what: every such rule stands here once."""

from __future__ import annotations

from ...commands.request import Principal
from ...errors import Denied, NoAuth, NotFound
from .. import statements as sql
from ..transaction import QueueRow, Transaction


def existing_queue(tx: Transaction, name: str) -> QueueRow:
    """Return a queue by name, or refuse."""
    queue = tx.find_queue(name)
    if queue is None:
        raise NotFound(f"there is no queue {name!r}")
    return queue


def check_may_send(queue: QueueRow) -> None:
    """Anyone may send to a queue; a subscription's gets only what is published."""
    if queue.channel_id is not None:
        raise Denied(f"{queue.name!r} is a subscription: publish to its channel")


def may_pull(principal: Principal, queue: QueueRow) -> bool:
    """Anyone may pull from a queue; from a subscription's only the subscriber or an admin."""
    return queue.channel_id is None or principal.id == queue.owner_id or principal.is_admin


def check_may_pull(principal: Principal, queue: QueueRow) -> None:
    """Refuse a pull, or the use of a receipt, by somebody else."""
    if not may_pull(principal, queue):
        raise Denied(f"{queue.name!r} is the subscription of another user")


def check_owns(principal: Principal, owner_id: int, what: str) -> None:
    """Only the owner or an admin changes or deletes."""
    if principal.id != owner_id and not principal.is_admin:
        raise Denied(f"{what} belongs to another user")


def check_admin(principal: Principal, what: str) -> None:
    """Some things are for admins."""
    if not principal.is_admin:
        raise Denied(f"only an admin may {what}")


def check_still_exists(tx: Transaction, principal: Principal) -> None:
    """Refuse one who was deleted since it logged in: nothing may belong to nobody."""
    if tx.one(sql.FIND_USER_NAME, (principal.id,)) is None:
        raise NoAuth(f"the user {principal.name!r} is no more")
