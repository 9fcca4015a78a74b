"""Stage 4: which chunks may run now, and which are merged."""
