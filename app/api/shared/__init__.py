"""``/v1/shared``: links to figures and files, for front ends that show an answer as text."""
