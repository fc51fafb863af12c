"""One call, from a parsed request to its reply. This is the whole data path in the order it happens.

Lists and `server/discover` are answered here from the view; everything else is asked of a server, in `ask.py`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

from msgspec import Raw

from ..catalog.view import TenantView, chosen
from ..credentials.connecting import Connecting
from ..model import meta
from ..model.call import Call, Notify, Reply, Result
from ..model.errors import CallError, InvalidParams, NeedsAccount, Unavailable
from ..model.extensions import SKILLS_METHODS
from ..observe.record import Record, Records
from ..snapshot import Current, Freshness
from ..store.contract import Store
from ..upstream.pool import Upstreams
from . import lists, meta_tools, skills
from .accounts import told_in_result
from .admit import Gate, check_hops
from .ask import abandon, ask
from .budget import Budget
from .deadline import Deadlines
from .fanout import all_of
from .once import Once
from .promotions import Promotions
from .resolve import RESOLVE, Resolve, Target, task_target, tool_target, unknown_method
from .route import one_of, with_route
from .search import Finder
from .shadow import Shadows, shadowed
from .task_refs import ABOUT_TASKS, open_ref, publish_detailed, unknown_task
from .tasks import CallTasks
from .told import with_meta
from .webhooks import Webhooks

_TRUE: Final = Raw(b"true")
Arm = tuple[str, str]
"""Of an experiment: the logical tool's key, and the bound tool."""


