"""The project's evaluation: the paper's tables, the gateway's cost, and their reports (``eager bench``)."""
