"""The configuration that is in force: the file, and over it what was changed at run time, kept in the state store.

One change at a time: it is read with all the rest as the file is, so that every check holds, kept, then taken over. A
part that does not fit the file any more is kept and told, and stands aside until it fits again; it never stops the hub.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct, structs

from ..model.config import Config, UrlReplica
from ..model.errors import ConcentoError, ConfigError, StartError
from ..model.outbound import Reach
from ..model.tenant import DEFAULT_TENANT
from ..policy.decide import policy_of
from ..store.contract import Store
from ..transport.outbound import NotFetched, addresses
from .config.document import START, MappingNode, Node
from .config.load import checked, content_of, parsed
from .config.parts import Where, found, json_of, laid_over, name_problem, named, node_of, where_of
from .config.problems import BY_API, Problems, Refused
from .config.tenants import TENANTS

SPACE: Final = "layers"
_KEY: Final = "changed"
PARTS_MAX: Final = 1000
"""Parts kept at a time."""
KEPT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Size of all of them together."""

Pointed = tuple[tuple[str, str], ...]
"""What is wrong: JSON pointers and messages."""


class Part(Struct, frozen=True):
    """One object that came at run time; `value` with references as written."""

    value: Any
    by: str
    since_s: float
    tenant: str = ""
    """Whose admin brought it; empty: the hub's."""


class Drain(Struct, frozen=True):
    """Why a server takes no calls."""

    by: str
    since_s: float
    reason: str = ""
    tenant: str = ""
    """Whose admin said so; empty: the hub's."""


class Kept(Struct, frozen=True):
    """What was changed: parts by their pointers, drained servers by their keys."""

    parts: dict[str, Part] = {}
    drained: dict[str, Drain] = {}


@dataclass(frozen=True, slots=True)
class Object:
    """One object of the configuration. With `problems` it is kept, and stands aside."""

    where: Where
    value: Any
    part: Part | None = None
    in_file: bool = False
    problems: Pointed = ()

    @property
    def origin(self) -> Literal["file", "api"]:
        """Where it came from."""
        return "file" if self.part is None else "api"

    @property
    def state(self) -> Literal["in force", "invalid"]:
        """Whether it runs, or stands aside."""
        return "invalid" if self.problems else "in force"


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did, or would do: each object before and after, and the configuration that comes of it."""

    config: Config
    objects: tuple[tuple[Where, Object | None, Object | None], ...]


class NotChangeable(ConcentoError):
    """This hub's configuration can't be changed at run time; the message says why."""


class Full(ConcentoError):
    """No more parts can be kept."""


class NotKept(ConcentoError):
    """The state store failed; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Layered:
    """The file, what was changed, and what comes of both: replaced as one."""

    file: Node
    merged: Node
    """What runs: references as written."""
    kept: Kept
    misfits: Mapping[Where, Pointed]
    """What stands aside, and why."""

    def objects(self, kind: str, tenant: str = DEFAULT_TENANT) -> list[Object]:
        """All objects of a kind: those that run, then those that stand aside."""
        running = [Where(kind, name, tenant) for name, _ in named(self.merged, kind, tenant)]
        aside = [one for one in self.misfits if (one.kind, one.tenant) == (kind, tenant) and one not in running]
        return [one for where in (*running, *aside) if (one := self.object(where)) is not None]

    def object(self, where: Where) -> Object | None:
        """One object, if there is one of that name."""
        part = self.kept.parts.get(where.pointer)
        in_file = found(self.file, where) is not None
        if part is not None and where in self.misfits:
            return Object(where, part.value, part, in_file, self.misfits[where])
        if (node := found(self.merged, where)) is None:
            return None
        if part is None and where.tenant != DEFAULT_TENANT:  # what came with its tenant came as that did
            part = self.kept.parts.get(Where(TENANTS.name, where.tenant).pointer)
        return Object(where, json_of(node), part, in_file)

    def is_own(self, where: Where) -> bool:
        """Whether a part of that very place was kept, so that it can be taken away."""
        return where.pointer in self.kept.parts


_NOTHING: Final = Layered(MappingNode(START, {}), MappingNode(START, {}), Kept(), {})
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Kept)


