from __future__ import annotations

from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest

from app.api.edge.auth import ANYONE
from app.api.files.lookup import NAMED_LIMIT, file_names, find_files
from app.errors import RequestError
from app.store.database import Store, open_store
from app.store.files import Files


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with open_store("sqlite+aiosqlite://") as store:
        for number in range(3):
            await store.files.add(f"file-{number}", owner=ANYONE.name, filename="x.csv", bytes=1, purpose="user_data")
        await store.files.add("file-b", owner="b", filename="x.csv", bytes=1, purpose="user_data")
        yield store


async def test_files_are_found_in_the_order_they_are_named_each_once_by_one_question(store: Store) -> None:
    with patch.object(Files, "get_all", autospec=True, side_effect=Files.get_all) as asked:
        found = await find_files(store, ANYONE, ["file-2", "file-0", "file-2"], param="p")
        assert [record.id for record in found] == ["file-2", "file-0"]
        assert asked.call_count == 1
        assert await find_files(store, ANYONE, [], param="p") == []
        assert asked.call_count == 1


@pytest.mark.parametrize("id", ["file-b", "file-9"])
async def test_what_is_not_there_is_an_error_unless_it_is_optional(store: Store, id: str) -> None:
    with pytest.raises(RequestError) as missing:
        await find_files(store, ANYONE, ["file-1", id], param="p", optional={"file-1"})
    assert (missing.value.status, missing.value.code) == (404, "file_not_found")
    found = await find_files(store, ANYONE, ["file-1", id], param="p", optional={id})
    assert [record.id for record in found] == ["file-1"]


@pytest.mark.parametrize("ids", [["\0"], ["é"], [f"file-{number}" for number in range(NAMED_LIMIT + 1)]])
async def test_what_cannot_be_looked_up_is_refused(store: Store, ids: list[str]) -> None:
    with pytest.raises(RequestError) as refused:
        await find_files(store, ANYONE, ids, param="p")
    assert (refused.value.status, refused.value.param) == (400, "p")


async def test_a_name_that_is_taken_is_told_apart(store: Store) -> None:
    names = file_names(await find_files(store, ANYONE, ["file-0", "file-1"], param="p"))
    assert names == {"file-0": "x.csv", "file-1": "file-1-x.csv"}
