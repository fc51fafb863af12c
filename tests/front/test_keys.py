"""API keys, and keys that their holders derive. Source: hardening T1, T7, T30, T36."""

import base64
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concento.front.identity import derived
from concento.front.identity.keys import SPACE, ApiKeys, KeyProblem, secret_of
from concento.model.principal import Principal
from concento.store.memory import MemoryStore
from concento.store.sqlite import SqliteStore
from concento.testing.clock import ManualClock

FORM = re.compile(r"concento_[a-z0-9]{10}_(d\.)?[A-Za-z0-9_-]{20,}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def keys(clock: ManualClock) -> ApiKeys:
    return ApiKeys(MemoryStore(), clock)


def found(keys: ApiKeys, text: str, clock: ManualClock) -> Principal | str:
    who = keys.find(text, clock.wall())
    return who.reason if isinstance(who, KeyProblem) else who


async def test_a_key_proves_who_holds_it(keys: ApiKeys, clock: ManualClock) -> None:
    record, text = await keys.create("alice", agent="ci", tenant="acme", roles=("dev",), scopes=("a", "b"), ttl_s=60)
    assert FORM.fullmatch(text)
    who = found(keys, text, clock)
    assert who == Principal(
        *("alice", "ci", "acme", "key", frozenset({"dev"}), frozenset({"a", "b"})),
        credential=f"key:{record.id}",
        until_s=clock.wall() + 60,
    )
    assert found(keys, text, clock) is who  # the same one each time: views and limits are kept by it


async def test_a_key_ends_to_the_second_whether_it_was_seen_before_or_not(keys: ApiKeys, clock: ManualClock) -> None:
    _, text = await keys.create("alice", ttl_s=60)
    assert isinstance(found(keys, text, clock), Principal)
    clock.advance(59.9)
    assert isinstance(found(keys, text, clock), Principal)
    clock.advance(0.1)
    assert found(keys, text, clock) == "expired"
    await keys.refresh()
    assert found(keys, text, clock) == "expired"


async def test_what_is_no_key_proves_nothing(keys: ApiKeys, clock: ManualClock) -> None:
    record, text = await keys.create("alice")
    _, other = await keys.create("bob")
    wrong = f"{text[:20]}{other[20:]}"
    assert found(keys, wrong, clock) == "the secret is wrong"
    assert found(keys, f"concento_{'z' * 10}{text[19:]}", clock) == "unknown"
    for bad in (text[:-1], text + "x", text.upper(), text.replace("_", "-"), "", "concento_", text + "\n", "x" * 5000):
        assert isinstance(found(keys, bad, clock), str)
    for place in range(20, len(text)):
        mistyped = f"{text[:place]}{'A' if text[place] != 'A' else 'B'}{text[place + 1 :]}"
        assert isinstance(found(keys, mistyped, clock), str)
    await keys.revoke(record.id)
    assert found(keys, text, clock) == "revoked"


async def test_another_process_makes_and_revokes_keys(tmp_path: Path, clock: ManualClock) -> None:
    first, second = await SqliteStore.open(tmp_path / "c.db"), await SqliteStore.open(tmp_path / "c.db")
    here, there = ApiKeys(first, clock), ApiKeys(second, clock)
    record, text = await there.create("alice")
    assert found(here, text, clock) == "unknown"
    await here.refresh()
    assert isinstance(found(here, text, clock), Principal)
    assert here.is_alive(f"key:{record.id}", clock.wall())
    await there.revoke(record.id)
    await here.refresh()
    assert found(here, text, clock) == "revoked"
    assert not here.is_alive(f"key:{record.id}", clock.wall())
    await first.close()
    await second.close()


async def test_a_rotated_key_is_good_for_its_overlap(keys: ApiKeys, clock: ManualClock) -> None:
    old, text = await keys.create("alice", roles=("dev",), ttl_s=1000)
    new, fresh = await keys.rotate(old.id, overlap_s=60)
    assert (new.subject, new.roles, new.expires_s) == ("alice", ("dev",), old.expires_s)
    assert isinstance(found(keys, text, clock), Principal)
    clock.advance(60)
    assert found(keys, text, clock) == "revoked"
    assert isinstance(found(keys, fresh, clock), Principal)


async def test_the_secret_is_kept_nowhere(clock: ManualClock) -> None:
    store = MemoryStore()
    keys = ApiKeys(store, clock)
    record, text = await keys.create("alice")
    keys.find(text, clock.wall())
    secret = secret_of(text)
    assert secret is not None
    kept = b"".join((await store.items(SPACE)).values())
    assert secret not in kept
    assert text[20:].encode() not in kept
    assert text not in repr(vars(keys))
    assert text[20:] not in repr(record)


async def test_when_a_key_was_used_is_written_once_a_minute(clock: ManualClock) -> None:
    store = MemoryStore()
    keys = ApiKeys(store, clock)
    record, text = await keys.create("alice")
    for _ in range(3):
        keys.find(text, clock.wall())
        await keys.flush()
        clock.advance(1)
    again = ApiKeys(store, clock)
    await again.load()
    assert again.used_s[record.id] == clock.wall() - 3


async def test_a_flood_of_wrong_keys_fills_nothing(keys: ApiKeys, clock: ManualClock) -> None:
    await keys.create("alice")
    for number in range(50_000):
        keys.find(f"concento_abcdefghij_{number:040}", clock.wall())
    assert not keys._proved
    assert not keys.used_s


# -- derived keys


def derive(text: str, clock: ManualClock, **options: object) -> str:
    """As `concento key derive` does."""
    head, _, chain = text.partition("_d.")
    parent: str | bytes = chain or secret_of(text) or ""
    options = {"expires_s": clock.wall() + 60, "seed": b"s" * 32, **options}
    return f"{head if chain else text[:19]}_d.{derived.derive(parent, **options)}"  # type: ignore[arg-type]


async def test_a_derived_key_is_narrower_and_shorter(keys: ApiKeys, clock: ManualClock) -> None:
    record, text = await keys.create("alice", agent="ci", roles=("dev",), scopes=("a", "b"), ttl_s=600)
    one = derive(text, clock, tools=("git.*",), scopes=("b", "c"), agent="helper")
    two = derive(one, clock, tools=("*.get_*",), expires_s=clock.wall() + 30, seed=b"t" * 32, agent="sub")
    assert FORM.fullmatch(two)
    who = found(keys, two, clock)
    assert isinstance(who, Principal)
    assert (who.subject, who.tenant) == ("alice", "default")
    assert (who.roles, who.scopes) == (frozenset({"dev"}), frozenset({"b"}))
    assert (who.agent, who.chain) == ("sub", ("helper", "ci"))
    assert who.narrowed == (("git.*",), ("*.get_*",))
    assert who.until_s == clock.wall() + 30
    assert who.credential.startswith(f"key:{record.id}/")
    clock.advance(30)
    assert found(keys, two, clock) == "expired"
    assert isinstance(found(keys, one, clock), Principal)
    await keys.revoke(record.id)
    assert found(keys, one, clock) == "revoked"
    assert not keys.is_alive(who.credential, clock.wall())


async def test_no_derived_key_outlives_the_one_it_is_of(keys: ApiKeys, clock: ManualClock) -> None:
    _, text = await keys.create("alice", ttl_s=10)
    late = derive(text, clock)  # its block says 60 s
    who = found(keys, late, clock)
    assert isinstance(who, Principal)
    assert who.until_s == clock.wall() + 10
    with pytest.raises(ValueError, match="outlive"):
        derive(late, clock, expires_s=clock.wall() + 61)


def parts(text: str) -> tuple[str, list[tuple[bytes, bytes]], bytes]:
    head, _, body = text.partition("_d.")
    blocks, last = msgspec.msgpack.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return head, [tuple(block) for block in blocks], last


def whole(head: str, blocks: list[tuple[bytes, bytes]], last: bytes) -> str:
    body = base64.urlsafe_b64encode(msgspec.msgpack.encode((blocks, last))).decode().rstrip("=")
    return f"{head}_d.{body}"


async def test_a_chain_can_not_be_cut_reordered_spliced_or_altered(keys: ApiKeys, clock: ManualClock) -> None:
    _, text = await keys.create("alice")
    _, foreign = await keys.create("bob")
    one = derive(text, clock, tools=("git.*",), seed=b"1" * 32)
    two = derive(one, clock, tools=("*.get_*",), seed=b"2" * 32)
    other = derive(derive(text, clock, tools=("docs.*",), seed=b"3" * 32), clock, tools=("*",), seed=b"4" * 32)
    assert isinstance(found(keys, two, clock), Principal)
    head, blocks, last = parts(two)
    _, other_blocks, other_last = parts(other)
    forged = [
        whole(head, blocks[:1], last),  # the last block dropped: that would be wider
        whole(head, blocks[1:], last),
        whole(head, blocks[::-1], last),
        whole(head, [*blocks, blocks[1]], last),
        whole(head, [blocks[0], other_blocks[1]], other_last),
        whole(head, [other_blocks[0], blocks[1]], last),
        whole(head, blocks, bytes(32)),
        whole(head, [], last),
        two.replace(head, foreign[:19]),
    ]
    for text_ in forged:
        assert isinstance(found(keys, text_, clock), str)
    body = two.partition("_d.")[2]
    raw = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    for place in range(len(raw)):
        flipped = bytes([*raw[:place], raw[place] ^ 1, *raw[place + 1 :]])
        altered = f"{head}_d.{base64.urlsafe_b64encode(flipped).decode().rstrip('=')}"
        assert isinstance(found(keys, altered, clock), str), place


async def test_a_store_that_leaked_makes_no_key(keys: ApiKeys, clock: ManualClock) -> None:
    """What is kept is a digest and a public key: neither signs a block."""
    record, _ = await keys.create("alice")
    for stolen in (record.digest, record.public):
        made = f"concento_{record.id}_d.{derived.derive(stolen, expires_s=clock.wall() + 9, seed=bytes(32))}"
        assert isinstance(found(keys, made, clock), str)
        encoded = base64.urlsafe_b64encode(stolen + bytes(4)).decode().rstrip("=")
        assert isinstance(found(keys, f"concento_{record.id}_{encoded}", clock), str)


def test_a_chain_has_an_end() -> None:
    chain: str | bytes = b"k" * 32
    for number in range(derived.BLOCKS_MAX):
        chain = derived.derive(chain, expires_s=1.0, seed=bytes([number]) * 32)
    with pytest.raises(ValueError, match="8 times"):
        derived.derive(chain, expires_s=1.0, seed=bytes(32))
    with pytest.raises(ValueError, match="64 patterns"):
        derived.derive(b"k" * 32, expires_s=1.0, seed=bytes(32), tools=("a.*",) * 65)


STEPS = st.lists(
    st.tuples(
        st.none() | st.lists(st.sampled_from(["a.*", "*.b", "c.d"]), min_size=1, max_size=2),
        st.none() | st.lists(st.sampled_from(["s1", "s2", "s3"]), max_size=3),
        st.floats(0, 100),
    ),
    min_size=1,
    max_size=5,
)


@given(STEPS)
def test_no_sequence_of_steps_is_ever_wider(steps: list[tuple[list[str] | None, list[str] | None, float]]) -> None:
    secret, public = b"k" * 32, derived.public_key(b"k" * 32)
    parent = before = Principal("alice", scopes=frozenset({"s1", "s2"}), until_s=50.0, credential="key:x")
    chain: str | bytes = secret
    soonest = 1000.0
    for tools, scopes, left_s in steps:
        soonest = min(soonest, 1 + left_s)
        chain = derived.derive(
            chain,
            expires_s=soonest,
            seed=b"n" * 32,
            tools=None if tools is None else tuple(tools),
            scopes=None if scopes is None else tuple(scopes),
        )
        who = derived.narrowed(chain, public, parent, 0.0)
        assert isinstance(who, Principal)
        assert who.scopes <= before.scopes
        assert who.narrowed[: len(before.narrowed)] == before.narrowed
        assert who.until_s is not None
        assert before.until_s is not None
        assert who.until_s <= before.until_s
        before = who