class Layers:
    """Owns the layers of one hub. `take` makes a configuration the one in force."""

    def __init__(self, store: Store, env: Mapping[str, str], on_note: Callable[[str], None]) -> None:
        self._store = store
        self._env = env
        self._on_note = on_note
        self._key = b""
        self._path: Path | None = None
        self._lock = asyncio.Lock()
        self.now = _NOTHING
        self.take: Callable[[Config], Awaitable[None]] = _untaken

    # -- what there is

    async def begin(self, config: Config, key: bytes) -> Config:
        """The configuration to start with: the file's, and over it what was kept. One from no file stays as it is.

        `key`: what tags of objects are made with.
        """
        self._key = key
        if config.path is None:
            return config
        self._path = config.path
        try:
            file = await asyncio.to_thread(_file, config.path)
        except ConfigError:
            self._path = None  # it was not read from there: there is nothing to lay anything over
            return config
        kept = await self._read()
        if kept == Kept():
            self.now = Layered(file, file, kept, {})
            return config
        self.now, layered = await asyncio.to_thread(self._fitted, file, kept)
        return replace(layered, start_wait_s=config.start_wait_s)  # a sidecar waits longer than the file says

    async def _read(self) -> Kept:
        value = await self._store.get(SPACE, _KEY)
        try:
            return Kept() if value is None else _decoder.decode(value)
        except (msgspec.DecodeError, ValueError):
            self._on_note("what was changed at run time can't be read, and is left out until something is changed")
            return Kept()

    def etag(self, one: Object | None) -> str | None:
        """What tells whether an object is still what somebody saw: keyed, so that nobody can guess a secret by it."""
        if one is None:
            return None
        text = _encode((one.where.pointer, one.origin, msgspec.json.encode(one.value, order="deterministic")))
        return hashlib.blake2b(text, key=self._key, digest_size=15).hexdigest()

    # -- changes

    async def change(
        self,
        edits: Callable[[], Mapping[Where, Any]],
        by: str,
        *,
        tenant: str = "",
        dry: bool = False,
    ) -> Change:
        """Put objects in their places, or take those away that are None; all of them or none.

        `edits` is called when no other change is under way, and may raise. `tenant`: whose admin it is.
        Errors: ConfigError (it would not load), NotChangeable, Full, NotKept.
        """
        async with self._lock:
            if self._path is None:
                raise NotChangeable("this hub was started without a configuration file, which changes need")
            wanted, before = edits(), self.now
            kept = self._edited(wanted, by, tenant)
            parts = _parts(kept).items()
            fitting = {where: part for where, part in parts if where in wanted or where not in before.misfits}
            merged, config = await asyncio.to_thread(self._composed, before.file, fitting)
            await _judge(config, wanted)
            after, config = _layered(before.file, merged, config, kept, {})
            if before.misfits:  # some may fit now
                after, config = await asyncio.to_thread(self._fitted, before.file, kept)
            if not dry:
                await self._commit(after, config)
            return Change(config, tuple((where, before.object(where), after.object(where)) for where in wanted))

    def _edited(self, wanted: Mapping[Where, Any], by: str, tenant: str) -> Kept:
        parts = dict(self.now.kept.parts)
        for where, value in wanted.items():
            if (wrong := name_problem(where.kind, where.name)) is not None:
                raise ConfigError([wrong], [(where.pointer, wrong)])
            parts.pop(where.pointer, None)
            for pointer in [pointer for pointer in parts if where.holds(where_of(pointer))]:
                del parts[pointer]  # a tenant is replaced with all it has
            if value is not None:
                parts[where.pointer] = Part(value, by, time.time(), tenant)
        kept = structs.replace(self.now.kept, parts=parts)
        if len(parts) > PARTS_MAX:
            raise Full(f"{PARTS_MAX} objects are kept already; delete some, or move them into the file")
        if len(_encode(kept)) > KEPT_BYTES_MAX:
            raise Full(f"what is kept would have more than {KEPT_BYTES_MAX} bytes; move some of it into the file")
        return kept

    async def drain(self, key: str, drain: Drain | None) -> None:
        """Have a server take no calls, or calls again with None. Errors: NotKept, KeyError if there is none."""
        async with self._lock:
            drained = {name: one for name, one in self.now.kept.drained.items() if name != key}
            if drain is not None:
                drained[key] = drain
            kept = structs.replace(self.now.kept, drained=drained)
            state, config = await asyncio.to_thread(self._fitted, self.now.file, kept)
            if key not in config.servers:
                raise KeyError(key)
            await self._commit(state, config)

    async def reload(self, refuse: Callable[[Config], str | None]) -> Config:
        """Read the file anew, and lay what is kept over it. `refuse` says why it can't be taken over, or None.

        Errors: ConfigError, StartError; the last good one stays.
        """
        async with self._lock:
            if self._path is None:
                raise StartError("this hub was started without a configuration file")
            file = await asyncio.to_thread(_file, self._path)
            state, config = await asyncio.to_thread(self._fitted, file, self.now.kept)
            if (reason := refuse(config)) is not None:
                raise StartError(reason)
            await self.take(config)
            self.now = state
            return config

    async def _commit(self, state: Layered, config: Config) -> None:
        """Keep it first: what runs has to survive a restart."""
        before = self.now.kept
        try:
            await self._store.put(SPACE, _KEY, _encode(state.kept))
        except Exception as error:  # whatever a keeper of state may raise
            raise NotKept(f"the state store failed, and nothing was changed: {error}") from None
        try:
            await self.take(config)
        except BaseException:
            await self._store.put(SPACE, _KEY, _encode(before))
            raise
        self.now = state

    # -- reading

    def _composed(self, file: Node, parts: Mapping[Where, Part]) -> tuple[Node, Config]:
        assert self._path is not None
        problems = Problems()
        try:
            merged = laid_over(file, {where: node_of(part.value, where.pointer) for where, part in parts.items()})
        except Refused as refused:
            problems.add(*refused.problem)
            raise problems.error(str(self._path)) from None
        config = checked(merged, self._path, self._env, problems)
        for tenant in (DEFAULT_TENANT, *config.tenants):
            try:
                policy_of(config, tenant)
            except ValueError as error:
                told = f"the policy of {tenant!r} can't be used: {error}"
                raise ConfigError([told], [("", told)]) from None
        return merged, config

    def _fitted(self, file: Node, kept: Kept) -> tuple[Layered, Config]:
        """The configuration with all parts that fit. Errors: ConfigError, if the file itself does not load."""
        misfits: dict[Where, Pointed] = {}
        composed: tuple[Node, Config] | None = None

        def fit(good: dict[Where, Part], rest: list[tuple[Where, Part]]) -> dict[Where, Part]:
            """The good ones and what fits of the rest: halves are tried, so that one that is wrong is found soon."""
            nonlocal composed
            try:
                composed = self._composed(file, good | dict(rest))  # the last that loads is the most that does
            except ConfigError as error:
                if not rest:
                    raise
                if len(rest) == 1:
                    misfits[rest[0][0]] = error.pointers or (("", str(error)),)
                    return good
                half = len(rest) // 2
                return fit(fit(good, rest[:half]), rest[half:])
            return good | dict(rest)

        fit({}, sorted(_parts(kept).items(), key=lambda one: one[0].order))
        if composed is None:  # nothing fits but the file itself
            composed = self._composed(file, {})
        for where, pointed in misfits.items():
            self._on_note(f"{BY_API}{where.pointer} does not fit, and stands aside: {pointed[0][1]}")
        return _layered(file, *composed, kept, misfits)


