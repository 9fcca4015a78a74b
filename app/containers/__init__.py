"""Containers: sessions that clients name, with records of them and of the files in them."""
