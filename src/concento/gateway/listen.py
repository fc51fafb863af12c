"""Open listen streams: who wants to be told of which changes, and telling them.

A stream belongs to one agent at one endpoint. Lists are compared once per endpoint and publication, however many
streams are open there. Resources are subscribed at a server as long as one stream wants them.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable

from msgspec import Raw

from ..catalog.uris import publish_uri
from ..model.call import Endpoint, Notify
from ..model.errors import InvalidParams
from ..model.inventory import KINDS, Kind
from ..model.limits import SUBSCRIPTION_URIS_MAX
from ..model.principal import Principal
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

    def __init__(self, endpoint: Endpoint, principal: Principal, notices: frozenset[str], push: Notify) -> None:
        self.endpoint = endpoint
        self.principal = principal
        self.notices = notices
        self.push = push
        self.uris: dict[str, tuple[str, str]] = {}
        """Subscribed public URIs, and the server and own URI behind each."""
        self.ended = asyncio.Event()


class Listening:
    """All open streams."""

    def __init__(self, current: Current, upstreams: Upstreams) -> None:
        self._current = current
        self._upstreams = upstreams
        self._streams: set[Stream] = set()
        self._wanted: dict[tuple[str, str], set[tuple[Stream, str]]] = defaultdict(set)
        current.watch(self._published)
        upstreams.on_updated(self._updated)

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, endpoint: Endpoint, principal: Principal, kinds: Iterable[Kind], push: Notify) -> Stream:
        """Begin to tell of list changes."""
        stream = Stream(endpoint, principal, frozenset(_NOTICE[kind] for kind in kinds), push)
        self._streams.add(stream)
        return stream

    async def subscribe(self, stream: Stream, uris: Iterable[str]) -> list[str]:
        """Have exactly these resources watched for a stream; returns those that exist for it, once servers agreed."""
        wanted: dict[str, tuple[str, str]] = {}
        view = self._current.snapshot.view(stream.endpoint, stream.principal)
        for uri in uris:
            if len(wanted) == SUBSCRIPTION_URIS_MAX:
                raise InvalidParams(f"At most {SUBSCRIPTION_URIS_MAX} resources can be subscribed to")
            binding = view.resource(uri) if view is not None else None
            if binding is not None:
                wanted[uri] = (binding.alias, binding.own)
        touched = self._replace(stream, wanted)
        await asyncio.gather(*(self._sync(alias) for alias in touched))
        return list(wanted)

    async def close(self, stream: Stream) -> None:
        """Tell it no more."""
        self._streams.discard(stream)
        touched = self._replace(stream, {})
        await asyncio.gather(*(self._sync(alias) for alias in touched))

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
        stream.uris = wanted
        return touched

    async def _sync(self, alias: str) -> None:
        uris = frozenset(own for server, own in self._wanted if server == alias)
        await self._upstreams.subscribe(alias, uris)

    def _updated(self, alias: str, own: str) -> None:
        for (server, watched), streams in tuple(self._wanted.items()):
            if server != alias or not _is_within(own, watched):
                continue
            for stream, uri in tuple(streams):
                told = uri if own == watched else own if uri == watched else publish_uri(alias, own)
                stream.push("notifications/resources/updated", raw({"uri": told}))

    def _published(self, old: Snapshot, new: Snapshot) -> None:
        notices: dict[Endpoint, set[str]] = {}
        for stream in tuple(self._streams):
            changed = notices.get(stream.endpoint)
            if changed is None:
                changed = notices[stream.endpoint] = _changes(old, new, stream)
            for notice in sorted(changed & stream.notices):
                stream.push(notice, _NOTHING)


def _is_within(uri: str, watched: str) -> bool:
    """Whether a URI is the watched one or below it: a server may tell of a part of what was subscribed."""
    rest = uri.removeprefix(watched)
    return uri.startswith(watched) and (not rest or watched.endswith("/") or rest[0] in "/?#")


def _changes(old: Snapshot, new: Snapshot, stream: Stream) -> set[str]:
    before = old.view(stream.endpoint, stream.principal)
    after = new.view(stream.endpoint, stream.principal)
    if before is after or before is None or after is None:
        return set()
    return {_NOTICE[kind] for kind in KINDS if before.items(kind) != after.items(kind)}
