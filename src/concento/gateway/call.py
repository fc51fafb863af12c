"""One call, from a parsed request to its reply. This is the whole data path in the order it happens.

Lists and `server/discover` are answered here from the view; everything else goes to a server through `deliver`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from msgspec import structs

from ..catalog.view import TenantView
from ..model import meta
from ..model.call import INPUT_REQUIRED, Call, Notify, Reply, Result
from ..model.errors import CallError, InvalidParams, MethodNotFound, Unavailable
from ..model.task import TASK
from ..observe.record import Record, Records
from ..routing.plan import plan
from ..snapshot import Current, Freshness
from ..store.contract import Store
from ..upstream.parking import no_longer_awaited
from ..upstream.pool import Upstreams
from . import affinity, inputs, lists, tasks
from .deadline import Deadlines
from .deliver import deliver
from .resolve import RESOLVE, Resolve, Target, task_target


class Gateway:
    """Everything a call needs, handed in once: the snapshot, the servers, the records, the clock's deadlines."""

    def __init__(
        self,
        current: Current,
        upstreams: Upstreams,
        records: Records,
        deadlines: Deadlines,
        freshness: Freshness,
        seal: lists.Seal,
        store: Store,
    ) -> None:
        self.current = current
        self.upstreams = upstreams
        self.records = records
        self.deadlines = deadlines
        self.freshness = freshness
        self.wall = records.wall
        self.seal = seal
        self.tasks = tasks.CallTasks(self, store)

    async def call(self, call: Call, notify: Notify | None = None) -> Reply:
        """Answer one call; `notify` receives what its server says meanwhile.

        Errors: any `CallError`, with the trace id under which it was recorded.
        """
        record = self.records.open(call)
        try:
            view = self.current.snapshot.view(call.endpoint, call.principal)
            if view is None:
                raise InvalidParams("There is no such endpoint")
            resolve = RESOLVE.get(call.method)
            if resolve is not None:
                target = await self._resolved(resolve, view, call)
                reply = await self._ask(target, call, notify, record)
            else:
                reply = await self._tell(view, call, record)
            record.replied(reply)
            return reply
        except CallError as error:
            error.trace_id = record.trace_id
            record.failed(error)
            raise
        except asyncio.CancelledError:
            record.cancelled()
            raise
        finally:
            self.records.close(record)

    async def _resolved(self, resolve: Resolve, view: TenantView, call: Call) -> Target:
        """What is asked of whom. Where that is not known yet, the server is listed first: waited for, or woken."""
        try:
            return resolve(view, call)
        except Unavailable:
            await self.freshness.refresh(view, "tools")
            return resolve(self.current.snapshot.view(call.endpoint, call.principal) or view, call)

    async def _ask(
        self, target: Target, call: Call, notify: Notify | None, record: Record, replica: int | None = None
    ) -> Reply:
        """Have a server answer: a replica of the plan's, or that one alone."""
        record.server, record.tool = target.alias, target.label
        upstream = self.upstreams.get(target.alias)
        attempts = plan(upstream.readings(), upstream.server.balance, upstream.turn())
        request, handle = target.request, None
        if meta.SESSION in call.meta:
            call, handle = affinity.in_session(upstream, call, self.seal)
            request = structs.replace(request, meta=call.meta)
        partition = affinity.partition_of(upstream, call)
        if partition and len(attempts) > 1:
            attempts = affinity.steady(attempts, [one.usable for one in upstream.readings()], partition)
        if replica is not None:
            attempts = (replica,)
        if (held := inputs.open_state(call, target.alias, self.seal, self.wall())) is not None:
            if held.parked and held.state not in self.upstreams.parking:
                raise no_longer_awaited()
            request = structs.replace(request, state=held.state)
            if held.replica < len(upstream.replicas):
                attempts = (held.replica, *(one for one in attempts if one != held.replica))
        reply = await deliver(upstream, attempts, partition, request, call, notify, record, self.deadlines)
        if isinstance(reply, Result) and reply.kind == INPUT_REQUIRED:
            reply = self._asked(reply, call, target.alias, record.replica)
        elif isinstance(reply, Result) and reply.kind == TASK:
            reply = tasks.publish_created(reply, target.alias, record.replica, call.principal, self.seal)
        else:
            reply = target.publish(reply)
        return reply if handle is None else affinity.with_handle(reply, handle)

    def _asked(self, reply: Result, call: Call, alias: str, replica: int) -> Result:
        """The server's questions as the caller gets them. What can't be asked of it is given up at the server, too."""
        state = inputs.state_of(reply)
        parked = state in self.upstreams.parking
        try:
            return inputs.seal_questions(reply, call, alias, replica, self.seal, self.wall(), parked=parked)
        except CallError:
            if state is not None and parked:
                self.upstreams.parking.abandon(state)
            raise

    def abandon(self, call: Call) -> None:
        """End a call that waits for input which will not come."""
        view = self.current.snapshot.view(call.endpoint, call.principal)
        resolve = RESOLVE.get(call.method)
        if view is not None and resolve is not None and call.state is not None:
            with suppress(CallError):
                held = inputs.open_state(call, resolve(view, call).alias, self.seal, self.wall())
                if held is not None and held.state is not None:
                    self.upstreams.parking.abandon(held.state)

    async def _tell(self, view: TenantView, call: Call, record: Record) -> Reply:
        """Answer from what is known, or from what is kept; a task of a server's is asked about there."""
        if call.method in tasks.ABOUT_TASKS:
            ref = tasks.open_ref(call, self.seal)
            if not ref.alias:
                return await self.tasks.answer(call)
            if ref.replica >= len(self.upstreams.get(ref.alias).replicas):
                raise tasks.unknown_task()
            reply = await self._ask(task_target(view, call, ref), call, None, record, ref.replica)
            return tasks.publish_detailed(reply, call, ref.alias, view) if isinstance(reply, Result) else reply
        answer = TELL.get(call.method)
        if answer is None:
            raise MethodNotFound(f"There is no method {call.method[:64]!r} here")
        return await answer(self, view, call)


TELL: Final[dict[str, Callable[[Gateway, TenantView, Call], Awaitable[Reply]]]] = {
    "server/discover": lists.discover,
    "tools/list": lists.page_of("tools"),
    "prompts/list": lists.page_of("prompts"),
    "resources/list": lists.page_of("resources"),
    "resources/templates/list": lists.page_of("templates"),
}
