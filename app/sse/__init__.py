"""Stage 0 and 7: server-sent events, bytes in and bytes out."""
