"""One live sandbox: its states, its executions, the questions to its supervisor, the bytes below them."""
