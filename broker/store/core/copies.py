"""Single deliveries: peeked at, shown, with their messages."""

from __future__ import annotations
