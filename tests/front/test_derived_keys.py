"""Keys that holders derive: never wider than their parent, and of no use when anything about them was changed.

Source: hardening T1, T36.
"""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concento.front.identity.derived import BLOCKS_MAX, PATTERNS_MAX, Block, Chain, _pair, _public, _to_sign, derive
from concento.front.identity.key_text import (
    BLOCKS_CHARS_MAX,
    DERIVED,
    PREFIX,
    TEXT_CHARS_MAX,
    decoded,
    encoded,
    parts,
    secret_in,
)
from concento.front.identity.keys import SPACE, ApiKeys, KeyProblem
from concento.model.principal import Principal
from concento.store.memory import MemoryStore
from concento.store.sqlite import SqliteStore
from concento.testing.clock import ManualClock

NOW_S = ManualClock().wall()
_SPELLINGS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def child(text: str, *, ends_s: float = NOW_S + 60.0, **options: tuple[str, ...] | str | None) -> str:
    """A key derived of a key's text, as its holder does it: with nothing else."""
    form = parts(text)
    assert form is not None
    id, is_derived, body = form
    parent = body if is_derived else secret_in(id, body)
    assert parent is not None
    return joined(id, derive(parent, expires_s=ends_s, seed=os.urandom(32), **options))  # type: ignore[arg-type]


def joined(id: str, blocks: str) -> str:
    return f"{PREFIX}{id}_{DERIVED}{blocks}"


def chain_of(text: str) -> tuple[str, Chain]:
    form = parts(text)
    assert form is not None
    raw = decoded(form[2])
    assert raw is not None
    return form[0], msgspec.msgpack.decode(raw, type=Chain)


def rebuilt(id: str, chain: Chain) -> str:
    return joined(id, encoded(msgspec.msgpack.encode(chain)))


async def hub(*, scopes: tuple[str, ...] = ("a", "b"), ttl_s: float | None = 3600.0) -> tuple[ApiKeys, str, str]:
    """Keys, with one of alice's: its id and its text."""
    keys = ApiKeys(MemoryStore(), ManualClock())
    record, text = await keys.create("alice", agent="claude", tenant="acme", roles=("dev",), scopes=scopes, ttl_s=ttl_s)
    return keys, record.id, text


def proved(keys: ApiKeys, text: str, now_s: float = NOW_S) -> Principal:
    found = keys.find(text, now_s)
    assert isinstance(found, Principal), found
    return found


def refused(keys: ApiKeys, text: str, now_s: float = NOW_S) -> str:
    found = keys.find(text, now_s)
    assert isinstance(found, KeyProblem), found
    return found.reason


async def test_a_derived_key_proves_its_parent_less_what_was_taken_away() -> None:
    keys, id, text = await hub()
    one = child(text, tools=("git.get_*", "time.*"), scopes=("b", "c"), agent="helper")
    two = child(one, tools=("*.get_log",), agent="sub", ends_s=NOW_S + 30.0)
    found = proved(keys, one)
    assert found.owner == ("acme", "alice", "helper")
    assert found.roles == {"dev"}
    assert found.scopes == {"b"}
    assert found.chain == ("claude",)
    assert found.narrowed == (("git.get_*", "time.*"),)
    assert (found.proof, found.until_s) == ("key", NOW_S + 60.0)
    assert found.credential.startswith(f"key:{id}/")
    last = proved(keys, two)
    assert (last.agent, last.chain, last.until_s) == ("sub", ("helper", "claude"), NOW_S + 30.0)
    assert last.narrowed == (("git.get_*", "time.*"), ("*.get_log",))
    assert last.credential != found.credential
    assert proved(keys, two) is last


