"""Open listen streams: who wants to be told of which changes, and telling them.

A stream belongs to one agent at one endpoint. Lists are compared once for all who see the same at an endpoint, however
many streams are open there. Resources are subscribed at a server as long as one stream wants them.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from msgspec import Raw

from ..catalog.uris import publish_uri
from ..catalog.view import TenantView
from ..model.call import Endpoint, Notify
from ..model.errors import InvalidParams, Overloaded, RateLimited
from ..model.inventory import KINDS, Kind
from ..model.limits import (
    STREAMS_MAX,
    STREAMS_PER_PRINCIPAL_MAX,
    SUBSCRIPTION_URIS_MAX,
    SUBSCRIPTIONS_PER_PRINCIPAL_MAX,
)
from ..model.principal import ANONYMOUS, Owner, Principal
from ..protocol.jsonrpc import raw
from ..snapshot import Current, Snapshot
from ..upstream.pool import Upstreams

_NOTICE: dict[Kind, str] = {
    "tools": "notifications/tools/list_changed",
    "prompts": "notifications/prompts/list_changed",
    "resources": "notifications/resources/list_changed",
    "templates": "notifications/resources/list_changed",
}
_NOTHING = Raw(b"{}")


class Stream:
    """One agent's wish to be told. `push` takes the notifications; `ended` is set when the hub wants it closed."""

    def __init__(
        self, endpoint: Endpoint, principal: Principal, notices: frozenset[str], push: Notify, address: str = ""
    ) -> None:
        self.endpoint = endpoint
        self.principal = principal
        self.address = address
        self.notices = notices
        self.push = push
        self.uris: dict[str, tuple[str, str]] = {}
        """Subscribed public URIs, and the server's key and the own URI behind each."""
        self.ended = asyncio.Event()


class Listening:
    """All open streams."""

    def __init__(self, current: Current, upstreams: Upstreams, wall: Callable[[], float] = time.time) -> None:
        self._current = current
        self._wall = wall
        self._upstreams = upstreams
        self._streams: set[Stream] = set()
        self._wanted: dict[tuple[str, str], set[tuple[Stream, str]]] = defaultdict(set)
        self._per_owner: Counter[Owner] = Counter()
        self._subscribed: Counter[Owner] = Counter()
        self.count_max = STREAMS_MAX
        self.per_owner_max = STREAMS_PER_PRINCIPAL_MAX
        self.subscribed_max = SUBSCRIPTIONS_PER_PRINCIPAL_MAX
        current.watch(self._published)
        upstreams.on_updated(self._updated)

    def __len__(self) -> int:
        return len(self._streams)

    def open(
        self, endpoint: Endpoint, principal: Principal, kinds: Iterable[Kind], push: Notify, address: str = ""
    ) -> Stream:
        """Begin to tell of list changes. Errors: RateLimited, if its owner has too many streams; Overloaded."""
        owner = principal.owner
        if len(self._streams) >= self.count_max:
            raise Overloaded("The hub holds too many open streams", retry_after_s=5.0)
        if principal is not ANONYMOUS and self._per_owner[owner] >= self.per_owner_max:
            raise RateLimited(f"This caller has {self.per_owner_max} streams open; close some", retry_after_s=5.0)
        self._per_owner[owner] += 1
        stream = Stream(endpoint, principal, frozenset(_NOTICE[kind] for kind in kinds), push, address)
        self._streams.add(stream)
        return stream

    async def subscribe(self, stream: Stream, uris: Iterable[str]) -> list[str]:
        """Have exactly these resources watched for a stream; returns those that exist for it, once servers agreed."""
        wanted: dict[str, tuple[str, str]] = {}
        snapshot = self._current.snapshot
        view = snapshot.view(stream.endpoint, stream.principal)
        for uri in uris:
            if len(wanted) == SUBSCRIPTION_URIS_MAX:
                raise InvalidParams(f"At most {SUBSCRIPTION_URIS_MAX} resources can be subscribed to")
            binding = view.resource(uri) if view is not None else None
            if binding is not None and snapshot.may_use(
                "resource", binding, stream.principal, self._wall(), stream.address
            ):
                wanted[uri] = (binding.server.key, binding.own)
        owner = stream.principal.owner
        more = len(wanted) - len(stream.uris)
        if stream.principal is not ANONYMOUS and self._subscribed[owner] + more > self.subscribed_max:
            told = f"This caller's streams subscribe to {self.subscribed_max} resources already"
            raise RateLimited(told, retry_after_s=5.0)
        touched = self._replace(stream, wanted)
        await asyncio.gather(*(self._sync(key) for key in touched))
        return list(wanted)

    async def close(self, stream: Stream) -> None:
        """Tell it no more."""
        owner = stream.principal.owner
        if stream in self._streams:
            self._streams.discard(stream)
            _less(self._per_owner, owner, 1)
        touched = self._replace(stream, {})
        await asyncio.gather(*(self._sync(key) for key in touched))

    def end_all(self) -> None:
        """Ask every stream to end: the hub is stopping."""
        for stream in tuple(self._streams):
            stream.ended.set()

    def _replace(self, stream: Stream, wanted: dict[str, tuple[str, str]]) -> set[str]:
        touched = set()
        for uri, target in stream.uris.items():
            if wanted.get(uri) != target:
                self._wanted[target].discard((stream, uri))
                if not self._wanted[target]:
                    del self._wanted[target]
                    touched.add(target[0])
        for uri, target in wanted.items():
            if not self._wanted[target]:
                touched.add(target[0])
            self._wanted[target].add((stream, uri))
        owner = stream.principal.owner
        self._subscribed[owner] += len(wanted)
        _less(self._subscribed, owner, len(stream.uris))
        stream.uris = wanted
        return touched

    async def _sync(self, key: str) -> None:
        uris = frozenset(own for server, own in self._wanted if server == key)
        await self._upstreams.subscribe(key, uris)

    def _updated(self, key: str, own: str) -> None:
        alias = key.rpartition("/")[2]
        for (server, watched), streams in tuple(self._wanted.items()):
            if server != key or not _is_within(own, watched):
                continue
            for stream, uri in tuple(streams):
                told = uri if own == watched else own if uri == watched else publish_uri(alias, own)
                stream.push("notifications/resources/updated", raw({"uri": told}))

    def _published(self, old: Snapshot, new: Snapshot) -> None:
        notices: dict[tuple[TenantView | None, TenantView | None], set[str]] = {}
        for stream in tuple(self._streams):
            seen = old.view(stream.endpoint, stream.principal), new.view(stream.endpoint, stream.principal)
            changed = notices.get(seen)
            if changed is None:
                changed = notices[seen] = _changes(*seen)
            for notice in sorted(changed & stream.notices):
                stream.push(notice, _NOTHING)


def _less(counter: Counter[Owner], owner: Owner, count: int) -> None:
    counter[owner] -= count
    if not counter[owner]:
        del counter[owner]


def _is_within(uri: str, watched: str) -> bool:
    """Whether a URI is the watched one or below it: a server may tell of a part of what was subscribed."""
    rest = uri.removeprefix(watched)
    return uri.startswith(watched) and (not rest or watched.endswith("/") or rest[0] in "/?#")


def _changes(before: TenantView | None, after: TenantView | None) -> set[str]:
    if before is after or before is None or after is None:
        return set()
    return {_NOTICE[kind] for kind in KINDS if before.items(kind) != after.items(kind)}
