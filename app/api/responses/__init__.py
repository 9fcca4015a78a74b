"""``/v1/responses`` over a chat-completions upstream: requests into messages, our events into its events."""
