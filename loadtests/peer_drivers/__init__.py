"""Drivers of other projects. Each runs in a virtual environment of its own, where that project is installed and this
one is not: a line of JSON in (``Job``), a line of JSON out (``Told``), see ``pace.py``."""