class Gateway:
    """Everything a call needs, handed in once: the snapshot, the gate, the servers, the records, the deadlines."""

    def __init__(
        self,
        current: Current,
        gate: Gate,
        upstreams: Upstreams,
        records: Records,
        deadlines: Deadlines,
        freshness: Freshness,
        seal: lists.Seal,
        store: Store,
        connecting: Connecting,
        compared: Callable[[Arm, bool], None] = lambda arm, alike: None,
        judged: Callable[[Arm, bool], None] = lambda arm, useful: None,
        arm_failed: Callable[[Arm, float], None] = lambda arm, took_s: None,
        on_problem: Callable[[str], None] = lambda problem: None,
        cost: Callable[[Record], dict[str, Any]] | None = None,
    ) -> None:
        self.current = current
        self.gate = gate
        self.upstreams = upstreams
        self.records = records
        self.deadlines = deadlines
        self.freshness = freshness
        self.wall = records.wall
        self.seal = seal
        self.connecting = connecting
        self.tasks = CallTasks(self, store)
        self.budget = Budget(lambda: records.in_flight)
        self.shadows = Shadows()
        self.compared = compared
        self.judged = judged
        self.arm_failed = arm_failed
        self.cost = cost
        """Counts what a call used that ends now, and says what it costs."""
        self.promotions = Promotions(store, records.wall)
        self.finder = Finder(store, deadlines.now, on_problem)
        self.once = Once(deadlines.now)
        self.webhooks = Webhooks(records.wall)
        self.turns: dict[str, int] = {}
        """How often each logical tool was called."""
        self.last_arms: dict[tuple[str, str], Arm] = {}
        """Of each caller and logical tool: the arm whose result may be judged."""

    async def call(self, call: Call, notify: Notify | None = None) -> Reply:
        """Answer one call; `notify` receives what its server says meanwhile.

        Errors: any `CallError`, with the trace id under which it was recorded.
        """
        record = self.records.open(call)
        try:
            if meta.HOPS in call.meta:
                check_hops(call)
            view = self.current.snapshot.view(call.endpoint, call.principal)
            if view is None:
                raise InvalidParams("There is no such endpoint")
            if call.method not in RESOLVE:
                reply = await self._tell(view, call, record)
            elif call.name in view.meta_tools and call.method == "tools/call":
                reply = await meta_tools.answer(self, view, call, notify, record)
            else:
                reply = await self.asked(view, call, notify, record)
            if record.notices is not None:
                reply = with_meta(reply, meta.NOTICES, record.notices)
            record.replied(reply)
            if meta.COST in call.meta and self.cost is not None and call.meta[meta.COST] == _TRUE:
                self.records.time(record)
                reply = with_meta(reply, meta.COST, self.cost(record))
            return reply
        except CallError as error:
            error.trace_id = record.trace_id
            record.failed(error)
            if isinstance(error, NeedsAccount) and call.method == "tools/call":
                return told_in_result(error)
            raise
        except asyncio.CancelledError:
            record.cancelled()
            raise
        finally:
            if record.lease is not None:
                record.lease.leave()
            self.records.close(record)

    async def asked(self, view: TenantView, call: Call, notify: Notify | None, record: Record) -> Reply:
        """What a server answers, or one of several; a call with a key of its own is made once. Errors: any
        `CallError`."""
        target = await self._resolved(RESOLVE[call.method], view, call, record)
        if meta.IDEMPOTENCY_KEY in call.meta:
            return await self.once.call(
                call,
                lambda: self._routed(view, target, call, notify, record),
                lambda: self._check(view, target, call, record),
            )
        return await self._routed(view, target, call, notify, record)

    def _check(self, view: TenantView, target: Target, call: Call, record: Record) -> None:
        """Whether a call may be answered from what is kept: as if it were made. Errors: Forbidden, NeedsScope."""
        record.part = "kept"
        logical = target.binding.logical
        if logical is None:
            return self.gate.check(target, call, record)
        refused: CallError | None = None
        for choice in logical.choices:
            try:
                return self.gate.check(tool_target(view, call, chosen(logical, choice)), call, record)
            except CallError as error:
                refused = error
        assert refused is not None
        raise refused

    def _routed(
        self, view: TenantView, target: Target, call: Call, notify: Notify | None, record: Record
    ) -> Coroutine[Any, Any, Reply]:
        """What the server answers, or for a logical tool one of its servers, or all. Errors: any `CallError`."""
        logical = target.binding.logical
        if logical is None:
            return ask(self, target, call, notify, record)
        if logical.tool.strategy == "fanout":
            return with_route(self, target, call, all_of(self, view, target, call, record))
        if logical.tool.strategy == "shadow":
            return with_route(self, target, call, shadowed(self, view, target, call, notify, record))
        return one_of(self, view, target, call, notify, record)

    @contextmanager
    def recorded(self, call: Call) -> Iterator[Record]:
        """Keep the record of something that is answered elsewhere, and count it against its caller's limits."""
        record = self.records.open(call)
        try:
            self.gate.enter(call, record)
            yield record
            record.end = "ok"
        except CallError as error:
            error.trace_id = record.trace_id
            record.failed(error)
            raise
        except asyncio.CancelledError:
            record.cancelled()
            raise
        finally:
            if record.lease is not None:
                record.lease.leave()
            self.records.close(record)

    async def _resolved(self, resolve: Resolve, view: TenantView, call: Call, record: Record) -> Target:
        """What is asked of whom. Where that is not known yet, the server is listed first, waited for or woken."""
        try:
            try:
                return resolve(view, call)
            except Unavailable:
                await self.freshness.refresh(view, "tools", call.principal)
                return resolve(self.current.snapshot.view(call.endpoint, call.principal) or view, call)
        except InvalidParams:
            self.gate.enter(call, record)  # to ask for what is not there counts, too
            self.gate.note_hidden(call, record)
            raise

    def abandon(self, call: Call) -> None:
        """End a call that waits for input which will not come."""
        abandon(self, call)

    async def _tell(self, view: TenantView, call: Call, record: Record) -> Reply:
        """Answer from what is known, or from what is kept; a task of a server's is asked about there."""
        if call.method in ABOUT_TASKS:
            ref = open_ref(call, self.seal)
            if not ref.alias:
                self.gate.enter(call, record)
                return await self.tasks.answer(call)
            target = task_target(view, call, ref)
            if ref.replica >= len(target.binding.server.replicas):
                raise unknown_task()
            reply = await ask(self, target, call, None, record, ref.replica)
            return publish_detailed(reply, call, ref.alias, view) if isinstance(reply, Result) else reply
        if call.method in SKILLS_METHODS:
            return await skills.answer(self, view, call, record)
        self.gate.enter(call, record)
        answer = TELL.get(call.method)
        if answer is not None:
            return await answer(self, view, call)
        raise unknown_method(view, call.method)


TELL: Final[dict[str, Callable[[Gateway, TenantView, Call], Awaitable[Reply]]]] = {
    "server/discover": lists.discover,
    "tools/list": lists.page_of("tools"),
    "prompts/list": lists.page_of("prompts"),
    "resources/list": lists.page_of("resources"),
    "resources/templates/list": lists.page_of("templates"),
}