_STEP = st.fixed_dictionaries(
    {
        "ends_s": st.floats(NOW_S + 1.0, NOW_S + 7200.0),
        "tools": st.none() | st.lists(st.sampled_from(["*", "git.*", "*.get_*", "t.x"]), max_size=3).map(tuple),
        "scopes": st.none() | st.frozensets(st.sampled_from("abcd"), max_size=4).map(tuple),
        "agent": st.none() | st.sampled_from(["x", "y", "claude"]),
    }
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(_STEP, min_size=1, max_size=BLOCKS_MAX), ttl_s=st.none() | st.floats(1.0, 7200.0))
async def test_no_sequence_of_derivations_is_wider_than_any_before_it(
    steps: list[dict[str, object]], ttl_s: float | None
) -> None:
    keys, _, text = await hub(ttl_s=ttl_s)
    before = proved(keys, text)
    for step in steps:
        try:
            text = child(text, **step)  # type: ignore[arg-type]
        except ValueError:  # it would have outlived the one before
            assert isinstance(step["ends_s"], float)
            assert before.until_s is not None
            assert step["ends_s"] > before.until_s
            return
        now = proved(keys, text)
        assert (now.tenant, now.subject, now.roles, now.proof) == ("acme", "alice", before.roles, "key")
        assert now.scopes <= before.scopes
        assert now.narrowed[: len(before.narrowed)] == before.narrowed
        if step["tools"] is not None:
            assert now.narrowed[len(before.narrowed) :] == (step["tools"],)
        assert now.until_s is not None
        assert before.until_s is None or now.until_s <= before.until_s
        acting = (before.agent, *before.chain)
        assert (now.agent, *now.chain)[-len(acting) :] == acting  # nobody who acts is left out
        before = now


async def test_what_a_block_asks_beyond_its_parent_is_not_given_even_if_it_is_signed_so() -> None:
    keys, _, text = await hub(ttl_s=100.0)
    greedy = child(text, ends_s=NOW_S + 1e6, scopes=("a", "concento:admin"))
    assert proved(keys, greedy).until_s == NOW_S + 100.0
    assert proved(keys, greedy).scopes == {"a"}
    id, chain = chain_of(child(text, ends_s=NOW_S + 10.0))
    longer = joined(id, forged_after(chain, Block(NOW_S + 1e6, b"", scopes=("a", "b", "x"))))
    assert proved(keys, longer).until_s == NOW_S + 10.0
    assert proved(keys, longer).scopes == {"a", "b"}


def forged_after(chain: Chain, block: Block) -> str:
    """One block more, signed rightly by a holder who keeps to no rule of `derive`."""
    return forged_raw(chain, lambda next: msgspec.msgpack.encode(msgspec.structs.replace(block, next=next)))


def forged_raw(chain: Chain, make: Callable[[bytes], bytes]) -> str:
    """The same, of whatever `make` makes of the public key of the next block."""
    seed = os.urandom(32)
    raw = make(_public(_pair(seed)))
    signature = _pair(chain.seed).sign(_to_sign(chain.blocks, raw))
    return encoded(msgspec.msgpack.encode(Chain((*chain.blocks, (raw, signature)), seed)))


@pytest.mark.parametrize(
    "extra",
    [
        {"expires_s": float("nan")},
        {"expires_s": float("inf")},
        {"tools": ("no-dot",)},
        {"tools": ("git.[a-z]",)},
        {"tools": ("*",) * (PATTERNS_MAX + 1)},
        {"scopes": ("a b",)},
        {"agent": ""},
        {"agent": "a\nb"},
        {"agent": "a" * 129},
    ],
)
async def test_a_block_that_could_not_have_been_derived_proves_nothing(extra: dict[str, object]) -> None:
    keys, _, text = await hub(ttl_s=None)
    id, chain = chain_of(child(text))
    block = msgspec.structs.replace(Block(NOW_S + 10.0, b""), **extra)
    assert "does not know" in refused(keys, joined(id, forged_after(chain, block)))


async def test_a_block_with_a_restriction_of_a_later_version_proves_nothing() -> None:
    keys, _, text = await hub()
    id, chain = chain_of(child(text))

    def later(next: bytes) -> bytes:
        return msgspec.msgpack.encode([NOW_S + 10.0, next, None, None, None, ["tool"]])

    assert "does not know" in refused(keys, joined(id, forged_raw(chain, later)))


