"""Stage 1: the completion stream of an OpenAI-compatible server, as server-sent events."""
