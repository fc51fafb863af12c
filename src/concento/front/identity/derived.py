"""Keys that the holder of a key makes for somebody else: narrower, shorter, never wider, and derivable again.

A derived key is a chain of blocks, each signed with the key pair of the one before; the first pair follows from the
parent's secret, of which the hub keeps the public half only, so that its store can make no key. The private half of the
last block's pair rides along: whoever presents the chain proves that nothing was cut off its end, since the half that
fits an earlier block was never given to them. No hub is asked to derive.
"""

import base64
import hashlib
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct, structs

from ...model.principal import Principal

BLOCKS_MAX: Final = 8
CHARS_MAX: Final = 4096
PATTERNS_MAX: Final = 64


class Block(Struct, frozen=True, array_like=True):
    """One step of narrowing. None says nothing: what the step before had stays."""

    expires_s: float
    next: bytes
    """The public key that the next block is signed for."""
    tools: tuple[str, ...] | None = None
    scopes: tuple[str, ...] | None = None
    agent: str | None = None


class _Chain(Struct, frozen=True, array_like=True):
    blocks: list[tuple[bytes, bytes]]
    """Each block as it was signed, and its signature."""
    last: bytes
    """The private key of the last block's `next`."""


_chain = msgspec.msgpack.Decoder(_Chain)
_block = msgspec.msgpack.Decoder(Block)
_encode = msgspec.msgpack.Encoder().encode


def _pair(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def _seed(secret: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=b"concento derived keys").derive(secret)


def public_key(secret: bytes) -> bytes:
    """What the hub keeps of a key, to know what was derived from it."""
    return _pair(_seed(secret)).public_key().public_bytes_raw()


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
    blocks: list[tuple[bytes, bytes]] = []
    signing = _pair(_seed(parent)) if isinstance(parent, bytes) else None
    if isinstance(parent, str):
        chain = _opened(parent)
        if chain is None:
            raise ValueError("this is not a key that can be derived from")
        blocks = list(chain.blocks)
        before = _block.decode(blocks[-1][0])
        if expires_s > before.expires_s:
            raise ValueError("a derived key can't outlive the one it is derived from")
        signing = _pair(chain.last)
    assert signing is not None
    if len(blocks) >= BLOCKS_MAX:
        raise ValueError(f"a key can be derived {BLOCKS_MAX} times in a row at most")
    if tools is not None and len(tools) > PATTERNS_MAX:
        raise ValueError(f"a derived key names {PATTERNS_MAX} patterns at most")
    block = _encode(Block(expires_s, _pair(seed).public_key().public_bytes_raw(), tools, scopes, agent))
    blocks.append((block, signing.sign(_signed(blocks, block))))
    text = base64.urlsafe_b64encode(_encode(_Chain(blocks, seed))).decode().rstrip("=")
    if len(text) > CHARS_MAX:
        raise ValueError(f"the key would be longer than {CHARS_MAX} characters; name fewer patterns")
    return text


def narrowed(text: str, public: bytes, parent: Principal, now_s: float) -> Principal | str:
    """Who shows a derived key: its parent, less what the blocks take away; or why it is none."""
    chain = _opened(text)
    if chain is None:
        return "this is not the form of a derived key"
    principal = parent
    before: list[tuple[bytes, bytes]] = []
    try:
        for raw, signature in chain.blocks:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, _signed(before, raw))
            before.append((raw, signature))
            block = _block.decode(raw)
            principal, public = _applied(principal, block), block.next
        if _pair(chain.last).public_key().public_bytes_raw() != public:
            return "the end of the chain was cut off"
    except (InvalidSignature, ValueError, msgspec.DecodeError):
        return "a block of the chain was altered"
    if principal.until_s is not None and now_s >= principal.until_s:
        return "expired"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return structs.replace(principal, credential=f"{parent.credential}/{digest}")


def _applied(principal: Principal, block: Block) -> Principal:
    until_s = block.expires_s if principal.until_s is None else min(principal.until_s, block.expires_s)
    chain = principal.chain
    if block.agent is not None and principal.agent is not None:
        chain = (principal.agent, *chain)
    return structs.replace(
        principal,
        agent=principal.agent if block.agent is None else block.agent,
        chain=chain,
        until_s=until_s,
        scopes=principal.scopes if block.scopes is None else principal.scopes.intersection(block.scopes),
        narrowed=principal.narrowed if block.tools is None else (*principal.narrowed, block.tools),
    )


def _signed(before: list[tuple[bytes, bytes]], block: bytes) -> bytes:
    """What a signature is over: the block, and all that comes before it."""
    seen = hashlib.sha256()
    for raw, signature in before:
        seen.update(len(raw).to_bytes(4, "big") + raw + signature)
    return b"concento derived key\0" + seen.digest() + block


def _opened(text: str) -> _Chain | None:
    try:
        chain = _chain.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, msgspec.DecodeError):
        return None
    return chain if 0 < len(chain.blocks) <= BLOCKS_MAX and len(chain.last) == 32 and len(text) <= CHARS_MAX else None
