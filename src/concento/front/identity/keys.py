"""API keys: made once, shown once, kept as a digest; found by a caller's text in about a microsecond.

The keys are in the state store, where the command line writes them; a running hub looks every second or two. How they
are written is in `key_text.py`, what their holders derive of them in `derived.py`.
Source: hardening T1, T30, T36.
"""

import hashlib
import hmac
import math
import secrets
from typing import Final

import msgspec
from msgspec import Struct, structs

from ...model.clock import Clock
from ...model.principal import Principal
from ...model.tenant import DEFAULT_TENANT
from ...store.contract import Store
from .derived import narrowed, public_key
from .key_text import (
    ID_CHARS,
    ID_LENGTH,
    NAME_CHARS_MAX,
    PREFIX,
    SECRET_BYTES,
    TEXT_CHARS_MAX,
    is_name,
    is_scope,
    parts,
    secret_in,
    written,
)

__all__ = ["PREFIX", "ApiKeys", "KeyProblem", "KeyRecord"]

SPACE: Final = "api_keys"
USED_SPACE: Final = "api_keys_used"
KNOWN_MAX: Final = 4096
"""Texts that were proved, kept by their digests. Derived keys can be made in any number, and each may be long."""
NOTE_CHARS_MAX: Final = 256
_USED_EVERY_S: Final = 60.0


class KeyRecord(Struct, frozen=True):
    """What is kept of a key.

    `digest`: SHA-256 of the secret. Its 256 random bits are beyond guessing, so that salt or a slow function, which
    passwords need, would only cost time. `public`: what derived keys are proved with; it can't make any.
    """

    id: str
    digest: bytes
    public: bytes
    subject: str
    agent: str | None = None
    tenant: str = DEFAULT_TENANT
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    note: str = ""
    created_s: float = 0.0
    expires_s: float | None = None
    revoked_s: float | None = None

    def problem(self, now_s: float) -> str | None:
        """Why it proves nothing; None if it does."""
        if self.revoked_s is not None and now_s >= self.revoked_s:
            return "revoked"
        if self.expires_s is not None and now_s >= self.expires_s:
            return "expired"
        return None

    def __repr__(self) -> str:
        return f"KeyRecord({self.id!r}, {self.subject!r})"


class KeyProblem(Struct, frozen=True):
    """Why a text is no good key, for operators. Callers are told none of it but that it is none."""

    reason: str


_FORMLESS: Final = KeyProblem("this is not the form of a key")
_MISTYPED: Final = KeyProblem("mistyped: its checksum does not fit")
_UNKNOWN: Final = KeyProblem("unknown")
_WRONG: Final = KeyProblem("the secret is wrong")
_REVOKED: Final = KeyProblem("revoked")
_EXPIRED: Final = KeyProblem("expired")

_record = msgspec.msgpack.Decoder(KeyRecord)
_time = msgspec.msgpack.Decoder(float)
_encode = msgspec.msgpack.Encoder().encode


