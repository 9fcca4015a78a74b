"""Keys that come and go while the gateway runs."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from app.api.edge.auth import Keyring
from app.api.edge.key_file import KeyFile, entries_of
from tests.api.served import served


def test_a_file_has_an_entry_on_each_line_or_a_list() -> None:
    text = '# ours\n\n one \n{"key": "two", "name": "b"}\nsha256:' + "0" * 64 + "\n"
    assert entries_of(text) == ("one", '{"key": "two", "name": "b"}', "sha256:" + "0" * 64)
    assert entries_of('[\n  "one",\n  "two"\n]\n') == ("one", "two")
    assert entries_of("") == ()


async def test_keys_are_added_and_withdrawn_when_the_file_changes_and_a_bad_file_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    path.write_text("one\n")
    keyring = Keyring(["configured"], closed=True)
    file = KeyFile(path, keyring, configured=["configured"])
    assert all(keyring.find(key) for key in ("configured", "one"))
    path.write_text("two, three\n")  # a comma is part of no key
    await file.look_again()
    path.write_text("[two\n")
    await file.look_again()
    path.unlink()
    await file.look_again()
    assert keyring.find("one")
    assert caplog.text.count("the API keys stay as they were") == 3
    assert "three" not in caplog.text
    path.write_text("two\n")
    await file.look_again()
    assert keyring.find("two")
    assert keyring.find("configured")
    assert keyring.find("one") is None


async def test_a_file_without_keys_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("one\n")
    async with served(tmp_path, api_keys=(), api_keys_file=path) as gateway:
        async with gateway.http("one") as http:
            assert (await http.get("/v1/files")).status_code == 200
            path.write_text("# none any more\n")
            os.kill(os.getpid(), signal.SIGHUP)
            async with asyncio.timeout(60):
                while (answer := await http.get("/v1/files")).status_code == 200:
                    await asyncio.sleep(0.01)
        assert answer.json()["error"]["code"] == "invalid_api_key"
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
