"""Stage 2: upstream JSON -> deltas -> the code inside tool-call arguments, fences and tags."""
