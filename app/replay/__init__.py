"""A replay upstream: streams given programs as a model would, at a set pace."""
