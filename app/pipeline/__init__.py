"""Stage 6: one request: generation and execution side by side, joined in one order of events."""
