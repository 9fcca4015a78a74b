"""Stage 7: what code did, as Markdown in the model's own text, and back (pure)."""
