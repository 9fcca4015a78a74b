"""``/v1/chat/completions``: the same behind OpenAI's chat stream, and the proxy for requests without code."""
