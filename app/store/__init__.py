"""Beside the stream: what must outlive a process: rows in a database, contents of files in a folder."""
