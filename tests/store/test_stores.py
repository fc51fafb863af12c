"""The contract of every keeper of state."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from concento.model.errors import StartError
from concento.store.contract import Store
from concento.store.memory import MemoryStore
from concento.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else await SqliteStore.open(tmp_path / "s" / "kept.db")
    yield made
    await made.close()


async def test_what_was_kept_is_there_until_it_is_replaced_or_forgotten(store: Store) -> None:
    assert await store.get("a", "k") is None
    await store.put("a", "k", b"\x00one")
    await store.put("a", "k", b"two")
    await store.put("a", "l", b"three")
    await store.put("b", "k", b"other")
    assert await store.get("a", "k") == b"two"
    assert await store.items("a") == {"k": b"two", "l": b"three"}
    await store.delete("a", "k")
    await store.delete("a", "never there")
    assert await store.items("a") == {"l": b"three"}
    assert await store.items("none") == {}


async def test_a_file_is_the_owners_alone_and_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "state" / "kept.db"
    first = await SqliteStore.open(path)
    await first.put("a", "k", b"v")
    await first.close()
    second = await SqliteStore.open(path)
    assert await second.get("a", "k") == b"v"
    await second.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


async def test_a_file_that_cant_be_used_is_told_with_a_remedy(tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database, and long enough to be read as one" * 100)
    with pytest.raises(StartError, match="state"):
        await SqliteStore.open(broken)
