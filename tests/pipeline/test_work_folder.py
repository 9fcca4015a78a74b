"""What code did to its files, as its ``code.end`` tells."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import UNSET

from app.events import CodeEnd, FileChange
from app.pipeline.work_folder import CHANGES_LIMIT, FILES_LIMIT, WorkFolderWatch
from app.sandbox.worker.messages import FileEntry, FileReply
from tests.fakes.session import FakeSession, failing
from tests.pipeline.test_run import Request


class Folder(FakeSession):
    """``files``: size and time of each."""

    def __init__(self, **files: tuple[int, int]) -> None:
        super().__init__()
        self.files = dict(files)
        self.refuses = False

    async def list_files(self, limit: int) -> FileReply:
        self.history.append("list")
        entries = [FileEntry(path, size, mtime) for path, (size, mtime) in self.files.items()]
        return FileReply(0, not self.refuses, entries=entries[:limit], truncated=len(entries) > limit)


async def test_files_that_come_change_and_go_are_told_by_path() -> None:
    folder = Folder(a=(1, 1), b=(1, 1), c=(1, 1), d=(1, 1))
    watch = WorkFolderWatch()
    await watch.begin(folder)
    folder.files |= {"e": (7, 2), "b": (1, 2), "c": (5, 1), ".cache/font": (9, 9)}
    folder.files["pkg/__pycache__/m.cpython-311.pyc"] = (9, 9)
    del folder.files["a"]
    assert await watch.changes(folder) == [
        FileChange("a", "deleted", None),
        FileChange("b", "changed", 1),
        FileChange("c", "changed", 5),
        FileChange("e", "created", 7),
    ]
    assert await watch.changes(folder) == []


async def test_a_folder_is_listed_once_before_the_first_code_and_once_after_each() -> None:
    folder, watch = Folder(), WorkFolderWatch()
    for _ in range(3):
        await watch.begin(folder)
        await watch.changes(folder)
    assert folder.history == ["list"] * 4


async def test_of_many_changes_some_are_told() -> None:
    folder, watch = Folder(), WorkFolderWatch()
    await watch.begin(folder)
    folder.files = {f"{number:04}": (1, 1) for number in range(CHANGES_LIMIT + 1)}
    changes = await watch.changes(folder)
    assert changes is not None
    assert [change.path for change in changes] == sorted(folder.files)[:CHANGES_LIMIT]


@pytest.mark.parametrize("why", ["refused", "too many"])
async def test_what_cannot_be_listed_is_not_known_until_it_can_be_twice(why: str) -> None:
    folder, watch = Folder(), WorkFolderWatch()
    if why == "refused":
        folder.refuses = True
    else:
        folder.files = {str(number): (1, 1) for number in range(FILES_LIMIT + 1)}
    await watch.begin(folder)
    assert await watch.changes(folder) is None
    folder.refuses, folder.files = False, {}
    assert await watch.changes(folder) is None
    assert await watch.changes(folder) == []


async def whole(request: Request, *codes: str) -> list[Any]:
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(request.run())
        for index, code in enumerate(codes):
            request.upstream.code(code, id=f"call_{index}", index=index)
            request.upstream.end_code(index)
        request.upstream.finish()
    return [end.files for end in request.of(CodeEnd)]


class Writing(Folder):
    """Each execution leaves a file of its number."""

    async def execute(self, chunks: Any, **options: Any) -> Any:
        execution = await super().execute(chunks, **options)
        self.files[str(len(self.executed))] = (3, 0)
        return execution


async def test_each_piece_of_code_tells_its_own_files() -> None:
    request = Request()
    request.session = Writing()
    assert await whole(request, "a\n", "b\n") == [
        [FileChange("1", "created", 3)],
        [FileChange("2", "created", 3)],
    ]


async def test_code_of_which_nothing_ran_is_not_asked_for_files() -> None:
    request = Request()
    request.session = Writing()
    assert await whole(request, "x = (1]\n") == [[]]
    assert request.session.history == ["list"]  # before it


async def test_code_that_failed_tells_what_it_left() -> None:
    request = Request()
    request.session = Writing()
    request.session.fails["boom"] = failing()
    assert await whole(request, "boom()\n") == [[FileChange("1", "created", 3)]]


async def test_what_is_not_known_is_left_out_of_the_event() -> None:
    request = Request()
    request.session = folder = Writing()
    folder.refuses = True
    assert await whole(request, "a\n") == [UNSET]
