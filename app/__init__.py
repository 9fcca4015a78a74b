"""Eager: runs an LLM's Python while the model is still writing it."""
