"""The server: asyncio listeners and connections, and the only place where all is composed."""
