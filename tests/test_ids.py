from __future__ import annotations

import pytest

from app.ids import is_id, new_id


def test_new_ids_differ_and_can_be_looked_up() -> None:
    ids = {new_id("call") for _ in range(100)}
    assert len(ids) == 100
    assert all(id.startswith("call_") and is_id(id) for id in ids)


@pytest.mark.parametrize("value", ["", "a b", "a\n", "\0", "é", "x" * 129, None, 7, ["a"]])
def test_what_no_database_could_look_up_is_no_id(value: object) -> None:
    assert not is_id(value)