async def test_every_changed_byte_and_every_other_spelling_fails() -> None:
    keys, _, text = await hub()
    good = child(child(text, tools=("git.*",)), scopes=("a",))
    assert isinstance(keys.find(good, NOW_S), Principal)
    form = parts(good)
    assert form is not None
    id, _, body = form
    raw = decoded(body)
    assert raw is not None
    for at in range(len(raw)):
        for bit in (0x01, 0x80):
            changed = bytearray(raw)
            changed[at] ^= bit
            refused(keys, joined(id, encoded(bytes(changed))))
    for at in range(len(body)):
        other = _SPELLINGS[(_SPELLINGS.index(body[at]) + 1) % 64]
        refused(keys, joined(id, body[:at] + other + body[at + 1 :]))
    for tail in ("A", "AA", "=", "==", "AAAA", "\n"):
        refused(keys, good + tail)
    for length in range(1, len(body)):
        refused(keys, joined(id, body[:length]))
    refused(keys, joined(id, encoded(raw + b"\x00")))
    assert raw[:1] == b"\x92"
    refused(keys, joined(id, encoded(b"\xdc\x00\x02" + raw[1:])))  # the same chain, spelled otherwise


@pytest.mark.parametrize("tool", ["g.*", "gi.*", "git.*"])
async def test_the_bits_that_the_last_character_has_to_spare_are_no_second_spelling(tool: str) -> None:
    keys, _, text = await hub()
    good = child(text, tools=(tool,))
    for other in set(_SPELLINGS) - {good[-1]}:
        refused(keys, good[:-1] + other)
    proved(keys, good)


async def test_a_dropped_block_at_any_place_fails() -> None:
    keys, _, text = await hub()
    good = child(child(child(text, tools=("a.*",)), tools=("b.*",)), tools=("c.*",))
    id, chain = chain_of(good)
    for at in range(3):
        left = (*chain.blocks[:at], *chain.blocks[at + 1 :])
        refused(keys, rebuilt(id, Chain(left, chain.seed)))
    assert "cut off" in refused(keys, rebuilt(id, Chain(chain.blocks[:2], chain.seed)))
    refused(keys, rebuilt(id, Chain((), chain.seed)))


async def test_reordered_repeated_and_swapped_blocks_fail() -> None:
    keys, _, text = await hub()
    first = child(text, tools=("a.*",))
    id, chain = chain_of(child(first, tools=("b.*",)))
    _, sibling = chain_of(child(first, tools=("*",)))
    a, b = chain.blocks
    for blocks in ((b, a), (a, a, b), (a, b, b), (b,), (a, sibling.blocks[1])):
        refused(keys, rebuilt(id, Chain(blocks, chain.seed)))
    mixed = (b[0], sibling.blocks[1][1])
    refused(keys, rebuilt(id, Chain((a, mixed), chain.seed)))


async def test_a_block_of_another_keys_chain_fails() -> None:
    keys, _, text = await hub()
    other, other_text = await keys.create("root", scopes=("concento:admin",))
    mine, theirs = child(text), child(other_text)
    id, chain = chain_of(mine)
    _, foreign = chain_of(theirs)
    refused(keys, rebuilt(other.id, chain))
    refused(keys, rebuilt(id, foreign))
    refused(keys, rebuilt(id, Chain((*chain.blocks, *foreign.blocks), foreign.seed)))
    refused(keys, rebuilt(id, Chain((*foreign.blocks, *chain.blocks), chain.seed)))
    assert proved(keys, theirs).subject == "root"


async def test_a_seed_that_is_not_the_last_ones_proves_nothing() -> None:
    keys, _, text = await hub()
    first = child(text, tools=("a.*",))
    id, chain = chain_of(child(first, tools=("b.*",)))
    for seed in (os.urandom(32), chain_of(first)[1].seed, chain.seed[:31], chain.seed + b"\0"):
        refused(keys, rebuilt(id, Chain(chain.blocks, seed)))


@pytest.mark.parametrize("known", [True, False])
async def test_a_derived_key_ends_at_its_very_second(known: bool) -> None:
    keys, _, text = await hub()
    short = child(child(text, ends_s=NOW_S + 60.0), ends_s=NOW_S + 10.0)
    if known:
        proved(keys, short)
        proved(keys, short, NOW_S + 9.75)
    assert refused(keys, short, NOW_S + 10.0) == "expired"


@pytest.mark.parametrize("known", [True, False])
async def test_revoking_a_key_ends_all_that_were_derived_of_it(known: bool) -> None:
    keys, id, text = await hub()
    derived = child(child(text))
    principal = proved(keys, derived) if known else None
    await keys.revoke(id)
    assert refused(keys, derived) == "revoked"
    assert principal is None or not keys.is_alive(principal.credential, NOW_S)


