"""Chromium without a window, spoken to in its own protocol (Chrome DevTools): tests see what a page asks for.

Without it tests are skipped; EAGER_TEST_BROWSER=required (CI) makes them fail.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.preparation import failure_of

_LISTENING = re.compile(r"DevTools listening on (ws://\S+)")
_PATIENCE_S = 60
_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"),
    # Nothing leaves this machine, also where it is tried.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class Page:
    """One page. ``asked_for`` has the address of each request that it has made, data and blobs aside."""

    def __init__(self, socket: ClientConnection, downloads: Path) -> None:
        self._socket = socket
        self._session: dict[str, str] = {}
        self._count = 0
        self._events: list[dict[str, Any]] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        behavior = {"behavior": "allowAndName", "downloadPath": str(downloads), "eventsEnabled": True}
        self._call("Browser.setDownloadBehavior", **behavior)
        self._session = {"sessionId": session}
        self._call("Network.enable")
        self._call("Page.enable")

    @property
    def asked_for(self) -> list[str]:
        urls = [event["params"]["request"]["url"] for event in self._events if event["method"] == _REQUEST]
        return [url for url in urls if not url.startswith(("data:", "blob:"))]

    def open(self, html: str) -> None:
        """Show a document, whose scripts have run then."""
        frame = self._call("Page.getFrameTree")["frameTree"]["frame"]["id"]
        self._call("Page.setDocumentContent", frameId=frame, html=html)

    def run(self, script: str) -> Any:
        """The value of an expression, which may be a promise.

        Raises:
            AssertionError: it has thrown.
        """
        ran = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in ran, ran
        return ran["result"].get("value")

    def download(self, script: str) -> str:
        """The name under which what the script begins to download is to be saved; it is whole then."""
        self._events = [event for event in self._events if not event["method"].startswith("Browser.download")]
        self.run(script)
        begun = self._event(lambda event: event["method"] == "Browser.downloadWillBegin")
        guid = begun["params"]["guid"]
        self._event(
            lambda event: (
                event["method"] == "Browser.downloadProgress"
                and event["params"]["guid"] == guid
                and event["params"]["state"] == "completed"
            )
        )
        name: str = begun["params"]["suggestedFilename"]
        return name

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": params, **self._session}))
        while (message := self._receive()).get("id") != self._count:
            self._events.append(message)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    def _event(self, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while (event := next(filter(is_wanted, self._events), None)) is None:
            self._events.append(self._receive())
        return event

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=_PATIENCE_S))
        return message


_REQUEST = "Network.requestWillBeSent"


@contextmanager
def page(folder: Path) -> Iterator[Page]:
    """``folder`` takes the profile and downloads."""
    downloads = folder / "downloads"
    downloads.mkdir()
    command = [_required(), *_ARGUMENTS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    log = folder / "chromium.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, start_new_session=True
        )
    try:
        with connect(_address(process, log), max_size=None) as socket:
            yield Page(socket, downloads)
            socket.send(json.dumps({"id": 0, "method": "Browser.close"}))
            process.wait(_PATIENCE_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, 9)
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    with log.open() as lines:
        said = ""
        while (found := _LISTENING.search(said)) is None or not said.endswith("\n"):
            said += lines.read()
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"Chromium has ended: {said[-2000:]}")
    return found[1]


def _required() -> str:
    """Skips the test, or fails it, if there is no Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    wanted = os.environ.get("EAGER_TEST_BROWSER", "auto")
    if found is not None and wanted != "off":
        return found
    missing = f"no Chromium: {failure_of('browser') or 'scripts/prepare-tests installs it as root on Debian'}"
    if wanted == "required":
        pytest.fail(missing)
    pytest.skip(missing)
