import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import SandboxStartError
from app.sandbox.docker.owner import Owner
from app.sandbox.docker.rendezvous import SOCKET_NAME, Rendezvous, check_peer, private_folder, remove_abandoned_folders


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


async def test_one_connection_is_taken_and_no_other_can_be_made(tmp_path: Path) -> None:
    rendezvous = Rendezvous(tmp_path / "one")
    path = tmp_path / "one" / SOCKET_NAME
    with connect(path) as first, await rendezvous.wait_connected() as ours:
        first.sendall(b"hello")
        assert ours.recv(5) == b"hello"
        assert not path.exists()
    rendezvous.close()
    assert list(tmp_path.iterdir()) == []


async def test_giving_up_wakes_the_waiting_and_closes_the_socket(tmp_path: Path) -> None:
    rendezvous = Rendezvous(tmp_path / "one")
    rendezvous.give_up("it ended early")
    with pytest.raises(SandboxStartError, match="it ended early"):
        await rendezvous.wait_connected()
    assert list((tmp_path / "one").iterdir()) == []
    rendezvous.close()


def test_a_peer_outside_of_the_container_is_refused() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs, pytest.raises(SandboxStartError, match=f"process {os.getpid()} "):
        check_peer(ours, "0123456789abcdef", os.getuid())


def test_folders_of_sockets_are_closed_to_other_users(tmp_path: Path) -> None:
    assert private_folder(tmp_path).stat().st_mode & 0o777 == 0o700


def test_only_folders_of_processes_that_have_ended_are_removed(tmp_path: Path) -> None:
    living, dead, unnamed = private_folder(tmp_path), private_folder(tmp_path), private_folder(tmp_path)
    (dead / "owner").write_text(str(replace(Owner.current(), started="1")))
    (unnamed / "owner").unlink()
    remove_abandoned_folders(tmp_path)
    assert {folder for folder in (living, dead, unnamed) if folder.exists()} == {living, unnamed}
