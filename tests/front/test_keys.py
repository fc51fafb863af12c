"""API keys: who shows one, when it ends, what is left of those that prove nothing. Source: hardening T1, T30, T36."""

import hashlib
import re
import tracemalloc
from pathlib import Path

import msgspec
import pytest

from concento.front.identity.key_text import ID_CHARS, TEXT_CHARS_MAX
from concento.front.identity.keys import KNOWN_MAX, SPACE, USED_SPACE, ApiKeys, KeyProblem, KeyRecord
from concento.model.principal import Principal
from concento.store.contract import Store
from concento.store.memory import MemoryStore
from concento.store.sqlite import SqliteStore
from concento.testing.clock import ManualClock

SCANNED = re.compile(r"concento_[a-z0-9]{10}_(d\.)?[A-Za-z0-9_-]{20,}")
"""As docs/keys.md gives it to secret scanners."""


class CountingStore(MemoryStore):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[tuple[str, str]] = []

    async def put(self, space: str, key: str, value: bytes) -> None:
        self.puts.append((space, key))
        await super().put(space, key, value)


def hub(store: Store | None = None, clock: ManualClock | None = None) -> tuple[ApiKeys, ManualClock]:
    clock = clock or ManualClock()
    return ApiKeys(store or MemoryStore(), clock), clock


def reason(found: Principal | KeyProblem) -> str:
    assert isinstance(found, KeyProblem)
    return found.reason


async def test_a_key_proves_who_it_was_made_for() -> None:
    keys, clock = hub()
    record, text = await keys.create(
        "alice", agent="claude", tenant="acme", roles=("dev",), scopes=("a:read",), ttl_s=60.0, note="laptop"
    )
    for _ in range(2):  # proved, then known
        assert keys.find(text, clock.wall()) == Principal(
            *("alice", "claude", "acme", "key", frozenset({"dev"}), frozenset({"a:read"})),
            credential=f"key:{record.id}",
            until_s=clock.wall() + 60.0,
        )
    assert SCANNED.fullmatch(text)
    assert keys.find(text, clock.wall()) is keys.find(text, clock.wall())


@pytest.mark.parametrize("known", [True, False])
async def test_a_key_ends_at_its_very_second_also_for_those_who_have_shown_it(known: bool) -> None:
    keys, clock = hub()
    record, text = await keys.create("alice", ttl_s=60.0)
    if known:
        assert isinstance(keys.find(text, clock.wall()), Principal)
    clock.advance(59.75)
    assert not known or isinstance(keys.find(text, clock.wall()), Principal)
    assert keys.is_alive(f"key:{record.id}", clock.wall())
    clock.advance(0.25)
    assert reason(keys.find(text, clock.wall())) == "expired"
    assert not keys.is_alive(f"key:{record.id}", clock.wall())


async def test_a_mistyped_key_is_told_from_an_unknown_and_a_revoked_one() -> None:
    keys, clock = hub()
    record, text = await keys.create("alice")
    other = hub()[0]
    _, foreign = await other.create("alice")
    assert reason(keys.find(foreign, clock.wall())) == "unknown"
    for at in range(len("concento_"), len(text)):
        for instead in "xX9-":
            if at != 19 and text[at] != instead and (at > 19 or instead in ID_CHARS):
                typo = text[:at] + instead + text[at + 1 :]
                assert "mistyped" in reason(keys.find(typo, clock.wall()))
    await keys.revoke(record.id)
    assert reason(keys.find(text, clock.wall())) == "revoked"
    typo = text[:-1] + ("A" if text[-1] != "A" else "B")
    assert "mistyped" in reason(keys.find(typo, clock.wall()))


async def test_a_secret_of_another_key_proves_nothing() -> None:
    store = MemoryStore()
    keys, clock = hub(store)
    first, text = await keys.create("alice")
    second, _ = await keys.create("root", scopes=("concento:admin",))
    swapped = msgspec.structs.replace(second, id=first.id)
    await store.put(SPACE, first.id, msgspec.msgpack.encode(swapped))
    await keys.refresh()
    assert reason(keys.find(text, clock.wall())) == "the secret is wrong"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "concento_",
        "concento_abcdefghij_",
        "concento_ABCDEFGHIJ_" + "A" * 48,
        "concento_abcdefghij_" + "A" * 47,
        "concento_abcdefghij_" + "A" * 49,
        "concento_abcdefghij_" + "=" * 48,
        "concento_abcdefghij_" + "é" * 48,
        "concento_abcdefghij_" + "A" * 48 + "\n",
        " concento_abcdefghij_" + "A" * 48,
        "\ud800" * 60,
        "concento_abcdefghij_d.",
        "concento_abcdefghij_d." + "A" * 48,
        "concento_abcdefghij_d." + "A" * 100_000,
    ],
)
async def test_any_other_text_proves_nothing(text: str) -> None:
    keys, clock = hub()
    await keys.create("alice")
    assert isinstance(keys.find(text, clock.wall()), KeyProblem)


