"""Sandboxes as containers of one or several Docker Engines, and the image they are made of."""
