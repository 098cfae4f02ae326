"""The server: sockets and processes, and nothing that is a rule of the broker."""