async def test_a_revoked_key_is_dead_at_once_here_and_with_the_next_look_elsewhere(tmp_path: Path) -> None:
    """T36: two processes share the file."""
    here_store, there_store = (
        await SqliteStore.open(tmp_path / "state.db"),
        await SqliteStore.open(tmp_path / "state.db"),
    )
    here, clock = hub(here_store)
    there, _ = hub(there_store, clock)
    record, text = await here.create("alice")
    lasting, _ = await here.create("bob")
    assert reason(there.find(text, clock.wall())) == "unknown"
    assert await there.refresh() == frozenset()
    assert isinstance(there.find(text, clock.wall()), Principal)
    await here.revoke(record.id)
    assert reason(here.find(text, clock.wall())) == "revoked"
    assert await there.refresh() == {record.id}
    assert reason(there.find(text, clock.wall())) == "revoked"
    assert not there.is_alive(f"key:{record.id}", clock.wall())
    assert await there.refresh() == frozenset()
    await here_store.delete(SPACE, lasting.id)
    assert await there.refresh() == {lasting.id}
    await here_store.close()
    await there_store.close()


async def test_a_look_tells_of_keys_that_ran_out_without_any_change() -> None:
    keys, clock = hub()
    short, _ = await keys.create("alice", ttl_s=10.0)
    longer, _ = await keys.create("alice", ttl_s=20.0)
    await keys.refresh()
    clock.advance(9.0)
    assert await keys.refresh() == frozenset()
    clock.advance(1.0)
    assert await keys.refresh() == {short.id}
    clock.advance(10.0)
    assert await keys.refresh() == {longer.id}


async def test_an_end_that_another_verb_came_across_is_still_told() -> None:
    store = MemoryStore()
    keys, _ = hub(store)
    gone, _ = await keys.create("alice")
    kept, _ = await keys.create("bob")
    await keys.refresh()
    await store.delete(SPACE, gone.id)
    await keys.revoke(kept.id)
    assert await keys.refresh() == {gone.id, kept.id}


async def test_one_key_that_cannot_be_read_keeps_no_other_alive() -> None:
    store = MemoryStore()
    keys, clock = hub(store)
    record, text = await keys.create("alice")
    assert isinstance(keys.find(text, clock.wall()), Principal)
    elsewhere, _ = hub(store, clock)
    await elsewhere.load()
    await elsewhere.revoke(record.id)
    await store.put(SPACE, "aaaaaaaaaa", b"\xff not a record")
    await store.put(SPACE, "bbbbbbbbbb", msgspec.msgpack.encode(record))  # of another id
    assert await keys.refresh() == {record.id}
    assert reason(keys.find(text, clock.wall())) == "revoked"
    assert set(keys.unreadable) == {"aaaaaaaaaa", "bbbbbbbbbb"}


async def test_a_rotated_key_has_the_same_rights_and_the_old_one_an_overlap() -> None:
    keys, clock = hub()
    old, old_text = await keys.create(
        "alice", agent="a", tenant="t", roles=("r",), scopes=("s",), ttl_s=600.0, note="n"
    )
    clock.advance(100.0)
    new, new_text = await keys.rotate(old.id, 60.0)
    assert new.id != old.id
    rights = ("subject", "agent", "tenant", "roles", "scopes", "note", "expires_s")
    assert [getattr(new, name) for name in rights] == [getattr(old, name) for name in rights]
    clock.advance(59.0)
    assert isinstance(keys.find(old_text, clock.wall()), Principal)
    clock.advance(1.0)
    assert reason(keys.find(old_text, clock.wall())) == "expired"
    assert isinstance(keys.find(new_text, clock.wall()), Principal)


async def test_without_an_overlap_the_old_key_ends_with_the_rotation() -> None:
    keys, clock = hub()
    old, text = await keys.create("alice")
    assert isinstance(keys.find(text, clock.wall()), Principal)
    await keys.rotate(old.id)
    assert isinstance(keys.find(text, clock.wall()), KeyProblem)


async def test_an_overlap_prolongs_nothing() -> None:
    keys, clock = hub()
    old, text = await keys.create("alice", ttl_s=10.0)
    await keys.rotate(old.id, 3600.0)
    clock.advance(10.0)
    assert reason(keys.find(text, clock.wall())) == "expired"


@pytest.mark.parametrize("end", ["revoked", "expired"])
async def test_a_dead_key_does_not_come_to_life_by_rotation(end: str) -> None:
    keys, clock = hub()
    record, text = await keys.create("alice", ttl_s=10.0)
    if end == "revoked":
        await keys.revoke(record.id)
    else:
        clock.advance(10.0)
    with pytest.raises(ValueError, match=end):
        await keys.rotate(record.id, 3600.0)
    assert reason(keys.find(text, clock.wall())) == end
    assert [kept.id for kept in keys.records] == [record.id]


