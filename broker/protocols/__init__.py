"""The protocols: bytes to commands and results to bytes, without any I/O."""
