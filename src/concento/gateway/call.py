"""One call, from a parsed request to its reply. This is the whole data path in the order it happens.

Lists and `server/discover` are answered here from the view; everything else is asked of a server, in `ask.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ..catalog.view import TenantView
from ..model.call import Call, Notify, Reply, Result
from ..model.errors import CallError, InvalidParams, Unavailable
from ..model.extensions import SKILLS_METHODS
from ..observe.record import Record, Records
from ..snapshot import Current, Freshness
from ..store.contract import Store
from ..upstream.pool import Upstreams
from . import lists, skills
from .ask import abandon, ask
from .deadline import Deadlines
from .resolve import RESOLVE, Resolve, Target, task_target, unknown_method
from .task_refs import ABOUT_TASKS, open_ref, publish_detailed, unknown_task
from .tasks import CallTasks


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
        self.tasks = CallTasks(self, store)

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
                try:
                    target = resolve(view, call)
                except Unavailable:
                    target = await self._resolved(resolve, view, call)
                reply = await ask(self, target, call, notify, record)
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
        """What is asked of whom, where that is not known yet: the server is listed first, waited for or woken."""
        await self.freshness.refresh(view, "tools")
        return resolve(self.current.snapshot.view(call.endpoint, call.principal) or view, call)

    def abandon(self, call: Call) -> None:
        """End a call that waits for input which will not come."""
        abandon(self, call)

    async def _tell(self, view: TenantView, call: Call, record: Record) -> Reply:
        """Answer from what is known, or from what is kept; a task of a server's is asked about there."""
        if call.method in ABOUT_TASKS:
            ref = open_ref(call, self.seal)
            if not ref.alias:
                return await self.tasks.answer(call)
            if ref.replica >= len(self.upstreams.get(ref.alias).replicas):
                raise unknown_task()
            reply = await ask(self, task_target(view, call, ref), call, None, record, ref.replica)
            return publish_detailed(reply, call, ref.alias, view) if isinstance(reply, Result) else reply
        answer = TELL.get(call.method)
        if answer is not None:
            return await answer(self, view, call)
        if call.method in SKILLS_METHODS:
            return await skills.answer(self, view, call, record)
        raise unknown_method(view, call.method)


TELL: Final[dict[str, Callable[[Gateway, TenantView, Call], Awaitable[Reply]]]] = {
    "server/discover": lists.discover,
    "tools/list": lists.page_of("tools"),
    "prompts/list": lists.page_of("prompts"),
    "resources/list": lists.page_of("resources"),
    "resources/templates/list": lists.page_of("templates"),
}