def _layered(
    file: Node, merged: Node, config: Config, kept: Kept, misfits: Mapping[Where, Pointed]
) -> tuple[Layered, Config]:
    drained = frozenset(kept.drained) & config.servers.keys()
    return Layered(file, merged, kept, misfits), replace(config, drained=drained)


def _parts(kept: Kept) -> dict[Where, Part]:
    return {where_of(pointer): part for pointer, part in kept.parts.items()}


def _file(path: Path) -> Node:
    problems = Problems()
    node = parsed(content_of(path), path, problems)
    if problems:
        raise problems.error(str(path))
    return node


async def _untaken(config: Config) -> None:
    raise AssertionError("nobody takes configurations")


# -- where URLs lead


async def _judge(config: Config, wanted: Mapping[Where, Any]) -> None:
    """Errors: ConfigError, if a URL of what is changed leads where others may not send the hub."""
    wrong: list[tuple[str, str]] = []
    async with asyncio.TaskGroup() as group:
        for pointer, url in _urls(config, wanted):
            group.create_task(_lead(pointer, url, config.outbound, wrong))
    if wrong:
        raise ConfigError([f"{BY_API}{pointer}: {message}" for pointer, message in wrong], sorted(wrong))


async def _lead(pointer: str, url: str, reach: Reach, wrong: list[tuple[str, str]]) -> None:
    try:
        await addresses(url, reach)
    except NotFetched as error:
        wrong.append((pointer, str(error)))


def _urls(config: Config, wanted: Mapping[Where, Any]) -> Iterator[tuple[str, str]]:
    """The URLs that the hub would be sent to by what is changed."""
    mine = {where.pointer for where, value in wanted.items() if value is not None}

    def is_wanted(place: str) -> bool:
        pointer = place.removeprefix(BY_API)
        return place.startswith(BY_API) and any(pointer == one or pointer.startswith(f"{one}/") for one in mine)

    for server in config.servers.values():
        if not is_wanted(server.place):
            continue
        at = server.place.removeprefix(BY_API)
        for number, replica in enumerate(server.replicas):
            if isinstance(replica, UrlReplica):
                yield (f"{at}/url" if len(server.replicas) == 1 else f"{at}/replicas/{number}/url"), replica.url
                if replica.oauth is not None:
                    yield f"{at}/credentials/oauth/token_url", replica.oauth.token_url
        if server.exchange is not None:
            yield f"{at}/credentials/exchange/token_url", server.exchange.client.token_url
        if server.users is not None and server.users.issuer:
            yield f"{at}/credentials/user/issuer", server.users.issuer
    guards = [*config.guards, *(guard for tenant in config.tenants.values() for guard in tenant.guards)]
    for guard in guards:
        if guard.webhook is not None and is_wanted(guard.place):
            yield f"{guard.place.removeprefix(BY_API)}/webhook/url", guard.webhook.url
