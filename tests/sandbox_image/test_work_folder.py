import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox_image import work_folder
from sandbox_image.protocol import ProtocolError
from sandbox_image.work_folder import Job, Refused, Reply, Upload, WorkFolder, explain, split_path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the work folder, with a secret."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def work(root: Path) -> Iterator[WorkFolder]:
    before = len(os.listdir("/proc/self/fd"))
    folder = WorkFolder(str(root))
    yield folder
    os.close(folder._fd)
    assert len(os.listdir("/proc/self/fd")) == before, "a descriptor was left open"


def finish(job: Job) -> tuple[bytes, Reply]:
    data = b""
    while True:
        try:
            data += next(job)
        except StopIteration as end:
            return data, end.value


def put(work: WorkFolder, path: str, data: bytes) -> Reply:
    upload = Upload(work, path, len(data))
    for start in range(0, len(data), 1000):
        upload.feed(data[start : start + 1000])
    assert upload.remaining == 0
    return upload.finish()


def names(work: WorkFolder, limit: int = 100) -> list[str]:
    return [entry["path"] for entry in finish(work.list(limit))[1]["entries"]]


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


BAD_PATHS = ["", "/etc/passwd", "..", "../x", "a/../../x", ".", "a/./b", "a//b", "a/", "a\0b", "\ud800", "x" * 1025]
BAD_PATHS += ["/".join("a" * 33)]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_that_could_leave_the_folder_are_refused_by_every_operation(
    path: str, work: WorkFolder, root: Path
) -> None:
    with pytest.raises(Refused):
        split_path(path)
    for job in (work.get(path, 100), work.remove(path)):
        with pytest.raises(Refused):
            finish(job)
    assert put(work, path, b"data")["ok"] is False
    assert tree(root) == []


def test_a_name_too_long_for_the_file_system_is_an_error(work: WorkFolder, root: Path) -> None:
    assert put(work, "x" * 256, b"data") == {"ok": False, "error": "File name too long"}
    assert tree(root) == []


def test_put_get_list_remove(work: WorkFolder, root: Path) -> None:
    data = os.urandom(200_000)
    assert put(work, "a/b/c.bin", data) == {"size": 200_000}
    assert put(work, "empty", b"") == {"size": 0}
    assert tree(root) == ["a", "a/b", "a/b/c.bin", "empty"]
    assert finish(work.get("a/b/c.bin", 200_000)) == (data, {"size": 200_000})
    assert finish(work.get("empty", 0)) == (b"", {"size": 0})
    status = (root / "a/b/c.bin").stat()
    entry = {"path": "a/b/c.bin", "size": 200_000, "mtime_ns": status.st_mtime_ns}
    assert finish(work.list(100))[1]["entries"][0] == entry
    assert finish(work.remove("a/b/c.bin"))[1] == {}
    assert names(work) == ["empty"]


def test_a_file_is_replaced_only_when_the_new_one_is_complete(work: WorkFolder, root: Path) -> None:
    (root / "f").write_text("old")
    upload = Upload(work, "f", 6)
    upload.feed(b"new")
    assert (root / "f").read_text() == "old"
    upload.feed(b"new")
    assert upload.finish() == {"size": 6}
    assert (root / "f").read_text() == "newnew"
    assert tree(root) == ["f"]


def test_more_than_was_announced_is_a_violation(work: WorkFolder) -> None:
    upload = Upload(work, "f", 2)
    with pytest.raises(ProtocolError):
        upload.feed(b"abc")
    upload.feed(b"ab")
    upload.finish()


def test_a_refused_put_drops_its_bytes_and_answers_at_the_end(work: WorkFolder) -> None:
    upload = Upload(work, "../f", 4)
    upload.feed(b"ab")
    upload.feed(b"cd")
    assert upload.remaining == 0
    assert upload.finish()["ok"] is False


