"""The asyncio client: ``client = broker.aio.connect(...)``, then ``await`` its methods."""

from .client.aio import AsyncClient, connect

__all__ = ["AsyncClient", "connect"]