class ApiKeys:
    """The keys of a hub, in memory."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._kept: dict[str, bytes] = {}
        self._records: dict[str, KeyRecord] = {}
        self._alive: set[str] = set()
        """Ids of those that were good, until a refresh tells that they are no more."""
        self._next_end_s = math.inf
        """When the next of those alive ends; long ago, if it has to be found out who is."""
        self._proved: dict[bytes, tuple[Principal, KeyRecord]] = {}
        """By the SHA-256 of the text: the text itself, which is the secret, is in no table that a dump would show."""
        self.used_s: dict[str, float] = {}
        """When each was last used, by id, in wall seconds."""
        self._written: dict[str, tuple[float, float]] = {}
        """What was written of it, and when."""
        self.unreadable: tuple[str, ...] = ()
        """Ids of what is in the store and can't be read: of another version, or damaged. It proves nothing."""

    # -- what is kept

    async def load(self) -> None:
        """Read the keys from the store."""
        await self.refresh()
        for id, value in (await self._store.items(USED_SPACE)).items():
            try:
                used_s = _time.decode(value)
            except msgspec.DecodeError:
                continue
            if id in self._records:
                self.used_s[id], self._written[id] = used_s, (used_s, 0.0)

    async def refresh(self) -> frozenset[str]:
        """Take over what was made or revoked elsewhere; the ids that were alive before and are no more.

        While nothing was, it costs the reading of the store, on the store's own thread, and a comparison.
        """
        if not await self._look() and self._clock.wall() < self._next_end_s:
            return frozenset()
        now_s = self._clock.wall()
        living = [record for record in self._records.values() if record.problem(now_s) is None]
        before, self._alive = self._alive, {record.id for record in living}
        ends = (end_s for record in living for end_s in (record.expires_s, record.revoked_s) if end_s is not None)
        self._next_end_s = min(ends, default=math.inf)
        return frozenset(before - self._alive)

    async def _look(self) -> bool:
        """Take over what the store has; whether it is something else than before."""
        kept = await self._store.items(SPACE)
        if kept == self._kept:
            return False
        now_s = self._clock.wall()
        records = {id: record for id, value in kept.items() if (record := _read(id, value)) is not None}
        self._alive.update(id for id, record in records.items() if record.problem(now_s) is None)
        self.unreadable = tuple(id for id in kept if id not in records)
        self._kept, self._records = kept, records
        self._next_end_s = -math.inf
        self._proved.clear()
        for gone in self.used_s.keys() - records.keys():
            del self.used_s[gone]
            self._written.pop(gone, None)
        return True

    async def flush(self) -> None:
        """Write when keys were used, at most once a minute for each."""
        now_s = self._clock.wall()
        for id, used_s in tuple(self.used_s.items()):
            before_s, written_s = self._written.get(id, (0.0, 0.0))
            if used_s > before_s and now_s - written_s >= _USED_EVERY_S:
                self._written[id] = used_s, now_s
                await self._store.put(USED_SPACE, id, _encode(used_s))

    @property
    def records(self) -> list[KeyRecord]:
        """All keys, the oldest first."""
        return sorted(self._records.values(), key=lambda record: record.created_s)

    async def create(
        self,
        subject: str,
        *,
        agent: str | None = None,
        tenant: str = DEFAULT_TENANT,
        roles: tuple[str, ...] = (),
        scopes: tuple[str, ...] = (),
        ttl_s: float | None = None,
        note: str = "",
    ) -> tuple[KeyRecord, str]:
        """A new key, and its text, which is nowhere else. Errors: ValueError, for what can't be in a key."""
        for what, name in (("user", subject), ("agent", agent), *(("role", role) for role in roles)):
            if name is not None and not is_name(name):
                raise ValueError(f"the name of a {what} is one line of 1 to {NAME_CHARS_MAX} characters")
        if not all(map(is_scope, scopes)):
            raise ValueError(f"a scope is visible ASCII without spaces and quotes, of 1 to {NAME_CHARS_MAX} characters")
        if note and (len(note) > NOTE_CHARS_MAX or not note.isprintable()):
            raise ValueError(f"a note is one line of at most {NOTE_CHARS_MAX} characters")
        if ttl_s is not None and not 0 < ttl_s < math.inf:
            raise ValueError("a key has to be good for some time, or without an end")
        now_s = self._clock.wall()
        id = "".join(secrets.choice(ID_CHARS) for _ in range(ID_LENGTH))
        secret = secrets.token_bytes(SECRET_BYTES)
        record = KeyRecord(
            id,
            hashlib.sha256(secret).digest(),
            public_key(secret),
            subject,
            agent=agent,
            tenant=tenant,
            roles=roles,
            scopes=scopes,
            note=note,
            created_s=now_s,
            expires_s=None if ttl_s is None else now_s + ttl_s,
        )
        await self._put(record)
        return record, written(id, secret)

    async def rotate(self, id: str, overlap_s: float = 0.0) -> tuple[KeyRecord, str]:
        """A new key with the rights and the end of another, which is good for `overlap_s` yet.

        Errors: KeyError, if there is none; ValueError, if it is good no more: it would come to life again.
        """
        await self._look()
        old, now_s = self._records[id], self._clock.wall()
        if (problem := old.problem(now_s)) is not None:
            raise ValueError(f"the key {id} is {problem}: make a new one")
        record, text = await self.create(
            old.subject,
            agent=old.agent,
            tenant=old.tenant,
            roles=old.roles,
            scopes=old.scopes,
            ttl_s=None if old.expires_s is None else old.expires_s - now_s,
            note=old.note,
        )
        end_s = now_s + max(0.0, overlap_s)
        await self._put(structs.replace(old, expires_s=end_s if old.expires_s is None else min(end_s, old.expires_s)))
        return record, text

    async def revoke(self, id: str) -> KeyRecord:
        """End a key, and all that were derived from it. Errors: KeyError, if there is none."""
        await self._look()
        record, now_s = self._records[id], self._clock.wall()
        if record.revoked_s is None or record.revoked_s > now_s:
            record = structs.replace(record, revoked_s=now_s)
            await self._put(record)
        return record

    async def _put(self, record: KeyRecord) -> None:
        value = _encode(record)
        await self._store.put(SPACE, record.id, value)  # first: what is in memory only would be undone by a refresh
        self._kept[record.id] = value
        self._records[record.id] = record
        if record.problem(self._clock.wall()) is None:
            self._alive.add(record.id)
        self._next_end_s = -math.inf
        self._proved.clear()

    # -- what is shown

    def find(self, text: str, now_s: float) -> Principal | KeyProblem:
        """Who shows a key. What was proved before is found by its digest; what proved nothing leaves nothing behind."""
        if len(text) > TEXT_CHARS_MAX:
            return _FORMLESS
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        proved = self._proved.get(digest)
        if proved is None:
            found = self._prove(text, now_s)
            if isinstance(found, KeyProblem):
                return found
            if len(self._proved) >= KNOWN_MAX:
                del self._proved[next(iter(self._proved))]
            proved = self._proved[digest] = found
        principal, record = proved
        if principal.until_s is not None and now_s >= principal.until_s:
            del self._proved[digest]
            return _EXPIRED
        if record.revoked_s is not None and now_s >= record.revoked_s:
            return _REVOKED
        self.used_s[record.id] = now_s
        return principal

    def is_alive(self, credential: str, now_s: float) -> bool:
        """Whether the key behind a credential still proves anything; a derived key's own end is its principal's."""
        record = self._records.get(credential.removeprefix("key:").partition("/")[0])
        return record is not None and record.problem(now_s) is None

    def _prove(self, text: str, now_s: float) -> tuple[Principal, KeyRecord] | KeyProblem:
        form = parts(text)
        if form is None:
            return _FORMLESS
        id, is_derived, body = form
        secret = None if is_derived else secret_in(id, body)
        if not is_derived and secret is None:
            return _MISTYPED
        record = self._records.get(id)
        if record is None:
            return _UNKNOWN
        if secret is not None and not hmac.compare_digest(hashlib.sha256(secret).digest(), record.digest):
            return _WRONG
        if (problem := record.problem(now_s)) is not None:
            return KeyProblem(problem)
        whole = Principal(
            record.subject,
            record.agent,
            record.tenant,
            "key",
            frozenset(record.roles),
            frozenset(record.scopes),
            credential=f"key:{record.id}",
            until_s=record.expires_s,
        )
        if secret is not None:
            return whole, record
        derived = narrowed(body, record.public, whole, now_s)
        return KeyProblem(derived) if isinstance(derived, str) else (derived, record)


def _read(id: str, value: bytes) -> KeyRecord | None:
    try:
        record = _record.decode(value)
    except msgspec.DecodeError:
        return None
    return record if record.id == id else None