async def test_a_key_stays_revoked_since_when_it_was() -> None:
    keys, clock = hub()
    record, _ = await keys.create("alice")
    first = await keys.revoke(record.id)
    clock.advance(5.0)
    assert await keys.revoke(record.id) == first


async def test_the_last_use_is_written_once_a_minute_and_never_by_a_find() -> None:
    store = CountingStore()
    keys, clock = hub(store)
    record, text = await keys.create("alice")
    store.puts.clear()
    for _ in range(100):
        keys.find(text, clock.wall())
    assert not store.puts
    await keys.flush()
    assert store.puts == [(USED_SPACE, record.id)]
    clock.advance(59.0)
    keys.find(text, clock.wall())
    last_s = clock.wall()
    await keys.flush()
    assert len(store.puts) == 1
    clock.advance(1.0)  # nothing was used since, and still the use before is not lost
    await keys.flush()
    await keys.flush()
    assert len(store.puts) == 2
    again, _ = hub(store, clock)
    await again.load()
    assert again.used_s == {record.id: last_s}


async def test_a_last_use_that_cannot_be_read_keeps_no_hub_from_starting() -> None:
    store = MemoryStore()
    keys, clock = hub(store)
    record, text = await keys.create("alice")
    await store.put(USED_SPACE, record.id, b"\xff")
    again, _ = hub(store, clock)
    await again.load()
    assert isinstance(again.find(text, clock.wall()), Principal)


async def test_a_hundred_thousand_wrong_keys_leave_nothing_behind() -> None:
    keys, clock = hub()
    _, text = await keys.create("alice")
    now_s = clock.wall()
    wrong = [text[:20] + hashlib.sha256(str(n).encode()).hexdigest()[:48] for n in range(100)]
    for one in wrong:
        keys.find(one, now_s)
    tracemalloc.start()
    try:
        for n in range(100_000):
            assert isinstance(keys.find(f"{wrong[n % 100][:-6]}{n:06}", now_s), KeyProblem)
        left_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert left_bytes < 50_000
    assert isinstance(keys.find(text, now_s), Principal)


async def test_proved_keys_are_remembered_up_to_a_bound_and_none_is_refused_beyond() -> None:
    keys, clock = hub()
    now_s = clock.wall()
    texts = [(await keys.create("alice"))[1] for _ in range(KNOWN_MAX + 10)]
    for text in texts:
        assert isinstance(keys.find(text, now_s), Principal)
    assert len(keys._proved) == KNOWN_MAX
    assert isinstance(keys.find(texts[0], now_s), Principal)


async def test_neither_a_secret_nor_its_digest_is_in_what_is_shown_or_kept() -> None:
    """T30."""
    store = MemoryStore()
    keys, clock = hub(store)
    record, text = await keys.create("alice")
    found = keys.find(text, clock.wall())
    secret = text.rsplit(record.id + "_", 1)[1]
    shown = f"{record!r} {keys!r} {found!r} {vars(keys)!r} {await store.items(SPACE)!r}"
    assert secret[:8] not in shown
    assert text not in shown
    assert repr(record.digest) not in repr(record)
    assert record.digest.hex() not in repr(record)


@pytest.mark.parametrize(
    ("subject", "options"),
    [
        ("", {}),
        ("a\nb", {}),
        ("a\x1b[2J", {}),
        ("a\u202eb", {}),
        (" a", {}),
        ("a" * 129, {}),
        ("alice", {"agent": ""}),
        ("alice", {"roles": ("a\tb",)}),
        ("alice", {"scopes": ("a b",)}),
        ("alice", {"scopes": ('a"',)}),
        ("alice", {"note": "a\nb"}),
        ("alice", {"note": "x" * 257}),
        ("alice", {"ttl_s": 0.0}),
        ("alice", {"ttl_s": float("nan")}),
        ("alice", {"ttl_s": float("inf")}),
    ],
)
async def test_what_cannot_be_shown_on_one_line_or_ends_before_it_begins_becomes_no_key(
    subject: str, options: dict[str, object]
) -> None:
    keys, _ = hub()
    with pytest.raises(ValueError, match=r"characters|good for some time"):
        await keys.create(subject, **options)  # type: ignore[arg-type]
    assert not keys.records


def test_a_record_of_a_later_version_is_read_without_what_it_adds() -> None:
    raw = {"id": "a" * 10, "digest": b"d", "public": b"p", "subject": "s", "added_later": 1}
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(raw), type=KeyRecord).subject == "s"


async def test_the_longest_text_is_looked_at_and_no_longer_one() -> None:
    keys, clock = hub()
    assert reason(keys.find("x" * (TEXT_CHARS_MAX + 1), clock.wall())) == reason(keys.find("x", clock.wall()))
