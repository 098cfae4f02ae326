"""The service: the store put to use, embedded in a process or behind a server."""
