"""``/v1/eager``: code runs while it is generated, and the client sees our own events."""
