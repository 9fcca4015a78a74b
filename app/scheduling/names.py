"""Names whose use makes an early start visible (EAGER, section 4.3): the default lists, of the standard library only.

An entry is a dotted name and covers everything below it: ``os`` covers ``os.remove``, ``datetime.date.today`` only
itself. Conservative on purpose: a name that is often harmless (``open``, ``pathlib``) is listed if it can be otherwise,
since a wrong hit costs overlap and a miss costs an effect at the wrong time.
"""

from __future__ import annotations

from typing import Final

#: Processes, file-system mutation, network, other processes' memory.
SIDE_EFFECTS: Final = frozenset(
    (
        *("os", "posix", "posixpath", "nt", "subprocess", "pty", "multiprocessing"),
        *("concurrent.futures.ProcessPoolExecutor", "ctypes", "fcntl", "mmap", "syslog"),
        *("open", "io.open", "io.FileIO", "pathlib", "shutil", "tempfile", "fileinput"),
        *("sqlite3", "dbm", "shelve", "zipfile", "tarfile"),
        *("socket", "socketserver", "ssl", "select", "selectors", "urllib", "http", "ftplib", "smtplib", "poplib"),
        *("imaplib", "nntplib", "telnetlib", "xmlrpc", "webbrowser"),
    )
)

#: Sleeping, timers, clock reads, signals, threads.
TIMING: Final = frozenset(
    (
        *("time", "timeit", "sched", "signal", "threading", "_thread", "asyncio", "concurrent"),
        *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today"),
    )
)

#: Code whose effects cannot be read off the code.
DYNAMIC: Final = frozenset(("eval", "exec", "compile", "__import__", "importlib", "runpy", "codeop"))
