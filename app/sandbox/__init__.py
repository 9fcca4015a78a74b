"""Stage 5: runs batches in isolated, persistent interpreters that were started ahead of need."""
