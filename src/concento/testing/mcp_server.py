"""MCP servers of three kinds for a `ScriptedHttpServer`: correct where a test says nothing, and wrong on demand.

    def forgets(exchange):  # a hook: answers one request, in whatever way
        return exchange.hang()

    async with ScriptedHttpServer(modern_mcp(on_call=forgets)) as server: ...

A hook returns the result to send, or None if it has answered by itself. Ready-made faults stand at the end.
They speak the protocol minimally and check next to nothing: for a strict server use the official SDK.
"""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from .http_server import Conn, Hit, head
from .raw_agent import NAMED, unmirrored
from .waiting import until

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
SUBSCRIPTION_KEY = "io.modelcontextprotocol/subscriptionId"
SERVER_KEY = "io.modelcontextprotocol/serverInfo"
INFO = {"name": "scripted", "version": "1"}
CACHEABLE = frozenset(
    {"server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"}
)
ECHO_TOOL: dict[str, Any] = {
    "name": "echo",
    "description": "Says it again",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
}

Json = Mapping[str, Any]
Hook = Callable[["Exchange"], Awaitable[Json | None]]


class Exchange:
    """One JSON-RPC request that waits for its answer."""

    def __init__(self, mcp: "ScriptedMcp", hit: Hit, conn: Conn, channel: "_Channel") -> None:
        self.mcp = mcp
        self.hit = hit
        self.conn = conn
        """The connection that the answer goes to."""
        self.id: int | str = hit.message["id"]
        self.method: str = hit.message["method"]
        self.params: dict[str, Any] = hit.message.get("params") or {}
        self._channel = channel

    @property
    def name(self) -> str:
        """The tool, prompt or resource asked for."""
        return str(self.params.get("name") or self.params.get("uri") or "")

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of a tool call."""
        return self.params.get("arguments") or {}

    @property
    def meta(self) -> dict[str, Any]:
        """The request's `_meta`."""
        return self.params.get("_meta") or {}

    async def send(self, message: Json | bytes, *, last: bool = False, status: int = 200) -> None:
        """Any message where this request's messages go; bytes as they are. `last` ends the reply."""
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self._channel.send(data, last, status)

    async def result(self, result: Json, *, id: int | str | None = None) -> None:
        """The answer, finished as the era wants it (`resultType`, caching fields)."""
        await self.send(self.answer(result, id=id), last=True)

    def answer(self, result: Json, *, id: int | str | None = None) -> dict[str, Any]:
        """What `result` sends."""
        return {"jsonrpc": "2.0", "id": self.id if id is None else id, "result": self.mcp.finish(self.method, result)}

    async def error(self, code: int, message: str, data: object = None, *, status: int = 200) -> None:
        """The answer, as an error."""
        error: dict[str, Any] = {"code": code, "message": message}
        if data is not None:
            error["data"] = data
        await self.send({"jsonrpc": "2.0", "id": self.id, "error": error}, last=True, status=status)

    async def notify(self, method: str, params: Json | None = None) -> None:
        """A notification before the answer."""
        await self.send({"jsonrpc": "2.0", "method": method, "params": dict(params or {})})

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """A progress notification with the token the caller gave, if it gave one."""
        if (token := self.meta.get("progressToken")) is not None:
            more = {"total": total, "message": message}
            stated = {key: value for key, value in more.items() if value is not None}
            await self.notify("notifications/progress", {"progressToken": token, "progress": progress, **stated})

    async def ask(self, method: str, params: Json | None = None, *, id: int | str | None = None) -> dict[str, Any]:
        """A request from the server to the client (legacy era), and the message that answers it."""
        number = next(self.mcp.numbers) if id is None else id
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.mcp.asked[number] = answer
        await self.send({"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params or {})})
        return await answer

    async def cut(self, result: Json) -> None:
        """Half the answer, and the end of the connection."""
        await self._channel.cut(json.dumps(self.answer(result)).encode())
        self.conn.close()

    async def hang(self) -> None:
        """Never answer; returns when the client has closed the connection."""
        await self.conn.hang()


class _Channel:
    """Where the messages of one request go."""

    async def send(self, data: bytes, last: bool, status: int) -> None:
        raise NotImplementedError

    async def cut(self, data: bytes) -> None:
        """The first half of a last message."""
        raise NotImplementedError


class _Reply(_Channel):
    """The response to its POST: JSON, or an event stream as soon as there is more than one message."""

    def __init__(self, conn: Conn, streamed: bool) -> None:
        self._conn = conn
        self._streamed = streamed
        self._started = False

    async def send(self, data: bytes, last: bool, status: int) -> None:
        if not self._started and last and (status != 200 or not self._streamed):
            await self._conn.respond(status, data)
            return
        if not self._started:
            self._started = True
            await self._conn.start_events()
        await self._conn.event(data)
        if last:
            await self._conn.end_events()

    async def cut(self, data: bytes) -> None:
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        await self._conn.send(head(200, fields) + data[: len(data) // 2])


class _Standing(_Channel):
    """A stream that outlives the request."""

    def __init__(self, conn: Conn) -> None:
        self._conn = conn

    async def send(self, data: bytes, last: bool, status: int) -> None:
        await self._conn.event(data)

    async def cut(self, data: bytes) -> None:
        await self._conn.chunk(b"event: message\ndata: " + data[: len(data) // 2])


class ScriptedMcp:
    """What the three kinds share. `on` has hooks by JSON-RPC method; `on_call` is the one of `tools/call`."""

    capabilities: ClassVar[dict[str, Any]] = {"tools": {"listChanged": True}}

    def __init__(
        self,
        *,
        tools: Sequence[Json] = (ECHO_TOOL,),
        on_call: Hook | None = None,
        on: Mapping[str, Hook] | None = None,
        lists: Mapping[str, Sequence[Json]] | None = None,
        capabilities: Json | None = None,
        streamed: bool = False,
    ) -> None:
        self.tools = list(tools)
        self.lists = dict(lists or {})
        """Items of further lists by method, such as `prompts/list`."""
        self.hooks: dict[str, Hook] = {"tools/call": on_call or echo, **(on or {})}
        self.streamed = streamed
        """Answer in an event stream even where JSON would do."""
        self.streams: dict[Conn, int | str | None] = {}
        """Standing streams that are open: GET streams, or listen streams with their subscription id."""
        self.numbers = itertools.count(9000)
        self.asked: dict[int | str, asyncio.Future[dict[str, Any]]] = {}
        self.cancelled: list[Any] = []
        """The parameters of each `notifications/cancelled`."""
        self._capabilities = dict(self.capabilities if capabilities is None else capabilities)

    async def __call__(self, hit: Hit, conn: Conn) -> None:
        """Answer one HTTP request."""
        raise NotImplementedError

    def finish(self, method: str, result: Json) -> dict[str, Any]:
        """A result in the shape of the era."""
        return dict(result)

    async def streaming(self, count: int = 1) -> None:
        """Wait until that many standing streams are open."""
        await until(lambda: len(self.streams) >= count, f"{count} standing streams", lambda: len(self.streams))

    async def push(self, method: str, params: Json | None = None) -> None:
        """A notification on every standing stream."""
        for conn, subscription in list(self.streams.items()):
            stated = dict(params or {})
            if subscription is not None:
                stated["_meta"] = {**stated.get("_meta", {}), SUBSCRIPTION_KEY: subscription}
            with suppress(ConnectionError):
                await conn.event({"jsonrpc": "2.0", "method": method, "params": stated})

    async def change_tools(self, tools: Sequence[Json]) -> None:
        """Offer other tools, and say so on every standing stream."""
        self.tools = list(tools)
        await self.push("notifications/tools/list_changed")

    async def _dispatch(self, exchange: Exchange) -> None:
        hook = self.hooks.get(exchange.method)
        result = await hook(exchange) if hook else self._own_result(exchange)
        if result is not None:
            await exchange.result(result)
        elif hook is None:
            await exchange.error(-32601, "Method not found", exchange.method, status=self._status(404))

    def _own_result(self, exchange: Exchange) -> Json | None:
        method = exchange.method
        if method == "tools/list":
            return {"tools": self.tools}
        if method in self.lists:
            key = {"resources/templates/list": "resourceTemplates"}.get(method, method.removesuffix("/list"))
            return {key: list(self.lists[method])}
        return None

    def _status(self, status: int) -> int:
        return 200

    def _hear(self, message: Json) -> None:
        """Take a notification, or the answer to something asked."""
        if message.get("method") == "notifications/cancelled":
            self.cancelled.append(message.get("params"))
        answer = self.asked.pop(message.get("id", ""), None)
        if answer is not None and not answer.done():
            answer.set_result(dict(message))

    async def _stand(self, conn: Conn, subscription: int | str | None) -> None:
        self.streams[conn] = subscription
        try:
            await conn.hang()
        finally:
            del self.streams[conn]


class ModernMcp(ScriptedMcp):
    """A server of the stateless era only, revision 2026-07-28."""

    version = "2026-07-28"

    async def __call__(self, hit: Hit, conn: Conn) -> None:
        if hit.method != "POST":
            return await conn.respond(405, headers=[("Allow", "POST")])
        message = hit.message
        if not isinstance(message, dict) or "id" not in message:
            return await conn.respond(202)
        exchange = Exchange(self, hit, conn, _Reply(conn, self.streamed))
        hooked = exchange.method == "initialize" and exchange.method in self.hooks
        if not hooked and (refusal := self._refusal(exchange)) is not None:
            return await exchange.error(*refusal, status=400)
        await self._dispatch(exchange)

    def _refusal(self, exchange: Exchange) -> tuple[int, str, object] | None:
        requested = exchange.meta.get(VERSION_KEY)
        if exchange.method == "initialize" or requested not in (self.version, None):
            asked = requested or exchange.params.get("protocolVersion")
            return -32022, "Unsupported protocol version", {"supported": [self.version], "requested": asked}
        if requested is None:
            return -32602, f"_meta lacks {VERSION_KEY}", None
        if exchange.hit.header("MCP-Protocol-Version") != requested:
            return -32020, "MCP-Protocol-Version is not what the body says", None
        if exchange.hit.header("Mcp-Method") != exchange.method:
            return -32020, "Mcp-Method is not what the body says", None
        if exchange.method in NAMED and unmirrored(exchange.hit.header("Mcp-Name")) != exchange.name:
            return -32020, "Mcp-Name is not what the body says", None
        return None

    def finish(self, method: str, result: Json) -> dict[str, Any]:
        caching = {"ttlMs": 0, "cacheScope": "private"} if method in CACHEABLE else {}
        return {"resultType": "complete", **caching, "_meta": {SERVER_KEY: INFO}, **result}

    async def _dispatch(self, exchange: Exchange) -> None:
        if exchange.method == "subscriptions/listen" and exchange.method not in self.hooks:
            meta = {SUBSCRIPTION_KEY: exchange.id}
            honoured = {"notifications": exchange.params.get("notifications") or {}, "_meta": meta}
            await exchange.notify("notifications/subscriptions/acknowledged", honoured)
            return await self._stand(exchange.conn, exchange.id)
        await super()._dispatch(exchange)

    def _own_result(self, exchange: Exchange) -> Json | None:
        if exchange.method == "server/discover":
            return {"supportedVersions": [self.version], "capabilities": self._capabilities}
        return super()._own_result(exchange)

    def _status(self, status: int) -> int:
        return status


class _Handshaking(ScriptedMcp):
    """Both legacy kinds: they answer `initialize` and `ping`."""

    version: str = "2025-11-25"

    def _own_result(self, exchange: Exchange) -> Json | None:
        if exchange.method == "initialize":
            return {"protocolVersion": self.version, "capabilities": self._capabilities, "serverInfo": INFO}
        return {} if exchange.method == "ping" else super()._own_result(exchange)


class LegacyMcp(_Handshaking):
    """A server of the session era over streamable HTTP: sessions, GET stream, DELETE.

    `version` is what it answers to `initialize`; `sessions=False` makes one that gives out no session ids.
    """

    def __init__(self, *, version: str = "2025-11-25", sessions: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.version = version
        self.open: set[str] = set()
        """The session ids that are valid now; clear it to end them all."""
        self._sessions = sessions

    async def __call__(self, hit: Hit, conn: Conn) -> None:
        session = hit.header("Mcp-Session-Id")
        message = hit.message
        opening = hit.rpc == "initialize"
        if self._sessions and not opening and session not in self.open:
            status, text = (400, "Missing session ID") if session is None else (404, "Session not found")
            error = {"code": -32600, "message": text}
            return await conn.json({"jsonrpc": "2.0", "id": "server-error", "error": error}, status)
        if hit.method == "GET":
            await conn.start_events()
            return await self._stand(conn, None)
        if hit.method == "DELETE":
            self.open.discard(session or "")
            return await conn.respond(200)
        if not isinstance(message, dict) or "id" not in message or "method" not in message:
            self._hear(message if isinstance(message, dict) else {})
            return await conn.respond(202)
        exchange = Exchange(self, hit, conn, _Reply(conn, self.streamed))
        if opening and self._sessions and "initialize" not in self.hooks:
            session = f"session-{next(self.numbers)}"
            self.open.add(session)
            answer = exchange.answer(self._own_result(exchange) or {})
            return await conn.json(answer, headers=[("Mcp-Session-Id", session)])
        await self._dispatch(exchange)


class LegacySse(_Handshaking):
    """A server of the 2024-11-05 kind: GET opens the stream, whose first event says where to POST.

    `endpoint` is that event's data; by default a path of its own for each stream.
    """

    def __init__(self, *, version: str = "2024-11-05", endpoint: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.version = version
        self._endpoint = endpoint
        self._open: dict[str, Conn] = {}

    async def __call__(self, hit: Hit, conn: Conn) -> None:
        if hit.method == "GET":
            session = str(next(self.numbers))
            self._open[session] = conn
            await conn.start_events()
            await conn.event((self._endpoint or f"/messages?session_id={session}").encode(), event="endpoint")
            try:
                return await self._stand(conn, None)
            finally:
                del self._open[session]
        session = parse_qs(urlsplit(hit.path).query).get("session_id", [""])[0]
        if hit.method != "POST" or not session:
            return await conn.respond(405, headers=[("Allow", "GET")])
        stream = self._open.get(session)
        if stream is None:
            return await conn.respond(404, b"no such session", content_type="text/plain")
        await conn.respond(202, b"Accepted", content_type="text/plain")
        message = hit.message
        if not isinstance(message, dict) or "id" not in message or "method" not in message:
            return self._hear(message if isinstance(message, dict) else {})
        # Beside the POST's connection, which takes further messages while this one is worked on.
        stream.begin(self._dispatch(Exchange(self, hit, stream, _Standing(stream))))


modern_mcp = ModernMcp
legacy_mcp = LegacyMcp
legacy_sse = LegacySse


# -- hooks


async def echo(exchange: Exchange) -> Json:
    """The default for `tools/call`: the arguments come back, as text and as structured content."""
    text = json.dumps(exchange.arguments, sort_keys=True)
    return {"content": [{"type": "text", "text": text}], "structuredContent": exchange.arguments}


async def garbage(exchange: Exchange) -> None:
    """Something that is no JSON where the answer should be."""
    await exchange.send(b'{"jsonrpc": "2.0", "id": ', last=True)


async def wrong_id(exchange: Exchange) -> None:
    """A correct answer to a request that nobody made."""
    await exchange.result(await echo(exchange), id=f"not-{exchange.id}")


async def twice(exchange: Exchange) -> None:
    """The answer, and then the answer again."""
    answer = exchange.answer(await echo(exchange))
    await exchange.send(answer)
    await exchange.send(answer, last=True)


async def unknown_result_type(exchange: Exchange) -> Json:
    """A result of a type that no specification knows."""
    return {**await echo(exchange), "resultType": "surprise"}


async def hang(exchange: Exchange) -> None:
    """No answer, ever."""
    await exchange.hang()


async def reset(exchange: Exchange) -> None:
    """A connection reset instead of an answer."""
    exchange.conn.abort()


async def close_mid_body(exchange: Exchange) -> None:
    """The connection ends in the middle of the answer."""
    await exchange.cut(await echo(exchange))


async def close_mid_stream(exchange: Exchange) -> None:
    """The event stream ends after one notification, without an answer."""
    await exchange.notify("notifications/message", {"level": "info", "data": "about to go"})
    exchange.conn.close()


def status(code: int, body: bytes = b"", *, headers: Sequence[tuple[str, str]] = ()) -> Hook:
    """That HTTP status and body instead of an answer."""

    async def hook(exchange: Exchange) -> None:
        await exchange.conn.respond(code, body, headers=headers)

    return hook


def asks(method: str, params: Json | None = None) -> Hook:
    """A request to the client first (legacy era); the result's text is the message it answered with."""

    async def hook(exchange: Exchange) -> Json:
        answer = await exchange.ask(method, params)
        return {"content": [{"type": "text", "text": json.dumps(answer)}]}

    return hook


def reports(steps: int) -> Hook:
    """That many progress notifications, then the echo."""

    async def hook(exchange: Exchange) -> Json:
        for step in range(1, steps + 1):
            await exchange.progress(step, steps)
        return await echo(exchange)

    return hook
