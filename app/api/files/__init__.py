"""``/v1/files``, and how a file travels: names, forms, temporary copies."""
