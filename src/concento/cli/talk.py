"""Ask a hub: the one that runs, if its admin listener answers, else one of our own for the moment."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote

import aiohttp
import click
import msgspec
import uvloop

from ..admin import accounts, approvals, describe, explain, traces, trials
from ..admin.access import OPERATOR, read_token
from ..admin.explain import Question
from ..app import Hub
from ..model.auth import Tls
from ..model.call import ALL, NO_ABILITIES, Call, Failure
from ..model.config import Config
from ..model.errors import CallError, ConcentoError
from ..model.limits import REPLY_BYTES_MAX
from ..model.principal import ANONYMOUS
from ..protocol.headers import encode_value
from ..protocol.jsonrpc import raw
from .common import fail, tell

T = TypeVar("T")

KEY_VARIABLE = "CONCENTO_KEY"
"""Where the key is that a hub is shown which asks for one: for a call, and where its local token is not ours."""

PROBE_S = 1.0
SETTLE_S = 60.0
"""How long servers of a hub of our own may take to start."""
PROGRESS_AFTER_S = 1.0
_EVENT_BYTES_MAX = REPLY_BYTES_MAX * 2


class Talk(Protocol):
    """A hub that can be asked."""

    async def servers(self) -> dict[str, Any]:
        """What the admin API's `/api/v1/servers` says."""
        ...

    async def tools(self, search: str | None) -> dict[str, Any]:
        """What `/api/v1/tools` says."""
        ...

    async def views(self) -> dict[str, Any]:
        """What `/api/v1/views` says."""
        ...

    async def pending(self) -> dict[str, Any]:
        """What `/api/v1/approvals` says."""
        ...

    async def approve(self, server: str, tool: str, hash: str) -> dict[str, Any]:
        """Let a tool be shown that was held back. Errors: CallFailed."""
        ...

    async def accounts(self) -> dict[str, Any]:
        """What `/api/v1/accounts` says."""
        ...

    async def connect_account(self, server: str) -> dict[str, Any]:
        """A page at which to connect an account. Errors: CallFailed."""
        ...

    async def disconnect_account(self, server: str, user: str, tenant: str) -> dict[str, Any]:
        """Forget an account. Errors: CallFailed."""
        ...

    async def tool(self, name: str) -> dict[str, Any] | None:
        """What `/api/v1/tools/NAME` says; None if there is no such tool."""
        ...

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool. Errors: CallFailed."""
        ...

    async def explain(self, question: Question) -> dict[str, Any]:
        """What `/api/v1/explain` says. Errors: CallFailed."""
        ...

    async def experiments(self) -> dict[str, Any]:
        """What `/api/v1/experiments` says."""
        ...

    async def traces(self, asked: dict[str, str]) -> dict[str, Any]:
        """What `/api/v1/traces` says. Errors: CallFailed."""
        ...

    async def trace(self, id: str) -> dict[str, Any] | None:
        """What `/api/v1/traces/ID` says; None if there is no such trace."""
        ...

    async def change_experiment(self, tool: str, how: str, body: dict[str, str]) -> dict[str, Any]:
        """`promote`, `rollback` or `resume` one. Errors: CallFailed."""
        ...


class CallFailed(ConcentoError):
    """A call that got an error instead of a result."""


def with_hub(config: Config, ask: Callable[[Talk], Awaitable[T]], *, own: bool = False) -> T:
    """Run a question against the running hub, or with `own` or when none runs, against one started for it."""
    try:
        return uvloop.run(_with_hub(config, ask, own))
    except ConcentoError as error:
        fail(error)


async def _with_hub(config: Config, ask: Callable[[Talk], Awaitable[T]], own: bool) -> T:
    if config.admin is not None and not own:
        async with aiohttp.ClientSession() as session:
            running = RunningHub(config, session)
            if await running.answers():
                tell(f"asking the hub at http://{config.admin}")
                return await ask(running)
    tell(f"no hub is running here; starting one from {config.path}")
    async with settled(config) as hub:
        return await ask(OwnHub(hub))


def with_running(config: Config, ask: "Callable[[RunningHub], Awaitable[T]]") -> T:
    """Run a question against the hub that runs here; there is no other that could answer it."""

    async def asked() -> T:
        async with aiohttp.ClientSession() as session:
            if config.admin is not None and await (running := RunningHub(config, session)).answers():
                return await ask(running)
        raise CallFailed("no hub is running here, or its admin listener is off; start it with `concento serve`")

    try:
        return uvloop.run(asked())
    except ConcentoError as error:
        fail(error)


@asynccontextmanager
async def settled(config: Config) -> AsyncIterator[Hub]:
    """A hub of our own whose servers are listed, as far as they can be. Errors: StartError."""
    hub = await Hub.create(config)
    try:
        await describe.refresh(hub)  # wakes what was never listed
        await _settle(hub)
        yield hub
    finally:
        await hub.close()


async def _settle(hub: Hub) -> None:
    """Wait until every server is ready or has failed, saying what is awaited after a second."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    shown = False
    while loop.time() - started_s < SETTLE_S:
        waiting = [
            alias for alias, slice in hub.current.snapshot.slices.items() if not _has_settled(slice.health.state)
        ]
        if not waiting:
            break
        if sys.stderr.isatty() and loop.time() - started_s > PROGRESS_AFTER_S:
            click.echo(f"\r\x1b[Kstarting {', '.join(waiting)}", err=True, nl=False)
            shown = True
        await asyncio.sleep(0.05)
    if shown:
        click.echo("\r\x1b[K", err=True, nl=False)


