"""The Tasks extension on the official SDK, which has no support of its own for it: tasks kept in memory, run at once.

    return tasks.begin(ctx, work)     # in a `tools/call` handler: the answer is a task, and `work(task)` goes on

Source: SEP-2663 (`io.modelcontextprotocol/tasks`), SEP-2243 for the `Mcp-Name` header of its methods.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import mcp_types as types
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from tests.conformance.asking import Context, capabilities, is_modern

EXTENSION = "io.modelcontextprotocol/tasks"
TTL_MS = 60_000
POLL_MS = 100

Result = dict[str, Any]


def declared(ctx: Context) -> bool:
    """Whether the client of a request knows tasks."""
    return is_modern(ctx) and EXTENSION in (capabilities(ctx).get("extensions") or {})


def require(ctx: Context) -> None:
    """Refuse a client that does not know tasks."""
    if not declared(ctx):
        needed: Result = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(-32021 if is_modern(ctx) else -32602, f"This needs the extension {EXTENSION}", needed)


class Task:
    """One task: its state, and what it waits for from the client."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(16)
        self.status = "working"
        self.created = self.updated = datetime.now(UTC)
        self.wanted: dict[str, Any] = {}
        self.outcome: dict[str, Any] = {}
        self.running: asyncio.Task[None] | None = None
        self._answers: dict[str, Any] = {}
        self._answered = asyncio.Event()

    def become(self, status: str, **outcome: Any) -> None:
        """Enter a state; the last ones have an outcome."""
        self.status, self.outcome, self.updated = status, outcome, datetime.now(UTC)

    async def ask(self, **wanted: dict[str, Any]) -> dict[str, Any]:
        """Wait until the client answered all of these requests, however many updates it takes."""
        self.wanted = dict(wanted)
        self._answered.clear()
        self.become("input_required")
        await self._answered.wait()
        self.become("working")
        return {key: self._answers.pop(key) for key in wanted}

    def take(self, answers: dict[str, Any]) -> None:
        """Take the answers to what is wanted; others are ignored."""
        for key in [key for key in answers if key in self.wanted]:
            del self.wanted[key]
            self._answers[key] = answers[key]
        if not self.wanted:
            self._answered.set()

    def told(self) -> Result:
        """What every message about the task says."""
        return {
            "taskId": self.id,
            "status": self.status,
            "createdAt": self.created.isoformat(timespec="milliseconds"),
            "lastUpdatedAt": self.updated.isoformat(timespec="milliseconds"),
            "ttlMs": TTL_MS,
            "pollIntervalMs": POLL_MS,
        }


class _TaskParams(types.RequestParams):
    taskId: str
    inputResponses: dict[str, Any] | None = None


Work = Callable[[Task], Awaitable[Result]]


class Tasks:
    """All tasks of a server, and the methods by which clients follow them."""

    def __init__(self, server: Server[Any]) -> None:
        self._by_id: dict[str, Task] = {}
        server.extensions[EXTENSION] = {}
        for method, handler in (("get", self._get), ("update", self._update), ("cancel", self._cancel)):
            server.add_request_handler(f"tasks/{method}", _TaskParams, self._found(handler))

    def begin(self, ctx: Context, work: Work) -> Result:
        """Start a task and answer its call with it. Errors: MCPError -32021, if the client does not know tasks."""
        require(ctx)
        task = Task()
        self._by_id[task.id] = task
        task.running = asyncio.create_task(_run(task, work))  # noqa: TID251 - kept with the task, in `_by_id`
        return {"resultType": "task", **task.told()}

    def _found(self, handler: Callable[[Task, _TaskParams], Result]) -> Callable[[Context, Any], Awaitable[Result]]:
        async def found(ctx: Context, params: _TaskParams) -> Result:
            if not is_modern(ctx):
                raise MCPError(types.METHOD_NOT_FOUND, "Method not found", ctx.method)
            require(ctx)
            if ctx.request.headers.get("mcp-name") != params.taskId:
                raise MCPError(-32020, "The Mcp-Name header does not match the body")
            task = self._by_id.get(params.taskId)
            if task is None:
                raise MCPError(types.INVALID_PARAMS, f"Unknown task: {params.taskId}")
            return handler(task, params)

        return found

    def _get(self, task: Task, _: _TaskParams) -> Result:
        wanted = {"inputRequests": task.wanted} if task.status == "input_required" else {}
        return {"resultType": "complete", **task.told(), **task.outcome, **wanted}

    def _update(self, task: Task, params: _TaskParams) -> Result:
        task.take(params.inputResponses or {})
        return {"resultType": "complete"}

    def _cancel(self, task: Task, _: _TaskParams) -> Result:
        assert task.running is not None
        task.running.cancel()  # of a task that has ended: nothing
        return {"resultType": "complete"}


async def _run(task: Task, work: Work) -> None:
    try:
        task.become("completed", result=await work(task))
    except MCPError as error:
        task.become("failed", error=error.error.model_dump(by_alias=True, exclude_none=True))
    except asyncio.CancelledError:
        task.become("cancelled")
