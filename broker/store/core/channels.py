"""Channels and subscriptions, as they are created, changed, listed and deleted."""

from __future__ import annotations
