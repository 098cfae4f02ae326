"""What the database holds in total."""

from __future__ import annotations
