"""What code in a real sandbox reaches, and what it does not, when a deployment lets it out."""

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from app.errors import SandboxStartError
from app.sandbox.docker.backend import DockerBackend
from app.sandbox.egress.exchange import EgressLimits
from app.sandbox.egress.proxy import Egress
from app.sandbox.egress.rules import Address, Rules
from app.sandbox.local.backend import LocalBackend
from app.sandbox.local.environment import inspect_python
from app.sandbox.worker.worker import Worker
from tests.backends import SANDBOX_ENV, SANDBOX_IMAGE, require_backend
from tests.sandbox.backends import leaves_no_descriptor, printed

#: For service.test, signed by itself.
TLS = Path(__file__).with_name("tls")


@dataclass
class Outside:
    """Servers on this machine, the proxy that leads to two of the three, and a sandbox behind it."""

    worker: Worker
    egress: Egress
    http: int
    https: int
    secret: int
    heard: list[bytes]

    async def run(self, code: str) -> str:
        names = f"HTTP, HTTPS, SECRET = {self.http}, {self.https}, {self.secret}\n"
        return await printed(self.worker, names + code)


@pytest.fixture(
    params=[pytest.param("local", marks=pytest.mark.local), pytest.param("docker", marks=pytest.mark.docker)]
)
async def outside(request: pytest.FixtureRequest) -> AsyncIterator[Outside]:
    require_backend(request.param)
    with leaves_no_descriptor():
        async with servers() as (http, https, secret, heard):
            names = {"service.test": "127.0.0.1", "hidden.test": "127.0.0.1", "metadata.test": "169.254.169.254"}

            async def resolve(name: str, port: int) -> list[Address]:
                return [ip_address(names[name])]

            rules = [f"service.test:{http}", f"service.test:{https}", f"127.0.0.1:{http}", f"127.0.0.1:{https}"]
            rules += ["hidden.test:*", "metadata.test"]
            egress = Egress(Rules.parse(rules), limits=EgressLimits(connections=16, least_s=0.001), resolve=resolve)
            backend: LocalBackend | DockerBackend
            if request.param == "local":
                backend = LocalBackend(inspect_python(SANDBOX_ENV), egress=egress)
            else:
                backend = DockerBackend(image=SANDBOX_IMAGE, egress=egress)
            assert "egress proxy" in backend.describe()
            worker = await backend.start()
            yield Outside(worker, egress, http, https, secret, heard)
            await worker.close()
            await backend.close()
            egress.close()
            assert egress.statistics.open == 0


@asynccontextmanager
async def servers() -> AsyncIterator[tuple[int, int, int, list[bytes]]]:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "service.pem", TLS / "service.key")
    plain = await asyncio.start_server(serve, "127.0.0.1", 0)
    secure = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    secret = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with plain, secure, secret:
        ports = [server.sockets[0].getsockname()[1] for server in (plain, secure, secret)]
        yield ports[0], ports[1], ports[2], heard


async def test_allowed_servers_are_reached_by_the_usual_libraries(outside: Outside) -> None:
    certificate = (TLS / "service.pem").read_text()
    said = await outside.run(f"""
open("ca.pem", "w").write({certificate!r})
import requests, ssl, urllib.request
print(requests.get(f"http://service.test:{{HTTP}}/a", timeout=20).text)
print(requests.get(f"https://service.test:{{HTTPS}}/b", timeout=20, verify="ca.pem").text)
print(urllib.request.urlopen(f"http://service.test:{{HTTP}}/c", timeout=20).read())
trust = ssl.create_default_context(cafile="ca.pem")
print(urllib.request.urlopen(f"https://service.test:{{HTTPS}}/d", timeout=20, context=trust).read())
import subprocess
print(subprocess.run(["sh", "-c", "echo $https_proxy"], capture_output=True, text=True).stdout.strip())
""")
    assert said.splitlines() == ["hello", "hello", "b'hello'", "b'hello'", "http://127.0.0.1:3128"]
    assert [head.split()[1] for head in outside.heard] == [b"/a", b"/b", b"/c", b"/d"]
    assert (outside.egress.statistics.allowed, outside.egress.statistics.denied) == (4, 0)


