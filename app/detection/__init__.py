"""Stage 3: code text -> chunks, each emitted at the first character after which it can no longer change."""