async def test_a_derived_key_does_not_outlive_a_rotation_of_its_parent() -> None:
    keys, id, text = await hub()
    derived = child(text, ends_s=NOW_S + 600.0)
    _, fresh = await keys.rotate(id, 60.0)
    assert proved(keys, derived).until_s == NOW_S + 60.0
    assert refused(keys, derived, NOW_S + 60.0) == "expired"
    assert proved(keys, child(fresh, ends_s=NOW_S + 600.0)).until_s == NOW_S + 600.0


async def test_a_derived_key_of_an_unknown_or_deleted_key_proves_nothing() -> None:
    keys, id, text = await hub()
    derived = child(text)
    assert isinstance(keys.find(derived, NOW_S), Principal)
    await keys._store.delete(SPACE, id)
    assert await keys.refresh() == {id}
    assert refused(keys, derived) == "unknown"


async def test_a_leaked_store_makes_no_key_and_derives_none(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "state.db")
    keys = ApiKeys(store, ManualClock())
    record, text = await keys.create("alice")
    derived = child(text)
    proved(keys, derived)
    await store.close()
    leaked = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    form = parts(text)
    assert form is not None
    secret = secret_in(record.id, form[2])
    assert secret is not None
    assert record.public in leaked
    assert chain_of(derived)[1].seed not in leaked
    assert secret not in leaked
    assert form[2].encode() not in leaked
    for found in (record.digest, record.public):  # nothing that is in it will do in the place of the secret
        refused(keys, joined(record.id, derive(found, expires_s=NOW_S + 60.0, seed=os.urandom(32))))
        refused(keys, rebuilt(record.id, Chain(chain_of(derived)[1].blocks, found)))


async def test_a_chain_has_eight_blocks_at_most_at_the_holders_and_at_the_hub() -> None:
    keys, _, text = await hub()
    for _ in range(BLOCKS_MAX):
        text = child(text)
    proved(keys, text)
    with pytest.raises(ValueError, match=str(BLOCKS_MAX)):
        child(text)
    id, chain = chain_of(text)
    refused(keys, joined(id, forged_after(chain, Block(NOW_S + 10.0, b""))))


async def test_a_key_is_no_longer_than_4096_characters() -> None:
    keys, _, text = await hub()
    patterns = tuple(f"s.{'x' * 100}{n:02}" for n in range(PATTERNS_MAX))
    fitting = child(text, tools=patterns[:26])
    assert len(fitting) <= TEXT_CHARS_MAX
    proved(keys, fitting)
    with pytest.raises(ValueError, match=str(TEXT_CHARS_MAX)):
        child(text, tools=patterns)
    id, chain = chain_of(child(text))
    long = forged_after(chain, Block(NOW_S + 10.0, b"", tools=patterns))
    assert len(long) > BLOCKS_CHARS_MAX
    refused(keys, joined(id, long))


async def test_deriving_says_what_would_be_no_narrower_or_cannot_be() -> None:
    _, _, text = await hub()
    first = child(text, ends_s=NOW_S + 60.0)
    with pytest.raises(ValueError, match="outlive"):
        child(first, ends_s=NOW_S + 61.0)
    with pytest.raises(ValueError, match="git"):
        child(text, tools=("git",))
    with pytest.raises(ValueError, match="patterns"):
        child(text, tools=("a.b",) * (PATTERNS_MAX + 1))
    with pytest.raises(ValueError, match="end"):
        child(text, ends_s=float("inf"))
    id, chain = chain_of(child(first))
    with pytest.raises(ValueError, match="cut short"):
        child(rebuilt(id, Chain(chain.blocks[:1], chain.seed)), ends_s=NOW_S + 1.0)


async def test_no_patterns_at_all_is_nothing_and_not_everything() -> None:
    keys, _, text = await hub()
    assert proved(keys, child(text, tools=())).narrowed == ((),)
    assert proved(keys, child(text, scopes=())).scopes == frozenset()


async def test_the_private_half_is_in_no_repr() -> None:
    _, _, text = await hub()
    _, chain = chain_of(child(text))
    assert repr(chain.seed)[2:-1] not in repr(chain)
