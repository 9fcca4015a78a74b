"""``/v1/containers``: sandboxes that a client can name, and the files in them (PROTOCOL.md 4.5)."""