def test_a_put_that_fails_midway_leaves_nothing(work: WorkFolder, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = Upload(work, "f", 6)
    upload.feed(b"abc")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        upload.feed(b"def")
    assert upload.finish() == {"ok": False, "error": "No space left on device"}
    assert tree(root) == []


def test_a_put_onto_a_folder_fails_and_leaves_nothing(work: WorkFolder, root: Path) -> None:
    (root / "d").mkdir()
    assert put(work, "d", b"data") == {"ok": False, "error": "Is a directory"}
    assert tree(root) == ["d"]


def test_a_put_whose_temporary_file_user_code_removed_fails(work: WorkFolder, root: Path) -> None:
    upload = Upload(work, "f", 1)
    for path in root.iterdir():
        path.unlink()
    upload.feed(b"x")
    assert upload.finish() == {"ok": False, "error": "No such file or directory"}


def test_a_put_whose_temporary_file_user_code_made_a_folder_fails(work: WorkFolder, root: Path) -> None:
    (root / "f").write_text("old")
    upload = Upload(work, "f", 1)
    for path in root.glob(".put-*"):
        path.unlink()
        path.mkdir()
    upload.feed(b"x")
    assert upload.finish() == {"ok": False, "error": "Not a directory"}
    assert (root / "f").read_text() == "old"


def test_symbolic_links_are_not_followed(work: WorkFolder, root: Path, outside: Path) -> None:
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    for path in ("file", "folder/secret"):
        with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
            finish(work.get(path, 100))
    assert put(work, "folder/new", b"data")["ok"] is False
    assert put(work, "folder/sub/new", b"data")["ok"] is False
    with pytest.raises(OSError, match="Not a directory"):
        finish(work.remove("folder/secret"))
    assert finish(work.list(100))[1] == {"entries": [], "truncated": False}
    assert tree(outside) == ["secret"]


def test_a_put_replaces_a_link_not_its_target(work: WorkFolder, root: Path, outside: Path) -> None:
    (root / "file").symlink_to(outside / "secret")
    assert put(work, "file", b"data") == {"size": 4}
    assert (outside / "secret").read_text() == "secret"
    assert not (root / "file").is_symlink()


def test_remove_takes_the_link_and_leaves_its_target(work: WorkFolder, root: Path, outside: Path) -> None:
    (root / "file").symlink_to(outside / "secret")
    finish(work.remove("file"))
    assert tree(root) == []
    assert tree(outside) == ["secret"]


def test_a_file_with_a_second_name_is_not_read(work: WorkFolder, root: Path, outside: Path) -> None:
    os.link(outside / "secret", root / "hard")
    with pytest.raises(Refused, match="hard links"):
        finish(work.get("hard", 100))
    assert names(work) == []
    assert put(work, "hard", b"data") == {"size": 4}
    assert (outside / "secret").read_text() == "secret"


def test_special_files_are_not_read_and_do_not_block(work: WorkFolder, root: Path) -> None:
    os.mkfifo(root / "fifo")
    (root / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        for path in ("fifo", "folder", "socket"):
            with pytest.raises((Refused, OSError)):
                finish(work.get(path, 100))
    assert names(work) == []
    finish(work.remove("fifo"))
    with pytest.raises(IsADirectoryError):
        finish(work.remove("folder"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_devices_are_not_read(work: WorkFolder, root: Path) -> None:
    os.mknod(root / "zero", 0o666 | 0o020000, os.makedev(1, 5))
    with pytest.raises((Refused, PermissionError)):
        finish(work.get("zero", 100))
    assert names(work) == []


def test_a_file_above_the_limit_is_refused_before_a_byte_is_sent(work: WorkFolder, root: Path) -> None:
    (root / "f").write_bytes(bytes(101))
    job = work.get("f", 100)
    with pytest.raises(Refused, match="larger than 100 bytes"):
        next(job)


def test_a_file_that_grows_while_it_is_read_stays_below_the_limit(work: WorkFolder, root: Path) -> None:
    (root / "f").write_bytes(bytes(70_000))
    job = work.get("f", 70_000)
    sent = [len(next(job))]
    with (root / "f").open("ab") as file:
        file.write(bytes(100_000))
    with pytest.raises(Refused, match="grown"):
        sent.extend(map(len, job))
    assert sum(sent) <= 70_000


def test_a_listing_is_sorted_bounded_and_says_so(work: WorkFolder, root: Path) -> None:
    for name in ("b", "a", "c"):
        (root / name).touch()
    assert finish(work.list(3))[1]["truncated"] is False
    assert names(work, 3) == ["a", "b", "c"]
    reply = finish(work.list(2))[1]
    assert (len(reply["entries"]), reply["truncated"]) == (2, True)


def test_a_listing_yields_to_others_and_looks_at_a_bounded_number(
    work: WorkFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(600):
        (root / str(number)).mkdir()
    assert len(list(work.list(10))) == 2
    monkeypatch.setattr(work_folder, "_MAX_VISITED", 10)
    assert finish(work.list(10))[1] == {"entries": [], "truncated": True}


def test_names_of_any_bytes_are_listed_read_replaced_and_removed(work: WorkFolder, root: Path) -> None:
    place = os.fsencode(root)
    for name in (b"bad\xff.txt", b"d\xe9/f\xc3", b"\xc3\xa9", b"good"):
        os.makedirs(os.path.dirname(os.path.join(place, name)), exist_ok=True)
        with open(os.path.join(place, name), "wb") as file:
            file.write(name)
    reply: dict[str, Any] = finish(work.list(10))[1]
    listed = [entry["path"] for entry in reply["entries"]]
    assert (listed, reply["truncated"]) == (["bad\\xff.txt", "d\\xe9/f\\xc3", "good", "é"], False)
    assert finish(work.get("bad\\xff.txt", 100))[0] == b"bad\xff.txt"
    assert finish(work.get("d\\xe9/f\\xc3", 100))[0] == b"d\xe9/f\xc3"
    assert put(work, "d\\xe9/f\\xc3", b"new") == {"size": 3}
    assert names(work) == listed
    assert finish(work.get("d\\xe9/f\\xc3", 100))[0] == b"new"
    for name in listed:
        finish(work.remove(name))
    assert names(work) == []


def test_a_name_that_is_there_as_it_is_written_goes_before_one_of_other_bytes(work: WorkFolder, root: Path) -> None:
    put(work, "a\\xff", b"text")
    os.close(os.open(os.fsencode(root) + b"/a\xff", os.O_CREAT))
    assert finish(work.get("a\\xff", 100))[0] == b"text"
    finish(work.remove("a\\xff"))
    assert os.listdir(os.fsencode(root)) == [b"a\xff"]
    assert put(work, "b\\xfe", b"text") == {"size": 4}
    assert (root / "b\\xfe").read_bytes() == b"text"


def test_a_listing_stops_at_the_depth_that_paths_may_have(work: WorkFolder, root: Path) -> None:
    deep = root.joinpath(*["d"] * 31)
    deep.mkdir(parents=True)
    (deep / "f").touch()
    (deep / "e").mkdir()
    (deep / "e" / "f").touch()
    reply = finish(work.list(10))[1]
    assert ([entry["path"] for entry in reply["entries"]], reply["truncated"]) == (["d/" * 31 + "f"], True)
    assert finish(work.get("d/" * 31 + "f", 10))[1] == {"size": 0}


def test_a_listing_that_is_abandoned_closes_what_it_opened(work: WorkFolder, root: Path) -> None:
    for number in range(300):
        (root / str(number)).mkdir()
    job = work.list(10)
    next(job)
    job.close()


def test_the_longest_listing_fits_into_a_frame() -> None:
    from sandbox_image.protocol import MAX_FRAME_BYTES

    entry = 100 + 6 * work_folder.MAX_PATH_BYTES
    assert work_folder.MAX_ENTRIES * entry < MAX_FRAME_BYTES


def test_errors_are_explained_without_our_own_names() -> None:
    assert explain(FileNotFoundError(2, "No such file or directory", ".put-123")) == "No such file or directory"
    assert explain(OSError()) == "I/O error"
    assert explain(Refused("why")) == "why"


def test_a_folder_that_is_missing_or_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("missing", "file", "link"):
        with pytest.raises(OSError, match=r"No such file|Not a directory"):
            WorkFolder(str(tmp_path / name))
