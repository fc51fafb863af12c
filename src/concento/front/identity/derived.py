"""Keys that the holder of a key makes for somebody else: narrower, shorter, never wider, and derivable again.

A derived key is a chain of blocks, each signed with the key pair of the one before; the first pair follows from the
parent's secret, of which the hub keeps the public half only, so that its store can make no key. No hub is asked.

The private half of the last block's pair rides along, and is what proves the end of the chain. Whoever was given a
chain has the half that fits its last block and none that fits an earlier one: to cut off a block they would have to
show a half that was never theirs, and what they sign themselves can only follow. That it travels costs nothing: it can
do no more than the key that it is a part of.
"""

import hashlib
import math
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct, structs

from ...model.principal import Principal
from .key_text import (
    BLOCKS_CHARS_MAX,
    NAME_CHARS_MAX,
    PATTERN_CHARS_MAX,
    TEXT_CHARS_MAX,
    decoded,
    encoded,
    is_name,
    is_pattern,
    is_scope,
)

BLOCKS_MAX: Final = 8
PATTERNS_MAX: Final = 64
SCOPES_MAX: Final = 64
_SIGNED_FOR: Final = b"concento derived key\0"


class Block(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One step of narrowing. None says nothing: what the step before had stays.

    A block with more in it than is known here proves nothing: to leave out what narrows would be to widen.
    """

    expires_s: float
    next: bytes
    """The public key that the next block is signed for."""
    tools: tuple[str, ...] | None = None
    """Patterns over `server.name`; none at all means nothing may be used."""
    scopes: tuple[str, ...] | None = None
    agent: str | None = None

    def problem(self) -> str | None:
        """What can't be in a block; None if all can."""
        if not math.isfinite(self.expires_s):
            return "a derived key has to end at some time"
        if self.tools is not None:
            if len(self.tools) > PATTERNS_MAX:
                return f"a derived key names {PATTERNS_MAX} patterns at most"
            for tool in self.tools:
                if not is_pattern(tool):
                    return (
                        f"{tool[:PATTERN_CHARS_MAX]!r} is no pattern over server.tool, such as git.get_*, of at most "
                        f"{PATTERN_CHARS_MAX} characters"
                    )
        if self.scopes is not None:
            if len(self.scopes) > SCOPES_MAX:
                return f"a derived key names {SCOPES_MAX} scopes at most"
            for scope in self.scopes:
                if not is_scope(scope):
                    return f"{scope[:NAME_CHARS_MAX]!r} is no scope: visible ASCII, without spaces and quotes"
        if self.agent is not None and not is_name(self.agent):
            return f"an agent's name is one line of 1 to {NAME_CHARS_MAX} characters"
        return None


Signed = tuple[bytes, bytes]
"""A block as it was signed, and the signature: over it and all that comes before it."""


class Chain(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a derived key consists of."""

    blocks: tuple[Signed, ...]
    seed: bytes
    """The private key of the last block's `next`."""

    def __repr__(self) -> str:
        return f"Chain(of {len(self.blocks)})"


_chain = msgspec.msgpack.Decoder(Chain)
_block = msgspec.msgpack.Decoder(Block)
_encode = msgspec.msgpack.Encoder().encode


def public_key(secret: bytes) -> bytes:
    """What the hub keeps of a key, to know what was derived from it."""
    return _public(_pair(_seed(secret)))


# -- at the holder's


def derive(
    parent: str | bytes,
    *,
    expires_s: float,
    seed: bytes,
    tools: tuple[str, ...] | None = None,
    scopes: tuple[str, ...] | None = None,
    agent: str | None = None,
) -> str:
    """A chain with one block more: of a key's secret (bytes), or of a chain (text, without the key's id).

    `seed`: 32 random bytes for the new pair. Errors: ValueError, for what would not be narrower or shorter.
    """
    before: tuple[Signed, ...] = ()
    if isinstance(parent, str):
        chain = _opened(parent)
        last = None if chain is None else _read(chain.blocks[-1][0])
        if chain is None or last is None or _public(_pair(chain.seed)) != last.next:
            raise ValueError("this is no key that can be derived from: it was cut short or altered")
        if expires_s > last.expires_s:
            over_s = math.ceil(expires_s - last.expires_s)
            raise ValueError(f"a derived key can't outlive the one it is derived from, by {over_s} s: make it shorter")
        before, signing = chain.blocks, _pair(chain.seed)
    else:
        signing = _pair(_seed(parent))
    if len(before) >= BLOCKS_MAX:
        raise ValueError(f"a key can be derived {BLOCKS_MAX} times in a row at most; derive from an earlier one")
    block = Block(expires_s, _public(_pair(seed)), tools, scopes, agent)
    if (problem := block.problem()) is not None:
        raise ValueError(problem)
    raw = _encode(block)
    text = encoded(_encode(Chain((*before, (raw, signing.sign(_to_sign(before, raw)))), seed)))
    if len(text) > BLOCKS_CHARS_MAX:
        raise ValueError(f"the key would be longer than {TEXT_CHARS_MAX} characters; name fewer patterns")
    return text


# -- at the hub


def narrowed(text: str, public: bytes, parent: Principal, now_s: float) -> Principal | str:
    """Who shows a derived key: its parent, less what the blocks take away; or why it is none."""
    chain = _opened(text)
    if chain is None:
        return "this is not the form of a derived key"
    principal = parent
    for number, (raw, signature) in enumerate(chain.blocks):
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, _to_sign(chain.blocks[:number], raw))
        except (InvalidSignature, ValueError):
            return "a block of the chain was altered, or is of another key's chain"
        block = _read(raw)
        if block is None:
            return "a block of the chain says what this hub does not know"
        principal, public = _applied(principal, block), block.next
    if _public(_pair(chain.seed)) != public:
        return "the end of the chain was cut off"
    if principal.until_s is not None and now_s >= principal.until_s:
        return "expired"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return structs.replace(principal, credential=f"{parent.credential}/{digest}")


def _applied(principal: Principal, block: Block) -> Principal:
    """Somebody, less what a block takes away: nothing in a block adds to what its parent has."""
    chain = principal.chain
    if block.agent is not None and principal.agent is not None:
        chain = (principal.agent, *chain)
    return structs.replace(
        principal,
        within=principal,
        agent=principal.agent if block.agent is None else block.agent,
        chain=chain,
        until_s=block.expires_s if principal.until_s is None else min(principal.until_s, block.expires_s),
        scopes=principal.scopes if block.scopes is None else principal.scopes.intersection(block.scopes),
        narrowed=principal.narrowed if block.tools is None else (*principal.narrowed, block.tools),
    )


# -- what both share


def _opened(text: str) -> Chain | None:
    """A chain in its one spelling; None for anything else."""
    raw = decoded(text) if len(text) <= BLOCKS_CHARS_MAX else None
    if raw is None:
        return None
    try:
        chain = _chain.decode(raw)
    except msgspec.DecodeError:
        return None
    return chain if 0 < len(chain.blocks) <= BLOCKS_MAX and len(chain.seed) == 32 and _encode(chain) == raw else None


def _read(raw: bytes) -> Block | None:
    try:
        block = _block.decode(raw)
    except msgspec.DecodeError:
        return None
    return block if block.problem() is None else None


def _to_sign(before: tuple[Signed, ...], raw: bytes) -> bytes:
    seen = hashlib.sha256()
    for block, signature in before:
        seen.update(len(block).to_bytes(4, "big") + block + signature)
    return _SIGNED_FOR + seen.digest() + raw


def _seed(secret: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"concento derived keys").derive(secret)


def _pair(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def _public(pair: Ed25519PrivateKey) -> bytes:
    return pair.public_key().public_bytes_raw()
