"""The store: the database, the statements, and the handlers that are the broker's rules."""
