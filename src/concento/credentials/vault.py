"""Where what users granted is kept: sealed, each for one tenant, server and holder, under a key that the operator has.

AES-GCM with who and what it is for as associated data: a sealed text that is moved elsewhere does not open there.
Several keys may open; the first one seals, and whatever another sealed is sealed anew as soon as it is read.
"""

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from ..store.contract import Store

SPACE: Final = "vault"
KEY_BYTES: Final = 32
ENTRY_POINTS: Final = "concento.vault_keys"
"""Group of entry points that give keys: each a function without arguments that returns a list of 32-byte keys."""
_NONCE_BYTES: Final = 12
_encode = msgspec.json.Encoder().encode


class _Sealed(Struct, array_like=True):
    key_id: str
    text: bytes


_sealed = msgspec.msgpack.Decoder(_Sealed).decode
_pack = msgspec.msgpack.Encoder().encode


class Place(Struct, frozen=True, array_like=True):
    """What is kept: of whom, for which server. `kind` tells tokens from what the hub is known by."""

    kind: str
    tenant: str
    server: str
    holder: str

    @property
    def key(self) -> str:
        """Under which the store keeps it."""
        return _encode(self).decode()


_place = msgspec.json.Decoder(Place).decode


class Vault:
    """Sealed values. What can't be opened, by whatever cause, is as if it were not there, and is told."""

    def __init__(self, store: Store, tell: Callable[[str], None] = lambda problem: None) -> None:
        self._store = store
        self.tell = tell
        self._keys: dict[str, AESGCM] = {}
        self._key_id = ""

    def use(self, keys: Sequence[bytes]) -> None:
        """The keys from now on; the first one seals."""
        self._keys = {key_id(key): AESGCM(key) for key in keys}
        self._key_id = key_id(keys[0]) if keys else ""

    async def places(self, kind: str) -> list[Place]:
        """What is kept of a kind, without opening it."""
        found: list[Place] = []
        for key in await self._store.items(SPACE):
            with suppress(msgspec.DecodeError, msgspec.ValidationError):
                if (place := _place(key.encode())).kind == kind:
                    found.append(place)
        return found

    async def get(self, place: Place) -> bytes | None:
        """What is kept there; None if nothing is, or nothing that opens."""
        kept = await self._store.get(SPACE, place.key)
        if kept is None:
            return None
        try:
            sealed = _sealed(kept)
            aead = self._keys[sealed.key_id]
            nonce, text = sealed.text[:_NONCE_BYTES], sealed.text[_NONCE_BYTES:]
            value = aead.decrypt(nonce, text, _context(place, sealed.key_id))
        except KeyError:
            self.tell("what users granted was sealed with a key that `vault.keys` no longer has; they have to connect")
            return None
        except (msgspec.DecodeError, InvalidTag, ValueError):
            self.tell("what is kept in the vault was altered; whoever granted it has to connect again")
            return None
        if sealed.key_id != self._key_id and await self._store.get(SPACE, place.key) == kept:
            await self.put(place, value)
        return value

    async def put(self, place: Place, value: bytes) -> None:
        """Keep a value there, in place of any before."""
        nonce = os.urandom(_NONCE_BYTES)
        text = self._keys[self._key_id].encrypt(nonce, value, _context(place, self._key_id))
        await self._store.put(SPACE, place.key, _pack(_Sealed(self._key_id, nonce + text)))

    async def delete(self, place: Place) -> None:
        """Forget what is kept there."""
        await self._store.delete(SPACE, place.key)

    async def rotate(self) -> int:
        """Seal all with the first key that another one sealed. Returns how many that were."""
        count = 0
        for key, kept in (await self._store.items(SPACE)).items():
            with suppress(msgspec.DecodeError, msgspec.ValidationError):
                if _sealed(kept).key_id != self._key_id and await self.get(_place(key.encode())) is not None:
                    count += 1
        return count


def read_key(text: str) -> bytes:
    """A key as people write it: 32 bytes in base64 or hexadecimal. Errors: ValueError."""
    stripped = "".join(text.split())
    for key in _readings(stripped):
        if len(key) == KEY_BYTES:
            if len(set(key)) < KEY_BYTES // 4:
                break
            return key
    raise ValueError("expected 32 random bytes in base64 or hexadecimal, as `openssl rand -base64 32` prints them")


def _readings(text: str) -> Iterator[bytes]:
    with suppress(ValueError):
        yield bytes.fromhex(text)
    with suppress(binascii.Error, ValueError):
        yield base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)


def key_id(key: bytes) -> str:
    """Names a key without telling it."""
    return hashlib.sha256(b"concento vault key " + key).hexdigest()[:16]


def _context(place: Place, key: str) -> bytes:
    return _encode((*msgspec.structs.astuple(place), key))
