"""Where what users granted is kept: what opens, what does not, and how its key is changed. Source: hardening T30."""

import base64
from pathlib import Path

import pytest

from concento.credentials.vault import SPACE, Place, Vault, key_id, read_key
from concento.store.contract import Store
from concento.store.memory import MemoryStore
from concento.store.sqlite import SqliteStore

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
ALICE = Place("account", "acme", "github", "alice")


def vault(store: Store, *keys: bytes) -> tuple[Vault, list[str]]:
    told: list[str] = []
    one = Vault(store, told.append)
    one.use(keys)
    return one, told


async def test_what_is_kept_opens_there_and_is_nowhere_in_the_store(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    one, told = vault(store, OLD)
    await one.put(ALICE, b"a-secret-token")
    assert await one.get(ALICE) == b"a-secret-token"
    assert await one.places("account") == [ALICE]
    assert await one.places("client") == []
    await store.close()
    assert not any(b"a-secret-token" in file.read_bytes() for file in tmp_path.iterdir())
    assert told == []


@pytest.mark.parametrize(
    "elsewhere",
    [
        Place("account", "acme", "github", "bob"),
        Place("account", "acme", "gitlab", "alice"),
        Place("account", "other", "github", "alice"),
        Place("client", "acme", "github", "alice"),
    ],
)
async def test_what_is_moved_elsewhere_does_not_open_there(elsewhere: Place) -> None:
    store = MemoryStore()
    one, told = vault(store, OLD)
    await one.put(ALICE, b"a-secret-token")
    kept = await store.get(SPACE, ALICE.key)
    assert kept is not None
    await store.put(SPACE, elsewhere.key, kept)
    assert await one.get(elsewhere) is None
    assert "altered" in told[0]
    assert await one.get(ALICE) == b"a-secret-token"


async def test_every_byte_counts() -> None:
    store = MemoryStore()
    one, _ = vault(store, OLD)
    await one.put(ALICE, b"t")
    kept = await store.get(SPACE, ALICE.key)
    assert kept is not None
    for place in range(len(kept)):
        await store.put(SPACE, ALICE.key, kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1 :])
        assert await one.get(ALICE) is None
    await store.put(SPACE, ALICE.key, kept)
    assert await one.get(ALICE) == b"t"


async def test_an_old_key_opens_until_all_is_sealed_with_the_new_one() -> None:
    store = MemoryStore()
    old, _ = vault(store, OLD)
    bob = Place("account", "acme", "github", "bob")
    await old.put(ALICE, b"alices")
    await old.put(bob, b"bobs")
    both, _ = vault(store, NEW, OLD)
    assert await both.get(ALICE) == b"alices"  # sealed anew by being read
    assert await both.rotate() == 1
    assert await both.rotate() == 0
    new, told = vault(store, NEW)
    assert [await new.get(ALICE), await new.get(bob)] == [b"alices", b"bobs"]
    assert told == []


async def test_without_its_key_it_is_as_if_it_were_not_there_and_is_told() -> None:
    store = MemoryStore()
    old, _ = vault(store, OLD)
    await old.put(ALICE, b"alices")
    new, told = vault(store, NEW)
    assert await new.get(ALICE) is None
    assert "`vault.keys` no longer has" in told[0]
    await new.put(ALICE, b"connected anew")
    assert await new.get(ALICE) == b"connected anew"
    await new.delete(ALICE)
    assert await new.get(ALICE) is None


@pytest.mark.parametrize(
    "text",
    [
        OLD.hex(),
        OLD.hex().upper(),
        base64.b64encode(OLD).decode(),
        base64.urlsafe_b64encode(OLD).decode().rstrip("="),
        f"{base64.b64encode(OLD).decode()}\n",
    ],
)
def test_a_key_is_read_as_tools_print_it(text: str) -> None:
    assert read_key(text) == OLD


@pytest.mark.parametrize("text", ["", "secret", "00" * 32, "ab" * 16, base64.b64encode(b"x" * 32).decode(), "é" * 32])
def test_what_is_no_key_or_no_random_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        read_key(text)


def test_a_keys_name_says_nothing_of_it() -> None:
    assert key_id(OLD) != key_id(NEW)
    assert OLD.hex()[:8] not in key_id(OLD)
