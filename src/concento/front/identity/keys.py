"""API keys: made once, shown once, kept as a digest; found by a caller's text in about a microsecond.

    concento_<id>_<secret>          a key
    concento_<id>_d.<blocks>        a key delegated by its holder, narrower and shorter (`derived.py`)

One regular expression finds both in code and logs: `concento_[a-z0-9]{10}_(d\\.)?[A-Za-z0-9_-]{20,}`.
The keys are in the state store, where the command line writes them; a running hub looks every second.
Source: hardening T1, T30, T36.
"""

import base64
import hashlib
import hmac
import re
import secrets
import zlib
from typing import Final

import msgspec
from msgspec import Struct, structs

from ...model.clock import Clock
from ...model.principal import Principal
from ...model.tenant import DEFAULT_TENANT
from ...store.contract import Store
from .derived import narrowed, public_key

SPACE: Final = "api_keys"
USED_SPACE: Final = "api_keys_used"
PREFIX: Final = "concento_"
DERIVED: Final = "d."
_ID_CHARS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_FORM: Final = re.compile(r"concento_([a-z0-9]{10})_(d\.)?([A-Za-z0-9_-]{20,4200})")
_KNOWN_MAX: Final = 20_000
"""Proved keys kept by their digests; derived ones can be made in any number."""
_USED_EVERY_S: Final = 60.0


class KeyRecord(Struct, frozen=True):
    """What is kept of a key.

    `digest`: SHA-256 of the secret, which has 256 random bits: neither salt nor a slow function would make it harder to
    guess. `public`: what derived keys are proved with; it can't make any.
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


class KeyProblem(Struct, frozen=True):
    """Why a text is no good key. Callers are told none of it but that it is none."""

    reason: str


_record = msgspec.msgpack.Decoder(KeyRecord)
_encode = msgspec.msgpack.Encoder().encode


class ApiKeys:
    """The keys of a hub, in memory."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._records: dict[str, KeyRecord] = {}
        self._kept: dict[str, bytes] = {}
        self._proved: dict[bytes, tuple[Principal, KeyRecord]] = {}
        self.used_s: dict[str, float] = {}
        """When each was last used, by id, in wall seconds."""
        self._told_s: dict[str, float] = {}

    # -- what is kept

    async def load(self) -> None:
        """Read the keys from the store."""
        await self.refresh()
        for id, value in (await self._store.items(USED_SPACE)).items():
            self.used_s[id] = self._told_s[id] = msgspec.msgpack.decode(value, type=float)

    async def refresh(self) -> None:
        """Take over what was made or revoked elsewhere. Costs nothing to speak of while nothing was."""
        kept = await self._store.items(SPACE)
        if kept == self._kept:
            return
        self._kept = kept
        self._records = {id: _record.decode(value) for id, value in kept.items()}
        self._proved.clear()

    async def flush(self) -> None:
        """Write when keys were used, at most once a minute for each."""
        for id, used_s in tuple(self.used_s.items()):
            if used_s - self._told_s.get(id, 0.0) >= _USED_EVERY_S:
                self._told_s[id] = used_s
                await self._store.put(USED_SPACE, id, msgspec.msgpack.encode(used_s))

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
        """A new key, and its text, which is nowhere else."""
        now_s = self._clock.wall()
        id = "".join(secrets.choice(_ID_CHARS) for _ in range(10))
        secret = secrets.token_bytes(32)
        expires_s = None if ttl_s is None else now_s + ttl_s
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
            expires_s=expires_s,
        )
        await self._put(record)
        return record, f"{PREFIX}{id}_{_text(secret)}"

    async def rotate(self, id: str, overlap_s: float = 0.0) -> tuple[KeyRecord, str]:
        """A new key with the rights of another, which is good for `overlap_s` yet. Errors: KeyError."""
        old = self._records[id]
        left_s = None if old.expires_s is None else old.expires_s - self._clock.wall()
        record, text = await self.create(
            old.subject,
            agent=old.agent,
            tenant=old.tenant,
            roles=old.roles,
            scopes=old.scopes,
            ttl_s=left_s,
            note=old.note,
        )
        await self._put(structs.replace(old, revoked_s=self._clock.wall() + overlap_s))
        return record, text

    async def revoke(self, id: str) -> KeyRecord:
        """End a key, and all that were derived from it. Errors: KeyError."""
        record = structs.replace(self._records[id], revoked_s=self._clock.wall())
        await self._put(record)
        return record

    async def _put(self, record: KeyRecord) -> None:
        self._kept[record.id] = _encode(record)
        self._records[record.id] = record
        self._proved.clear()
        await self._store.put(SPACE, record.id, self._kept[record.id])

    # -- what is shown

    def find(self, text: str, now_s: float) -> Principal | KeyProblem:
        """Who shows a key. What was proved before is found by its digest: the text itself is kept nowhere."""
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        proved = self._proved.get(digest)
        if proved is None:
            found = self._prove(text, now_s)
            if isinstance(found, KeyProblem):
                return found
            if len(self._proved) >= _KNOWN_MAX:
                self._proved.clear()
            proved = self._proved[digest] = found
        principal, record = proved
        if principal.until_s is not None and now_s >= principal.until_s:
            return KeyProblem("expired")
        if record.revoked_s is not None and now_s >= record.revoked_s:
            return KeyProblem("revoked")
        self.used_s[record.id] = now_s
        return principal

    def is_alive(self, credential: str, now_s: float) -> bool:
        """Whether the key behind a credential still proves anything; what was derived of it is not looked at."""
        record = self._records.get(credential.removeprefix("key:").partition("/")[0])
        return record is not None and record.problem(now_s) is None

    def _prove(self, text: str, now_s: float) -> tuple[Principal, KeyRecord] | KeyProblem:
        form = _FORM.fullmatch(text)
        if form is None:
            return KeyProblem("this is not the form of a key")
        record = self._records.get(form[1])
        if record is None:
            return KeyProblem("unknown")
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
        if form[2]:
            derived = narrowed(form[3], record.public, whole, now_s)
            return KeyProblem(derived) if isinstance(derived, str) else (derived, record)
        secret = _secret(form[3])
        if secret is None or not hmac.compare_digest(hashlib.sha256(secret).digest(), record.digest):
            return KeyProblem("the secret is wrong" if secret is not None else "mistyped")
        return whole, record


def key_id(text: str) -> str | None:
    """The id in a key's text; None if it has not the form of one."""
    form = _FORM.fullmatch(text)
    return None if form is None else form[1]


def secret_of(text: str) -> bytes | None:
    """The secret in a key's text; None if it was mistyped, or is of a derived one."""
    form = _FORM.fullmatch(text)
    return None if form is None or form[2] else _secret(form[3])


def _text(secret: bytes) -> str:
    """A secret as text, with a checksum, so that a typing error is told from a wrong key."""
    return base64.urlsafe_b64encode(secret + zlib.crc32(secret).to_bytes(4, "big")).decode().rstrip("=")


def _secret(text: str) -> bytes | None:
    try:
        both = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    secret, check = both[:32], both[32:]
    return secret if len(both) == 36 and zlib.crc32(secret).to_bytes(4, "big") == check else None
