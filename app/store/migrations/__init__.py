"""The schema's versions, one file each, and how a database is brought from one to the next.

A change of a table is a new file in ``versions/``, the change of ``app/store/tables.py`` that belongs to it, and a new
``HEAD``. Tests compare what the files make with the tables, and bring databases of every earlier version up.
"""

#: The version that this release reads and writes.
HEAD = "0004"