def _has_settled(state: str) -> bool:
    return state in ("ready", "asleep", "waiting", "failing", "draining", "drained")


class OwnHub:
    """A hub in this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def servers(self) -> dict[str, Any]:
        return describe.servers(self._hub)

    async def tools(self, search: str | None) -> dict[str, Any]:
        return describe.tools(self._hub, search)

    async def views(self) -> dict[str, Any]:
        return describe.views(self._hub)

    async def pending(self) -> dict[str, Any]:
        return approvals.pending(self._hub)

    async def approve(self, server: str, tool: str, hash: str) -> dict[str, Any]:
        try:
            return await approvals.approve(self._hub, server, tool, hash, OPERATOR)
        except trials.NoSuchThing as error:
            raise CallFailed(str(error)) from None

    async def accounts(self) -> dict[str, Any]:
        return await accounts.accounts(self._hub)

    async def connect_account(self, server: str) -> dict[str, Any]:
        if self._hub.listener is None:
            await self._hub.listen(self._hub.current.snapshot.config.listen)
        try:
            return await accounts.connect(self._hub, server, OPERATOR)
        except trials.NoSuchThing as error:
            raise CallFailed(str(error)) from None

    async def disconnect_account(self, server: str, user: str, tenant: str) -> dict[str, Any]:
        try:
            return await accounts.disconnect(self._hub, server, user, tenant, OPERATOR)
        except trials.NoSuchThing as error:
            raise CallFailed(str(error)) from None

    async def tool(self, name: str) -> dict[str, Any] | None:
        return describe.tool(self._hub, name)

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        params = {"name": raw(name), "arguments": raw(arguments)}
        meta = {"progressToken": raw("cli")}
        call = Call("tools/call", params, meta, name, ALL, ANONYMOUS, NO_ABILITIES)
        try:
            reply = await self._hub.gateway.call(
                call, lambda method, params: show_progress(json.loads(bytes(params))) if method else None
            )
        except CallError as error:
            raise CallFailed(error.message) from None
        if isinstance(reply, Failure):
            raise CallFailed(f"{reply.message} ({reply.code})")
        result = json.loads(bytes(reply.raw))
        assert isinstance(result, dict)
        return result

    async def experiments(self) -> dict[str, Any]:
        return trials.experiments(self._hub)

    async def traces(self, asked: dict[str, str]) -> dict[str, Any]:
        try:
            wanted = msgspec.convert(asked, traces.Wanted, strict=False)
        except msgspec.ValidationError as error:
            raise CallFailed(str(error)) from None
        return dict(msgspec.to_builtins(traces.recent(self._hub, wanted)))

    async def trace(self, id: str) -> dict[str, Any] | None:
        found = traces.whole(self._hub, id)
        return None if found is None else dict(msgspec.to_builtins(found))

    async def change_experiment(self, tool: str, how: str, body: dict[str, str]) -> dict[str, Any]:
        raise CallFailed("no hub is running here, and this changes one that runs; start it with `concento serve`")

    async def explain(self, question: Question) -> dict[str, Any]:
        try:
            return explain.answer(self._hub, question)
        except explain.Unanswerable as error:
            raise CallFailed(str(error)) from None


class Replied(NamedTuple):
    """What the admin API answered: JSON or text, and the tag of the object."""

    value: Any
    tag: str | None


class RunningHub:
    """A hub in another process, over its admin API and its own endpoint.

    It is on this machine, and so is the token that it lets its operator in by: certificates are not looked at.
    """

    def __init__(self, config: Config, session: aiohttp.ClientSession) -> None:
        self._admin = f"{_scheme(config.admin_tls)}://{config.admin}"
        self._endpoint = f"{_scheme(config.tls)}://{config.listen}/mcp"
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=PROBE_S)
        token = read_token(config.state_folder) if config.auth is not None else None
        token = token or os.environ.get(KEY_VARIABLE)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def answers(self) -> bool:
        """Whether it runs."""
        try:
            async with self._session.get(f"{self._admin}/health/live", timeout=self._timeout, ssl=False) as reply:
                return reply.status == 200 and (await reply.json()).get("status") == "live"
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False

    async def _get(self, path: str, *params: tuple[str, str]) -> Any:
        try:
            url = self._admin + path
            async with self._session.get(url, params=params, headers=self._headers, ssl=False) as reply:
                if reply.status in (401, 403):
                    raise CallFailed(_no_entry(self._admin))
                if reply.status == 422:
                    raise CallFailed(told_of(await reply.json()))
                return None if reply.status == 404 else await reply.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CallFailed(f"the hub at {self._admin} went away: {error}") from None

    async def api(self, method: str, path: str, body: Any = None, **fields: str | None) -> "Replied":
        """Ask the admin API anything. `fields`: header fields, `_` for `-`; None: left out. Errors: CallFailed."""
        headers = {name.replace("_", "-"): value for name, value in fields.items() if value}
        sent = {} if body is None else {"json": body}
        try:
            async with self._session.request(
                method, self._admin + path, headers={**self._headers, **headers}, ssl=False, **sent
            ) as reply:
                is_json = reply.content_type.endswith("json")
                told: Any = await reply.json(content_type=None) if is_json else await reply.text()
                if reply.status >= 400:
                    is_stranger = reply.status == 401 or (reply.status == 403 and not is_json)
                    raise CallFailed(_no_entry(self._admin) if is_stranger else told_of(told))
                return Replied(told, reply.headers.get("ETag"))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise CallFailed(f"the hub at {self._admin} went away: {error}") from None

    async def experiments(self) -> dict[str, Any]:
        return dict(await self._get("/api/v1/experiments"))

    async def traces(self, asked: dict[str, str]) -> dict[str, Any]:
        return dict(await self._get("/api/v1/traces", *asked.items()))

    async def trace(self, id: str) -> dict[str, Any] | None:
        found = await self._get(f"/api/v1/traces/{id}")
        return None if found is None else dict(found)

    async def change_experiment(self, tool: str, how: str, body: dict[str, str]) -> dict[str, Any]:
        return await self._post(f"/api/v1/experiments/{quote(tool, safe='/')}/{how}", body)

    async def alerts(self) -> dict[str, Any]:
        """What `/api/v1/alerts` says. Errors: CallFailed."""
        return dict(await self._get("/api/v1/alerts"))

    async def change_alerts(self, how: str, body: dict[str, str]) -> dict[str, Any]:
        """`ack`, `silence`, `unsilence` or `test`. Errors: CallFailed."""
        return await self._post(f"/api/v1/alerts/{how}", body)

    async def _post(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        try:
            async with self._session.post(self._admin + path, json=body, headers=self._headers, ssl=False) as reply:
                told = await reply.json()
                if reply.status != 200:
                    raise CallFailed(_no_entry(self._admin) if reply.status in (401, 403) else told_of(told))
                return dict(told)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise CallFailed(f"the hub at {self._admin} went away: {error}") from None

    async def servers(self) -> dict[str, Any]:
        return dict(await self._get("/api/v1/servers"))

    async def tools(self, search: str | None) -> dict[str, Any]:
        found: list[Any] = []
        more: list[tuple[str, str]] = [] if search is None else [("search", search)]
        while True:
            told = await self._get("/api/v1/tools", *more)
            found += told["tools"]
            if told["next"] is None:
                return {"tools": found}
            more = [("cursor", told["next"]), ("refresh", "no")]

    async def views(self) -> dict[str, Any]:
        return dict(await self._get("/api/v1/views"))

    async def pending(self) -> dict[str, Any]:
        return dict(await self._get("/api/v1/approvals"))

    async def approve(self, server: str, tool: str, hash: str) -> dict[str, Any]:
        return await self._post("/api/v1/approvals", {"server": server, "tool": tool, "hash": hash})

    async def accounts(self) -> dict[str, Any]:
        return dict(await self._get("/api/v1/accounts"))

    async def connect_account(self, server: str) -> dict[str, Any]:
        return await self._post("/api/v1/accounts/connect", {"server": server})

    async def disconnect_account(self, server: str, user: str, tenant: str) -> dict[str, Any]:
        return await self._post("/api/v1/accounts/disconnect", {"server": server, "user": user, "tenant": tenant})

    async def tool(self, name: str) -> dict[str, Any] | None:
        found = await self._get(f"/api/v1/tools/{quote(name, safe='')}")
        return None if found is None else dict(found)

    async def explain(self, question: Question) -> dict[str, Any]:
        return dict(await self._get("/api/v1/explain", *question.parameters()))

    async def call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "concento-cli", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
            "progressToken": "cli",
        }
        params = {"name": name, "arguments": arguments, "_meta": meta}
        headers = {
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": encode_value(name),
        }
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        timeout = aiohttp.ClientTimeout(total=None)
        try:
            async with self._session.post(
                self._endpoint, json=message, headers=headers, timeout=timeout, ssl=False
            ) as reply:
                if reply.status == 401:
                    told = "set it to an API key, from `concento key create`" if not key else "it is not taken"
                    raise CallFailed(f"the hub wants to know who calls: {KEY_VARIABLE}: {told}")
                answer = await self._answer(reply)
        except aiohttp.ClientError as error:
            raise CallFailed(f"the hub at {self._endpoint} can't be reached: {error}") from None
        if "error" in answer:
            raise CallFailed(f"{answer['error'].get('message')} ({answer['error'].get('code')})")
        return dict(answer["result"])

    async def _answer(self, reply: aiohttp.ClientResponse) -> dict[str, Any]:
        if reply.content_type != "text/event-stream":
            return dict(await reply.json())
        from ..protocol.sse import SseParser

        parser = SseParser(_EVENT_BYTES_MAX)
        async for data in reply.content.iter_any():
            for event in parser.feed(data):
                message = json.loads(event.data) if event.data else {}
                if message.get("method") == "notifications/progress":
                    show_progress(message["params"])
                elif "id" in message:
                    return dict(message)
        raise CallFailed("the hub ended the stream without an answer")


def told_of(problem: dict[str, Any]) -> str:
    """Why a request was refused, in a line for each thing that is wrong."""
    lines = [str(problem.get("detail"))]
    for error in problem.get("errors", ()):
        if error["pointer"] or error["detail"] not in lines[0]:
            lines.append(f"  {error['pointer']}: {error['detail']}")
    return "\n".join(lines)


def _no_entry(admin: str) -> str:
    whose = "the commands of the user who runs it have a token in its state folder"
    return f"the hub at {admin} does not let this user in: {whose}"


def _scheme(tls: Tls | None) -> str:
    return "http" if tls is None else "https"


def show_progress(params: dict[str, Any]) -> None:
    """One line of progress for a person."""
    if "progress" in params:
        total = f" of {params['total']:g}" if isinstance(params.get("total"), (int, float)) else ""
        tell(f"{params['progress']:g}{total} {params.get('message') or ''}".rstrip())
