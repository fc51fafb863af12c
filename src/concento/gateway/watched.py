"""Tasks that one listen stream is told of: the hub's own as they change, servers' own as their servers tell."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw, structs

from ..model.call import Call, Request, Result
from ..model.errors import CallError, InvalidParams
from ..model.limits import SUBSCRIPTION_URIS_MAX
from ..model.task import TaskRef, TaskState
from ..protocol import tasks as wire
from ..protocol.jsonrpc import raw, read_object, read_string
from ..upstream.tasks import Tasks
from .affinity import partition_of
from .task_refs import find_ref, missing_tasks, publish_detailed
from .tasks import CallTasks

if TYPE_CHECKING:
    from .call import Gateway

TASK_CHANGED: Final = "notifications/tasks"


class Watched:
    """The tasks of one stream. `push` takes the parameters of a notification."""

    def __init__(self, tasks: CallTasks, call: Call, push: Callable[[Raw], None]) -> None:
        self._tasks = tasks
        self._gateway: Gateway = tasks.gateway
        self._call = call
        self._push = push
        self._own: list[str] = []
        self._relays = Tasks("watched tasks")

    def begin(self, ids: Iterable[str]) -> list[str]:
        """Tell of these tasks from now on; returns those that are this caller's. Errors: MissingCapability."""
        if not self._call.profile.tasks:
            raise missing_tasks()
        honoured: list[str] = []
        servers: defaultdict[tuple[str, int], dict[str, str]] = defaultdict(dict)
        wanted = list(dict.fromkeys(ids))
        if len(wanted) > SUBSCRIPTION_URIS_MAX:
            raise InvalidParams(f"At most {SUBSCRIPTION_URIS_MAX} tasks can be listened to")
        for id in wanted:
            ref = find_ref(id, self._call.principal, self._gateway.seal)
            if ref is None or (ref.alias and not self._sees(ref)):
                continue
            honoured.append(id)
            if ref.alias:
                servers[ref.alias, ref.replica][ref.own] = id
            else:
                self._own.append(id)
                self._tasks.watch(id, self._call.principal, self._told)
        for (alias, replica), by_own in servers.items():
            self._relays.start(self._relay(alias, replica, by_own))
        return honoured

    def _sees(self, ref: TaskRef) -> bool:
        """Whether the caller still sees the tool that runs as a task, and is told of it as it happens: what a guard
        may keep back is asked for."""
        snapshot = self._gateway.current.snapshot
        view = snapshot.view(self._call.endpoint, self._call.principal)
        binding = None if view is None else view.tool_of(ref.alias, ref.tool)
        if binding is None:
            return False
        guards = snapshot.guards.get(self._call.principal.tenant)
        return guards is None or not any(one.sees_results for one in guards.about(snapshot.item("tool", binding)))

    def _told(self, state: TaskState) -> None:
        self._push(raw(wire.detailed(state)))

    async def _relay(self, alias: str, replica: int, by_own: dict[str, str]) -> None:
        """Pass on what a server tells of its tasks, in the ids that the caller knows."""
        view = self._gateway.current.snapshot.view(self._call.endpoint, self._call.principal)
        server = None if view is None else view.server(alias)
        if view is None or server is None:
            return

        def notify(method: str, params: Raw) -> None:
            members: dict[str, Any] = dict(read_object(params) or {})
            id = by_own.get(read_string(members.get("taskId")) or "")
            if method != TASK_CHANGED or id is None:
                return
            members.pop("_meta", None)
            with suppress(CallError):
                published = publish_detailed(Result(raw(members)), structs.replace(self._call, name=id), alias, view)
                self._push(published.raw)

        wanted = raw({"taskIds": list(by_own)})
        request = Request("subscriptions/listen", {"notifications": wanted}, {}, profile=self._call.profile)
        with suppress(CallError):
            upstream = self._gateway.upstreams.get(server.key)
            await upstream.listen(replica, partition_of(upstream, self._call), request, notify)

    async def close(self) -> None:
        """Tell no more."""
        for id in self._own:
            self._tasks.unwatch(id, self._call.principal, self._told)
        await self._relays.close()
