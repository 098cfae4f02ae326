"""The tables, as SQLAlchemy declarative models: the only place where columns are declared.

Every statement of the store is built from them, and a migration must end where
they stand (a test compares both down to the SQL of each index).
"""

from .base import Base
from .channels import Channel, Subscription
from .messages import DeadDelivery, Delivery, IdempotencyKey, Message, Publication
from .queues import Queue, Removal
from .sequences import Sequence
from .users import User

__all__ = [
    "Base",
    "Channel",
    "DeadDelivery",
    "Delivery",
    "IdempotencyKey",
    "Message",
    "Publication",
    "Queue",
    "Removal",
    "Sequence",
    "Subscription",
    "User",
]
