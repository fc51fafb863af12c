"""A long call to any server becomes a task of the hub's.

It is in the state store from before its id is told until its time is up.
Source: the tasks extension (SEP-2663); hardening R31.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET, Raw, structs

from ..model.call import INPUT_REQUIRED, Answer, Call, Failure, Notify, Patience, Reply, Result
from ..model.errors import BadReply, CallError, Overloaded, TimedOut
from ..model.limits import INPUT_WAIT_S, ROUNDS_MAX, STATE_ONLY_PAUSE_S, TASKS_MAX, TASKS_PER_PRINCIPAL_MAX
from ..model.principal import Principal
from ..model.task import OVER, TASK, TaskError, TaskRef, TaskState, TaskStatus
from ..protocol import tasks as wire
from ..protocol.jsonrpc import EMPTY_OBJECT, raw, read_object, read_string
from ..protocol.modern import read_answers
from ..store.contract import Store
from ..upstream.tasks import Tasks
from .kept_tasks import KeptTasks
from .task_refs import find_ref, seal_ref, unknown_task

if TYPE_CHECKING:
    from .call import Gateway

_encode = msgspec.json.Encoder().encode
_ref = msgspec.json.Decoder(TaskRef)
_CANCEL_WAIT_S: Final = 5.0
_POLL_PAUSE_S: Final = 1.0
_POLL_FAILURES_MAX: Final = 5
_UNKNOWN_OUTCOME: Final = Raw(b'{"outcome":"unknown","retryable":false}')

Watcher = Callable[[TaskState], None]


class CallTask:
    """One call that runs, and may become a task. Nobody is asked for input before it is one."""

    def __init__(self, call: Call, owner: str, now_s: float, ttl_s: float) -> None:
        self.call = call
        self.state = TaskState("", owner, "working", now_s, now_s, ttl_s)
        self.notify: Notify | None = None
        self.patience = Patience()
        self.runner: asyncio.Task[Reply] | None = None
        self.key: str | None = None
        """Under which it is kept; None until it is a task, whose questions go into its state."""
        self.questions: dict[str, Raw] = {}
        self.answers: dict[str, Answer] = {}
        self.answered = asyncio.Event()


class CallTasks:
    """Makes tasks of calls that take long, and answers for them."""

    def __init__(self, gateway: "Gateway", store: Store) -> None:
        self.gateway = gateway
        self._kept = KeptTasks(store)
        self._background = Tasks("calls that are tasks")
        self._running: dict[str, CallTask] = {}
        self._per_owner: Counter[str] = Counter()
        self._watchers: dict[str, set[Watcher]] = {}
        self.count_max = TASKS_MAX
        self.per_owner_max = TASKS_PER_PRINCIPAL_MAX

    def __len__(self) -> int:
        return len(self._running)

    async def recover(self) -> None:
        """What ran when the hub ended has failed, and whether it took effect nobody knows."""
        for key, state in (await self._kept.load(self.gateway.wall())).items():
            if state.status not in OVER:
                lost = TaskError(-31006, "The hub was restarted while the call ran", _UNKNOWN_OUTCOME)
                failed = structs.replace(state, status="failed", error=lost, questions=UNSET)
                await self._kept.put(key, failed, self._running)

    async def answer(self, call: Call) -> Reply:
        """Answer a request about a task of the hub's. Errors: InvalidParams."""
        id = call.name or ""
        told: dict[str, Any] = {}
        if call.method == "tasks/get":
            told = wire.detailed(await self.get(id, call.principal))
        elif call.method == "tasks/update":
            await self.update(id, call.principal, read_answers(call.params.get("inputResponses")))
        else:
            await self.cancel(id, call.principal)
        return Result(raw({"resultType": "complete", **told}), "complete")

    async def call(self, call: Call, notify: Notify | None) -> Reply:
        """Make a call; one that takes longer than its caller should wait goes on as a task, if there is room."""
        config = self.gateway.current.snapshot.config
        if config.as_task_after_s is None:
            return await self.gateway.call(call, notify)
        task = self._made(call, notify)
        assert task.runner is not None
        try:
            done, _ = await asyncio.wait([task.runner], timeout=config.as_task_after_s)
            if done or not self._has_room(task.state.owner):
                return await task.runner
            await self._adopt(task)
        except asyncio.CancelledError:
            task.runner.cancel()
            raise
        return wire.created(task.state)

    async def start(self, call: Call, ttl_s: float | None = None) -> TaskState:
        """Make a call as a task from the start. Errors: Overloaded."""
        if not self._has_room(call.principal.owner_key):
            raise Overloaded(f"{self.per_owner_max} tasks of this caller run already", retry_after_s=5.0)
        task = self._made(call, None, ttl_s)
        await self._adopt(task)  # before its first step: the call is a task from the start
        return task.state

    async def get(self, id: str, principal: Principal) -> TaskState:
        """A task of the hub's as it is now. Errors: InvalidParams."""
        key = self._key(id, principal)
        task = self._running.get(key)
        if task is not None:
            return structs.replace(task.state, id=id)
        state = await self._kept.get(key)
        if state is None or state.owner != principal.owner_key or self.gateway.wall() > state.created_s + state.ttl_s:
            raise unknown_task()
        return structs.replace(state, id=id)

    async def list(self, principal: Principal) -> list[TaskState]:
        """All tasks of a principal's that the hub holds, the oldest first."""
        now_s, owner = self.gateway.wall(), principal.owner_key
        states = [await self._kept.get(key) for key in self._kept.of(owner)]
        return [state for state in states if state is not None and now_s <= state.created_s + state.ttl_s]

    async def update(self, id: str, principal: Principal, answers: Mapping[str, Answer]) -> None:
        """Bring answers; what was not asked, or was answered before, is ignored. Errors: InvalidParams."""
        await self.get(id, principal)
        task = self._running.get(self._key(id, principal))
        if task is None:
            return
        for key, answer in answers.items():
            if task.questions.pop(key, None) is not None:
                task.answers[key] = answer
        if task.questions:
            await self._change(task, questions=raw(task.questions))
        elif task.answers:
            task.answered.set()

    async def cancel(self, id: str, principal: Principal) -> None:
        """End a task; one that is over stays as it is. Errors: InvalidParams."""
        await self.get(id, principal)
        task = self._running.get(self._key(id, principal))
        if task is not None and task.runner is not None:
            task.runner.cancel()

    async def settled(self, id: str, principal: Principal) -> TaskState:
        """A task once it is over. Errors: InvalidParams."""
        return await self._awaited(id, principal, OVER)

    async def result(self, id: str, principal: Principal) -> TaskState:
        """A task once it is over, or needs input. Errors: InvalidParams."""
        return await self._awaited(id, principal, OVER | {"input_required"})

    async def _awaited(self, id: str, principal: Principal, statuses: Collection[TaskStatus]) -> TaskState:
        changed = asyncio.Event()

        def watcher(state: TaskState) -> None:
            changed.set()

        self.watch(id, principal, watcher)
        try:
            while (state := await self.get(id, principal)).status not in statuses:
                await changed.wait()
                changed.clear()
            return state
        finally:
            self.unwatch(id, principal, watcher)

    def watch(self, id: str, principal: Principal, watcher: Watcher) -> None:
        """Call `watcher` whenever a task changes. It must not block."""
        self._watchers.setdefault(self._key(id, principal), set()).add(watcher)

    def unwatch(self, id: str, principal: Principal, watcher: Watcher) -> None:
        """Call it no more."""
        key = self._key(id, principal)
        watchers = self._watchers.get(key, set())
        watchers.discard(watcher)
        if not watchers:
            self._watchers.pop(key, None)

    async def close(self) -> None:
        """End what runs: nobody can come back for it before the hub is started again, which then says so."""
        await self._background.close()

    async def reap(self) -> None:
        """Forget tasks whose time is up."""
        await self._kept.reap(self.gateway.wall(), self._running)

    # -- one task

    def _made(self, call: Call, notify: Notify | None, ttl_s: float | None = None) -> CallTask:
        config = self.gateway.current.snapshot.config
        lifetime_s = max(config.task_ttl_s if ttl_s is None else min(ttl_s, config.task_ttl_s), 1.0)
        task = CallTask(call, call.principal.owner_key, self.gateway.wall(), lifetime_s + config.task_max_s)
        task.notify = notify
        task.runner = self._background.start(self._run(task))
        return task

    def _has_room(self, owner: str) -> bool:
        return len(self._running) < self.count_max and self._per_owner[owner] < self.per_owner_max

    async def _adopt(self, task: CallTask) -> None:
        """Make it a task: kept before its id is told."""
        key = task.key = secrets.token_urlsafe(16)
        id = seal_ref(TaskRef("", 0, key), task.call.principal, self.gateway.seal)
        task.state = structs.replace(task.state, id=id)
        task.notify = None
        task.patience.grant(self.gateway.current.snapshot.config.task_max_s)
        self._running[key] = task
        self._per_owner[task.state.owner] += 1
        assert task.runner is not None
        try:
            await self._kept.put(key, task.state, self._running)
        except BaseException:
            task.runner.cancel()
            self._forget(key, task)
            raise
        self._background.start(self._finish(key, task, task.runner))

    def _forget(self, key: str, task: CallTask) -> None:
        del self._running[key]
        self._per_owner[task.state.owner] -= 1
        if not self._per_owner[task.state.owner]:
            del self._per_owner[task.state.owner]

    async def _run(self, task: CallTask) -> Reply:
        call = structs.replace(task.call, patience=task.patience)
        for _ in range(ROUNDS_MAX):
            reply = await self.gateway.call(call, lambda method, params: self._hear(task, method, params))
            if not isinstance(reply, Result) or reply.kind not in (INPUT_REQUIRED, TASK) or task.key is None:
                return reply
            if reply.kind == TASK:
                async with asyncio.timeout(self.gateway.current.snapshot.config.task_max_s):
                    return await self._follow(task, reply)
            call = await self._ask(task, call, reply)
        self.gateway.abandon(call)
        raise BadReply(f"The server asked for input {ROUNDS_MAX} times during one call", outcome="failed")

    async def _ask(self, task: CallTask, call: Call, reply: Result) -> Call:
        """Show the questions in the task's state until they are answered; returns the call to go on with."""
        members = read_object(reply.raw) or {}
        task.questions = read_object(members.get("inputRequests", EMPTY_OBJECT)) or {}
        task.answers = {}
        going_on = structs.replace(call, state=read_string(members.get("requestState")))
        if task.questions:
            task.answered.clear()
            await self._change(task, status="input_required", questions=raw(task.questions))
            try:
                async with asyncio.timeout(INPUT_WAIT_S):
                    await task.answered.wait()
            except TimeoutError:
                self.gateway.abandon(going_on)
                raise TimedOut(f"Nobody answered what the task asked within {INPUT_WAIT_S:g} s") from None
            except asyncio.CancelledError:
                self.gateway.abandon(going_on)
                raise
            await self._change(task, status="working", questions=UNSET)
        else:
            await asyncio.sleep(STATE_ONLY_PAUSE_S)  # the server asks for patience only
        return structs.replace(going_on, answers=task.answers)

    async def _follow(self, task: CallTask, reply: Result) -> Reply:
        """The server made a task of its own out of the call: wait for that one."""
        id = read_string((read_object(reply.raw) or {}).get("taskId")) or ""
        about = structs.replace(
            task.call, method="tasks/get", params={"taskId": raw(id)}, name=id, answers=None, state=None
        )
        try:
            return await self._poll(task, about)
        except asyncio.CancelledError:
            with suppress(CallError, TimeoutError):
                cancel = self.gateway.call(structs.replace(about, method="tasks/cancel"))
                await asyncio.shield(asyncio.wait_for(cancel, _CANCEL_WAIT_S))
            raise

    async def _poll(self, task: CallTask, about: Call) -> Reply:
        answered: set[str] = set()
        failures = 0
        while True:
            try:
                found = await self.gateway.call(about)
                failures = 0
            except CallError as error:
                failures += 1
                if failures > _POLL_FAILURES_MAX:
                    raise BadReply(f"The task can't be asked for any more: {error.message}") from None
                await asyncio.sleep(_POLL_PAUSE_S)
                continue
            if isinstance(found, Failure):
                return found
            members = read_object(found.raw) or {}
            status = read_string(members.get("status"))
            if status == "completed":
                return Result(members.get("result", EMPTY_OBJECT))
            if status == "failed":
                told = msgspec.json.decode(members.get("error", Raw(b'{"code":-32603,"message":""}')), type=TaskError)
                return Failure(told.code, told.message, None if told.data is UNSET else told.data)
            if status == "cancelled":
                raise BadReply("The server cancelled the task", outcome="unknown")
            questions = read_object(members.get("inputRequests", EMPTY_OBJECT)) or {}
            open_ones = {key: question for key, question in questions.items() if key not in answered}
            if status == "input_required" and open_ones:
                asked = Result(raw({"inputRequests": open_ones}), INPUT_REQUIRED)
                answers = (await self._ask(task, about, asked)).answers or {}
                answered |= answers.keys()
                update = {**about.params, "inputResponses": raw(answers)}
                await self.gateway.call(structs.replace(about, method="tasks/update", params=update))
            await asyncio.sleep(_poll_s(members))

    async def _finish(self, key: str, task: CallTask, runner: "asyncio.Task[Reply]") -> None:
        """Keep how it ended."""
        await asyncio.wait([runner])
        if runner.cancelled():
            ended = structs.replace(task.state, status="cancelled", questions=UNSET)
        elif (error := runner.exception()) is not None:
            told = (
                TaskError(error.code, error.message, raw({"outcome": error.outcome, "retryable": False}))
                if isinstance(error, CallError)
                else TaskError(-32603, "Internal error")
            )
            ended = structs.replace(task.state, status="failed", error=told, questions=UNSET)
        else:
            reply = runner.result()
            if isinstance(reply, Failure):
                told = TaskError(reply.code, reply.message, UNSET if reply.data is None else reply.data)
                ended = structs.replace(task.state, status="failed", error=told, questions=UNSET)
            else:
                ended = structs.replace(task.state, status="completed", result=reply.raw, questions=UNSET)
        task.state = structs.replace(ended, updated_s=self.gateway.wall())
        try:
            await self._kept.put(key, task.state, self._running)
        finally:
            self._forget(key, task)
            self._tell(key, task.state)

    def _hear(self, task: CallTask, method: str, params: Raw) -> None:
        if task.notify is not None:
            task.notify(method, params)
        elif task.key is not None and method == "notifications/progress":
            task.state = structs.replace(task.state, message=_progress(params), updated_s=self.gateway.wall())

    async def _change(self, task: CallTask, **changes: Any) -> None:
        task.state = structs.replace(task.state, updated_s=self.gateway.wall(), **changes)
        assert task.key is not None
        await self._kept.put(task.key, task.state, self._running)
        self._tell(task.key, task.state)

    def _tell(self, key: str, state: TaskState) -> None:
        for watcher in tuple(self._watchers.get(key, ())):
            watcher(state)

    def _key(self, id: str, principal: Principal) -> str:
        ref = find_ref(id, principal, self.gateway.seal)
        if ref is None or ref.alias:
            raise unknown_task()
        return ref.own


def _progress(params: Raw) -> str:
    members = msgspec.json.decode(params, type=dict[str, Any])
    total = members.get("total")
    share = f"{members.get('progress')}" + ("" if total is None else f" of {total}")
    said = members.get("message")
    return f"{share}: {said}" if isinstance(said, str) else share


def _poll_s(members: Mapping[str, Raw]) -> float:
    try:
        wanted_ms = msgspec.json.decode(members.get("pollIntervalMs", Raw(b"1000")), type=float)
    except msgspec.DecodeError:
        wanted_ms = 1000.0
    return min(max(wanted_ms / 1000, 0.05), 10.0)
