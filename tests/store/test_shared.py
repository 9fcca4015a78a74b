from __future__ import annotations

from pathlib import Path

import pytest

from app.api.shared.links import purge_shared
from app.store.blobs import BlobStore
from app.store.database import Store


async def add(store: Store, token: str, *, owner: str = "a", session: str = "s", ttl_s: float = 60) -> str:
    id = f"shared_{token}"
    await store.shared.add(
        id, token=token, owner=owner, session=session, name="x.png", media_type="image/png", bytes=1, ttl_s=ttl_s
    )
    return id


async def test_a_link_is_found_by_its_token_alone(store: Store) -> None:
    id = await add(store, "one")
    found = await store.shared.find("one")
    assert found is not None
    assert (found.id, found.owner, found.name) == (id, "a", "x.png")
    assert "one" not in found.digest
    assert await store.shared.find("two") is None


async def test_an_expired_link_leads_nowhere_and_its_contents_go(store: Store, tmp_path: Path) -> None:
    blobs = BlobStore(str(tmp_path / "files"))
    await blobs.prepare()
    gone, kept = await add(store, "gone", ttl_s=-1), await add(store, "kept")
    for id in (gone, kept):
        await blobs.put(id, b"1")
    await purge_shared(store, blobs)
    assert await store.shared.find("gone") is None
    assert await blobs.read(kept) == b"1"
    with pytest.raises(Exception, match="No such File"):
        await blobs.read(gone)
    assert await store.shared.expired() == []


async def test_what_is_revoked_is_of_one_owner_and_one_session(store: Store) -> None:
    await add(store, "one")
    await add(store, "two", session="t")
    await add(store, "three", owner="b")
    await store.shared.revoke(owner="a", session="s")
    found = [token for token in ("one", "two", "three") if await store.shared.find(token) is not None]
    assert found == ["two", "three"]
    assert not await store.shared.revoke_link("two", owner="b")
    assert await store.shared.revoke_link("two", owner="a")
    assert await store.shared.find("two") is None
