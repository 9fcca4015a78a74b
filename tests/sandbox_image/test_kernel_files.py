import base64
from pathlib import Path
from typing import Any

import pytest

from sandbox_image.kernel_files import KernelFiles


class Session:
    """Asks, as the gateway does, until there is an answer."""

    def __init__(self, folder: Path) -> None:
        self.answers: list[dict[str, Any]] = []
        self.data = b""
        self._files = KernelFiles(str(folder), self.answers.append, self._take)

    def _take(self, text: str) -> None:
        self.data += base64.b64decode(text)

    def ask(self, op: str, **fields: Any) -> None:
        self._files.handle({"op": op, "id": 7, **fields})


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


def test_a_file_is_put_in_pieces_and_answered_at_its_end(session: Session, tmp_path: Path) -> None:
    session.ask("put", path="a/b", size=6)
    session.ask("data", data=base64.b64encode(b"abc").decode())
    assert session.answers == []
    session.ask("data", data=base64.b64encode(b"def").decode())
    assert session.answers == [{"t": "file", "id": 7, "ok": True, "size": 6}]
    assert (tmp_path / "a" / "b").read_bytes() == b"abcdef"


def test_an_empty_file_is_put_at_once(session: Session, tmp_path: Path) -> None:
    session.ask("put", path="empty", size=0)
    assert session.answers[0]["ok"]
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_large_file_is_got_in_answers_of_bounded_size(session: Session, tmp_path: Path) -> None:
    content = bytes(range(256)) * 12_000
    (tmp_path / "large").write_bytes(content)
    session.ask("get", path="large", limit=len(content))
    sizes = [len(session.data)]
    while not session.answers:
        session.ask("more")
        sizes.append(len(session.data))
    assert sizes == [1 << 20, 2 << 20, len(content)]
    assert session.data == content
    assert session.answers == [{"t": "file", "id": 7, "ok": True, "size": len(content)}]


def test_files_are_listed_and_removed(session: Session, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    session.ask("list", limit=10)
    assert [(entry["path"], entry["size"]) for entry in session.answers[0]["entries"]] == [("a", 1)]
    session.ask("remove", path="a")
    assert session.answers[1]["ok"]
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("op", "fields"),
    [
        ("get", {"path": "../outside", "limit": 10}),
        ("get", {"path": "none", "limit": 10}),
        ("get", {"path": "large", "limit": 10}),
        ("put", {"path": "/etc/passwd", "size": 0}),
        ("remove", {"path": "none"}),
    ],
)
def test_what_cannot_be_done_is_answered(session: Session, tmp_path: Path, op: str, fields: dict[str, Any]) -> None:
    (tmp_path / "large").write_bytes(bytes(11))
    session.ask(op, **fields)
    (answer,) = session.answers
    assert (answer["ok"], session.data) == (False, b"")
    assert answer["error"]
