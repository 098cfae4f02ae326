"""Clients: one class of typed methods over whatever carries a command to the broker."""
