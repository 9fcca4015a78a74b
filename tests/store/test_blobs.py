from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import RequestError
from app.store.blobs import NAME, PIECE, BlobStore


@pytest.fixture(params=["folder", "memory"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    blobs = BlobStore(str(tmp_path / "blobs") if request.param == "folder" else f"memory://{tmp_path.name}")
    await blobs.prepare()
    return blobs


@pytest.mark.parametrize("size", [0, 1, PIECE, 3 * PIECE + 1])
async def test_bytes_come_back_as_they_were_written_in_whatever_pieces(blobs: BlobStore, size: int) -> None:
    content = os.urandom(size)
    async with blobs.create("file-1", max_bytes=size) as writer:
        for start in range(0, size, 100_001):
            await writer.write(content[start : start + 100_001])
    assert writer.size == size
    async with blobs.open("file-1") as reader:
        assert reader.size == size
    assert await blobs.read("file-1") == content


@pytest.mark.parametrize(
    ("first", "length"), [(0, 0), (0, 1), (5, None), (PIECE - 1, 2), (1, 2 * PIECE), (2 * PIECE, 1), (7, 2 * PIECE - 6)]
)
async def test_a_part_of_a_blob_is_read(blobs: BlobStore, first: int, length: int | None) -> None:
    content = os.urandom(2 * PIECE + 1)
    await blobs.put("file-1", content)
    expected = content[first:] if length is None else content[first : first + length]
    async with blobs.open("file-1", first=first, length=length) as reader:
        assert reader.size == len(expected)
        assert b"".join([piece async for piece in reader]) == expected


async def test_a_blob_can_be_replaced_and_deleted(blobs: BlobStore) -> None:
    await blobs.put("file-1", b"old, and longer")
    await blobs.put("file-1", b"new")
    assert await blobs.read("file-1") == b"new"
    await blobs.delete("file-1")
    await blobs.delete("file-1")
    with pytest.raises(RequestError) as missed:
        await blobs.read("file-1")
    assert (missed.value.status, missed.value.code) == (404, "file_not_found")


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def test_one_that_becomes_too_large_leaves_nothing(tmp_path: Path) -> None:
    blobs = BlobStore(str(tmp_path))
    await blobs.prepare()

    async def write_too_much() -> None:
        async with blobs.create("file-1", max_bytes=PIECE) as writer:
            await writer.write(b"x" * PIECE)
            await writer.write(b"x")

    with pytest.raises(RequestError) as refused:
        await write_too_much()
    assert (refused.value.status, refused.value.code) == (413, "request_too_large")
    assert files_in(tmp_path) == []


async def test_a_failed_or_cancelled_replacement_leaves_the_old_one_whole(tmp_path: Path) -> None:
    blobs = BlobStore(str(tmp_path))
    await blobs.prepare()
    await blobs.put("file-1", b"old")
    writing = asyncio.Event()

    async def replace() -> None:
        async with blobs.create("file-1", max_bytes=10 * PIECE) as writer:
            await writer.write(b"x" * PIECE)
            writing.set()
            while True:
                await writer.flush()

    task = asyncio.ensure_future(replace())
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_in(tmp_path) == ["file-1"]
    assert await blobs.read("file-1") == b"old"


async def test_what_a_dead_process_left_is_removed_at_start_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    await BlobStore(str(tmp_path)).prepare()
    for name, age_s in (("dead", 2 * 86400), ("alive", 60)):
        unfinished = tmp_path / "tmp" / name
        unfinished.write_bytes(b"x")
        os.utime(unfinished, (time.time() - age_s,) * 2)
    await BlobStore(str(tmp_path)).prepare()
    assert files_in(tmp_path) == ["alive"]


@settings(deadline=None)
@given(st.text(max_size=20) | st.sampled_from(["../x", "a/b", ".hidden", "", "x" * 129, "tmp/x", "file-1\n"]))
def test_only_plain_names_are_names(name: str) -> None:
    plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum() and len(name) <= 128
    if plain and name[:1].isalnum():
        assert NAME.fullmatch(name)
    elif name:
        with pytest.raises(ValueError, match="not a blob name"):
            asyncio.run(BlobStore("memory://x").read(name))