async def test_everything_else_stays_out_of_reach(outside: Outside) -> None:
    said = await outside.run("""
import requests, socket
def proxied(url):
    try:
        return requests.get(url, timeout=20, proxies={"http": "http://127.0.0.1:3128", "https": "http://127.0.0.1:3128"})
    except requests.exceptions.ProxyError as error:
        return error
print(proxied(f"http://service.test:{SECRET}/").status_code)
print(proxied(f"http://127.0.0.1:{SECRET}/").status_code)
print(proxied(f"http://hidden.test:{SECRET}/").status_code)
print(proxied("http://metadata.test/latest/meta-data/").status_code)
print(proxied("http://169.254.169.254/latest/meta-data/").status_code)
print("403 Forbidden" in str(proxied(f"https://other.test:{HTTPS}/")) or "403" in str(proxied("https://other.test/")))
for address in (("127.0.0.1", HTTP), ("10.0.0.1", 80), ("169.254.169.254", 80)):
    with socket.socket() as direct:
        direct.settimeout(5)
        print(direct.connect_ex(address) != 0)
try:
    print(socket.getaddrinfo("service.test", 80))
except socket.gaierror:
    print("no names")
""")
    assert said.splitlines() == ["403"] * 5 + ["True"] * 4 + ["no names"]
    assert outside.heard == []


async def test_the_way_out_survives_the_interpreter_and_is_not_the_codes_to_close(outside: Outside) -> None:
    killed = "import os, signal\nos.kill(-1, signal.SIGKILL)\nos._exit(1)\n"
    with pytest.raises(AssertionError):
        await outside.run(killed)
    said = await outside.run("""
import os, socket
print([fd for fd in os.listdir("/proc/self/fd") if "3128" in fd])
try:
    socket.create_server(("127.0.0.1", 3128))
except OSError as error:
    print("taken")
import urllib.request
print(urllib.request.urlopen(f"http://service.test:{HTTP}/", timeout=20).read())
""")
    assert said.splitlines() == ["[]", "taken", "b'hello'"]


async def test_a_flood_of_connections_and_half_requests_leaves_the_gateway_as_it_was(outside: Outside) -> None:
    said = await outside.run("""
import socket
kept, whole = [], 0
for n in range(1000):
    connection = socket.socket()
    connection.settimeout(0.002)
    try:
        connection.connect(("127.0.0.1", 3128))
        connection.send(b"CONNECT " + b"x" * 3000)
    except OSError:
        pass
    kept.append(connection)
    if len(kept) > 100:
        kept.pop(0).close()
for connection in kept:
    connection.close()
import urllib.request
print(urllib.request.urlopen(f"http://service.test:{HTTP}/", timeout=60).read())
""")
    assert said == "b'hello'\n"
    assert outside.egress.statistics.allowed == 1


async def test_nothing_is_reached_through_a_sandbox_that_has_gone(outside: Outside) -> None:
    await outside.run("""
import socket
tunnel = socket.create_connection(("127.0.0.1", 3128))
tunnel.sendall(f"CONNECT service.test:{HTTP} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
assert tunnel.recv(100).startswith(b"HTTP/1.1 200")
""")
    assert outside.egress.statistics.open == 1
    await outside.worker.close()
    assert outside.egress.statistics.open == 0


async def test_what_cannot_be_kept_is_refused_before_it_is_promised(tmp_path: Path) -> None:
    egress = Egress(Rules.parse(["pypi.example"]))
    options: list[dict[str, Any]] = [
        {"transport": "attach"},
        {"engine": "tcp://10.0.0.5:2376"},
        {"runtime": "runsc"},
    ]
    for each in options:
        with pytest.raises(SandboxStartError, match="the egress proxy needs"):
            DockerBackend(image=SANDBOX_IMAGE, egress=egress, **each)
    with pytest.raises(SandboxStartError, match="a lie"):
        LocalBackend(inspect_python(Path(sys.executable)), unisolated=True, egress=egress)
