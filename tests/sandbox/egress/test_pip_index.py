"""`pip install` in real sandboxes where a deployment names an index, here a tiny one of our own."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from app.config import Settings
from app.sandbox.docker.backend import DockerBackend
from app.sandbox.egress.proxy import Egress
from app.sandbox.egress.rules import Address, Rules
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import inspect_python
from tests.backends import SANDBOX_ENV, SANDBOX_IMAGE, require_backend
from tests.sandbox.backends import leaves_no_descriptor, printed

#: What each needs. pandas is in the sandbox, and not in the index.
PROJECTS = {"tinytable": ["tinydep>=1", "pandas"], "tinydep": [], "tinyother": []}
SOURCES = {
    "tinytable": "import tinydep, pandas\nprint('rows', len(pandas.DataFrame({'a': tinydep.VALUES})))\n",
    "tinydep": "VALUES = [1, 2, 3]\n",
    "tinyother": "",
}


def wheel(name: str) -> bytes:
    """A library of one module, with a program of its name."""
    info = f"{name}-1.0.dist-info"
    needs = "".join(f"Requires-Dist: {need}\n" for need in PROJECTS[name])
    files = {
        f"{name}.py": SOURCES[name],
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{path},sha256={digest},{len(text.encode())}\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return packed.getvalue()


@asynccontextmanager
async def index() -> AsyncIterator[tuple[int, list[str]]]:
    """Its port, and the paths it is asked for."""
    asked: list[str] = []
    wheels = {f"/files/{name}-1.0-py3-none-any.whl": wheel(name) for name in PROJECTS}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).decode().split()[1]
            asked.append(path)
            name = path.removeprefix("/simple/").strip("/")
            found = wheels.get(path)
            if name in PROJECTS:
                file = f"/files/{name}-1.0-py3-none-any.whl"
                digest = hashlib.sha256(wheels[file]).hexdigest()
                found = f'<!DOCTYPE html><a href="{file}#sha256={digest}">{file.rpartition("/")[2]}</a>'.encode()
            kind = "application/octet-stream" if path in wheels else "text/html"
            head = f"HTTP/1.1 {200 if found else 404} x\r\ncontent-type: {kind}\r\nconnection: close\r\n"
            writer.write(f"{head}content-length: {len(found or b'')}\r\n\r\n".encode() + (found or b""))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


async def resolve(name: str, port: int) -> list[Address]:
    return [ip_address({"index.test": "127.0.0.1"}[name])]


PROGRAM = """
import importlib.metadata, os, shutil, subprocess, sys
def pip(*words):
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    print(done.returncode, (done.stdout + done.stderr).strip().replace("\\n", " | "))
try:
    import tinytable
except ImportError as error:
    print(error)
pip("install", "numpy")
pip("install", "tinytable", "pandas")
import tinytable
pip("install", "tinydep")
print(importlib.metadata.version("tinydep"), os.listdir("."))
print(subprocess.run([sys.executable, "-c", "import tinydep; print(tinydep.VALUES)"], capture_output=True).stdout)
pip("uninstall", "-y", "tinydep")
pip("install", "-q", "nosuchlibrary")
"""


@pytest.mark.parametrize("name", [pytest.param(name, marks=getattr(pytest.mark, name)) for name in ("local", "docker")])
async def test_what_is_missing_is_installed_and_found(name: str) -> None:
    require_backend(name)
    with leaves_no_descriptor():
        async with index() as (port, asked):
            url = f"http://index.test:{port}/simple"
            # Names lead to public addresses only, unless a rule names the address.
            rules = [*Settings(pip_index=url).egress_rules, f"127.0.0.1:{port}"]
            egress = Egress(Rules.parse(rules), resolve=resolve)
            options = ["--pip-index", url]
            backend = (
                LocalBackend(inspect_python(SANDBOX_ENV), egress=egress, supervisor_options=options)
                if name == "local"
                else DockerBackend(image=SANDBOX_IMAGE, egress=egress, supervisor_options=options)
            )
            worker = await backend.start()
            try:
                said = (await printed(worker, PROGRAM)).splitlines()
            finally:
                await worker.close()
                await backend.close()
                egress.close()
    assert said[0] == "No module named 'tinytable'"
    assert said[1].startswith("0 Requirement already satisfied: numpy in ")
    assert said[2].startswith("0 Requirement already satisfied: pandas in ")
    assert said[2].endswith(" | Successfully installed tinydep-1.0 tinytable-1.0")
    assert said[3] == "rows 3"
    assert said[4].startswith("0 Requirement already satisfied: tinydep in /tmp/")
    assert said[5:7] == ["1.0 []", r"b'[1, 2, 3]\n'"]
    assert said[7] == "0 Successfully uninstalled tinydep-1.0"
    assert said[8].startswith("1 ERROR: ")
    assert "nosuchlibrary" in said[8]
    assert {path for path in asked if "numpy" in path or "pandas" in path} == set()


@pytest.mark.parametrize(
    "url",
    ["ftp://index.test/", "index.test", "https://*/simple", "https://user:secret@index.test/simple", "https://a b/"],
)
def test_what_is_no_index_or_tells_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="pip_index"):
        Settings(pip_index=url)


def test_the_index_alone_is_let_through() -> None:
    assert Settings(pip_index="https://index.test/simple").egress_rules == ("index.test:443",)
    assert Settings(pip_index="http://[::1]:8080/", egress_allow=("a.test",)).egress_rules == ("a.test", "[::1]:8080")
