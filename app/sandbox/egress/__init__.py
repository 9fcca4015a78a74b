"""The egress proxy: the only way from a sandbox to a network."""
