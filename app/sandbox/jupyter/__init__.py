"""Jupyter kernels as sandboxes."""
