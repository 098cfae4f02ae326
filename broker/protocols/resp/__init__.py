"""RESP, the protocol of Redis, with the broker's own commands."""
