"""The fixture server: an independent peer on the official SDK, in either era or both, over every transport.

    python tests/servers/sdk_server.py --transport stdio|http|sse --era dual|modern|legacy [--port N]

`--port 0` picks a port; over HTTP the first line on standard output is `PORT n`, said once connections are accepted.
`--record FILE` appends one JSON line for every HTTP request, every MCP message and every cancelled call.

It is written on the SDK's low-level `Server`, whose results are plain dicts, so that what it says is known to the byte.
Where the SDK has no public way to speak one era only, it uses the function the SDK itself uses inside (`mcp==2.3.*`).
"""

import argparse
import asyncio
import base64
import json
import os
import socket
import warnings
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server._streamable_http_modern import handle_modern_request
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.runner import _serve_modern_stream, serve_loop
from mcp.server.session import ServerSession
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # 1x1 PNG
BINARY = bytes(range(256))
NAMES = ["Ada", "Alan", "Grace", "Grete"]
INSTRUCTIONS = "Call `echo` to hear yourself. The resource test://static/text is short."


def _object(**properties: Any) -> dict[str, Any]:
    required = [name for name, schema in properties.items() if "default" not in schema]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
STRING = {"type": "string"}

SCHEMA_2020 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "address",
            "type": "object",
            "properties": {"street": STRING, "city": STRING},
            "required": ["city"],
        }
    },
    "properties": {
        "name": {**STRING, "minLength": 1},
        "address": {"$ref": "#/$defs/address"},
        "other": {"$ref": "#address"},
        "ratio": {"type": "number", "multipleOf": 0.01, "default": 1e2},
    },
    "required": ["name"],
    "dependentRequired": {"other": ["address"]},
    "unevaluatedProperties": False,
    "x-vendor": {"keeps": ["unknown", "keywords", None, 1.50]},
}

TOOLS: list[dict[str, Any]] = [
    {
        "name": "add",
        "title": "Add",
        "description": "Adds two integers",
        "inputSchema": _object(a=INTEGER, b=INTEGER),
        "outputSchema": _object(result=INTEGER),
        "annotations": {"readOnlyHint": True, "idempotentHint": True},
    },
    {"name": "echo", "description": "Says it again", "inputSchema": _object(text=STRING)},
    {"name": "fail", "description": "Runs and fails", "inputSchema": _object()},
    {
        "name": "raise_error",
        "description": "Answers with a JSON-RPC error",
        "inputSchema": _object(
            code={**INTEGER, "default": -32603}, message={**STRING, "default": "no"}, data={"default": None}
        ),
    },
    {"name": "slow", "description": "Takes its time", "inputSchema": _object(seconds=NUMBER)},
    {"name": "count", "description": "Counts with progress notifications", "inputSchema": _object(n=INTEGER)},
    {"name": "log", "description": "Logs a line", "inputSchema": _object(level=STRING, text=STRING)},
    {"name": "links", "description": "Text, a resource link and an embedded resource", "inputSchema": _object()},
    {"name": "image", "description": "A small image", "inputSchema": _object()},
    {"name": "big", "description": "A text of that many bytes", "inputSchema": _object(bytes=INTEGER)},
    {
        "name": "schema_2020",
        "description": "Has a schema with all the trimmings",
        "inputSchema": SCHEMA_2020,
        "_meta": {"example.com/shelf": {"row": 3}},
    },
    {
        "name": "mirrored",
        "description": "Has a parameter that is mirrored in a header",
        "inputSchema": _object(region={**STRING, "x-mcp-header": "Region"}, n={**INTEGER, "default": 0}),
    },
    {
        "name": "mutate",
        "description": "Adds an item to a list, or removes it again, and says so",
        "inputSchema": _object(kind={"enum": ["tools", "prompts", "resources"], "default": "tools"}),
    },
    {"name": "touch", "description": "Says that a resource was updated", "inputSchema": _object(uri=STRING)},
    {"name": "whoami", "description": "What the server saw of this request", "inputSchema": _object()},
    {"name": "nonce", "description": "Counts executions by value", "inputSchema": _object(value=STRING)},
    {
        "name": "ask",
        "description": "Needs something of the client: elicitation, sampling or roots",
        "inputSchema": _object(kind={"enum": ["elicitation", "url", "sampling", "roots"]}),
    },
]
UNKNOWN_KEYS = {"schema_2020": {"x-unknown": {"kept": True}, "vendorRank": 1}}
"""Top-level keys that the SDK's own models do not know; they are put in after it has shaped the list."""

EXTRA: dict[str, dict[str, Any]] = {
    "tools": {"name": "extra", "description": "Comes and goes", "inputSchema": _object()},
    "prompts": {"name": "extra", "description": "Comes and goes"},
    "resources": {"uri": "test://static/extra", "name": "extra"},
}
PROMPTS: list[dict[str, Any]] = [
    {
        "name": "greet",
        "description": "Greets",
        "arguments": [{"name": "name", "description": "Whom", "required": True}],
    },
    {"name": "review", "description": "Has an embedded resource"},
]
RESOURCES: list[dict[str, Any]] = [
    {"uri": "test://static/text", "name": "text", "mimeType": "text/plain", "annotations": {"priority": 0.5}},
    {"uri": "file:///etc/motd-like", "name": "motd-like", "mimeType": "text/plain"},
    {"uri": "test://static/binary", "name": "binary", "mimeType": "application/octet-stream", "size": len(BINARY)},
]
TEMPLATES: list[dict[str, Any]] = [{"uriTemplate": "test://item/{id}", "name": "item", "mimeType": "application/json"}]

ASKED: dict[str, dict[str, Any]] = {
    "elicitation": {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": "Which colour?", "requestedSchema": _object(colour=STRING)},
    },
    "url": {
        "method": "elicitation/create",
        "params": {
            "mode": "url",
            "message": "Connect",
            "url": "https://example.com/connect",
            "elicitationId": "page-1",
        },
    },
    "sampling": {
        "method": "sampling/createMessage",
        "params": {"messages": [{"role": "user", "content": {"type": "text", "text": "Say yes"}}], "maxTokens": 16},
    },
    "roots": {"method": "roots/list", "params": {}},
}

Context = Any


class Fixture(Server[Any]):
    """What the server offers and remembers. One process is one fixture, whatever sessions it has."""

    def __init__(self, page_items: int, record: Path | None) -> None:
        self.page_items = page_items
        self.record_file = record
        self.calls = 0
        self.nonces: dict[str, int] = {}
        self.cancelled: list[float] = []
        self.streams = 0
        """Standing streams that are open: GET streams (legacy) and listen streams (modern)."""
        self.added: set[str] = set()
        self.bus = InMemorySubscriptionBus()
        self.peers: dict[int, ServerSession] = {}
        """Legacy sessions that have begun, to tell them of changes."""
        self.subscribed: dict[int, set[str]] = {}
        self.log_levels: dict[int, str] = {}
        lists = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
        hints = {**{method: CacheHint(60_000, "public") for method in lists}, "resources/read": CacheHint()}
        super().__init__(
            "fixture",
            version="1.2.3",
            title="Fixture",
            instructions=INSTRUCTIONS,
            cache_hints=hints,  # type: ignore[arg-type]
        )
        listen = ListenHandler(self.bus)
        handlers: list[tuple[str, Any, Callable[[Context, Any], Awaitable[Any]]]] = [
            ("tools/list", types.PaginatedRequestParams, self._list("tools", TOOLS)),
            ("prompts/list", types.PaginatedRequestParams, self._list("prompts", PROMPTS)),
            ("resources/list", types.PaginatedRequestParams, self._list("resources", RESOURCES)),
            ("resources/templates/list", types.PaginatedRequestParams, self._list("resourceTemplates", TEMPLATES)),
            ("tools/call", types.CallToolRequestParams, self._call),
            ("prompts/get", types.GetPromptRequestParams, self._prompt),
            ("resources/read", types.ReadResourceRequestParams, self._read),
            ("completion/complete", types.CompleteRequestParams, self._complete),
            ("resources/subscribe", types.SubscribeRequestParams, self._subscribe),
            ("resources/unsubscribe", types.UnsubscribeRequestParams, self._unsubscribe),
            ("logging/setLevel", types.SetLevelRequestParams, self._set_level),
            ("subscriptions/listen", types.SubscriptionsListenRequestParams, self._standing(listen)),
        ]
        for method, params, handler in handlers:
            self.add_request_handler(method, params, _finished(handler))
        self.add_notification_handler("notifications/initialized", types.NotificationParams, self._begin)
        self.middleware.append(self._watch)

    def get_capabilities(self, *_: Any, **options: Any) -> types.ServerCapabilities:
        """Its lists do change, in the legacy era too; the SDK wants that said each time."""
        return super().get_capabilities(NotificationOptions(True, True, True), **options)

    def record(self, **fact: Any) -> None:
        """Append a fact to the record."""
        if self.record_file is not None:
            with self.record_file.open("a") as file:
                file.write(json.dumps(fact) + "\n")

    # -- around every message

    async def _watch(self, ctx: Context, call_next: Callable[[Context], Awaitable[Any]]) -> Any:
        params = None if ctx.params is None else dict(ctx.params)
        self.record(method=ctx.method, params=params, id=ctx.request_id, headers=_headers(ctx))
        result = await call_next(ctx)
        if ctx.method == "tools/list" and isinstance(result, dict):
            for tool in result["tools"]:
                tool.update(UNKNOWN_KEYS.get(tool["name"], {}))
        return result

    async def _begin(self, ctx: Context, _: Any) -> None:
        self.peers[_peer(ctx)] = ctx.session

    def _standing(self, listen: ListenHandler) -> Callable[[Context, Any], Awaitable[Any]]:
        async def handler(ctx: Context, params: Any) -> Any:
            self.streams += 1
            try:
                return await listen(ctx, params)
            finally:
                self.streams -= 1

        return handler

    # -- lists

    def _list(self, kind: str, items: list[dict[str, Any]]) -> Callable[[Context, Any], Awaitable[dict[str, Any]]]:
        async def handler(ctx: Context, params: types.PaginatedRequestParams) -> dict[str, Any]:
            whole = [*items, EXTRA[kind]] if kind in self.added else items
            if not self.page_items:
                return {kind: whole}
            start = 0
            if params.cursor is not None:
                if not params.cursor.startswith("after-"):
                    raise MCPError(-32602, "Unknown cursor")
                start = int(params.cursor.removeprefix("after-"))
            end = start + self.page_items
            return {kind: whole[start:end], **({"nextCursor": f"after-{end}"} if end < len(whole) else {})}

        return handler

    async def _mutate(self, ctx: Context, kind: str = "tools") -> dict[str, Any]:
        self.added ^= {kind}
        events: dict[str, ServerEvent] = {
            "tools": ToolsListChanged(),
            "prompts": PromptsListChanged(),
            "resources": ResourcesListChanged(),
        }
        await self.bus.publish(events[kind])
        send = {
            "tools": ServerSession.send_tool_list_changed,
            "prompts": ServerSession.send_prompt_list_changed,
            "resources": ServerSession.send_resource_list_changed,
        }[kind]
        await self._tell(self.peers, send)
        return _structured(present=kind in self.added)

    async def _touch(self, ctx: Context, uri: str) -> dict[str, Any]:
        await self.bus.publish(ResourceUpdated(uri=uri))
        subscribers = [peer for peer, uris in self.subscribed.items() if uri in uris]
        await self._tell(subscribers, lambda session: session.send_resource_updated(uri))
        return _text("touched")

    async def _tell(self, peers: Any, send: Callable[[ServerSession], Awaitable[None]]) -> None:
        for peer in list(peers):
            try:
                await send(self.peers[peer])
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                for known in (self.peers, self.subscribed, self.log_levels):
                    known.pop(peer, None)

    async def _subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> dict[str, Any]:
        self.subscribed.setdefault(_peer(ctx), set()).add(str(params.uri))
        return {}

    async def _unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> dict[str, Any]:
        self.subscribed.get(_peer(ctx), set()).discard(str(params.uri))
        return {}

    async def _set_level(self, ctx: Context, params: types.SetLevelRequestParams) -> dict[str, Any]:
        self.log_levels[_peer(ctx)] = params.level
        return {}

    # -- tools

    async def _call(self, ctx: Context, params: types.CallToolRequestParams) -> Any:
        self.calls += 1
        if params.name == "extra" and "tools" in self.added:
            return _text("extra")
        if params.name not in {tool["name"] for tool in TOOLS}:
            raise MCPError(-32602, f"Unknown tool: {params.name}")
        return await getattr(self, f"_{params.name}")(ctx, **(params.arguments or {}))

    async def _add(self, ctx: Context, a: int, b: int) -> dict[str, Any]:
        return _structured(result=a + b)

    async def _echo(self, ctx: Context, text: str) -> dict[str, Any]:
        return _text(text)

    async def _fail(self, ctx: Context) -> dict[str, Any]:
        return {**_text("this tool always fails"), "isError": True}

    async def _raise_error(self, ctx: Context, code: int = -32603, message: str = "no", data: Any = None) -> None:
        raise MCPError(code, message, data)

    async def _slow(self, ctx: Context, seconds: float) -> dict[str, Any]:
        try:
            await anyio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(seconds)
            self.record(event="cancelled", seconds=seconds)
            raise
        return _text("done")

    async def _count(self, ctx: Context, n: int) -> dict[str, Any]:
        for step in range(1, n + 1):
            await ctx.session.report_progress(step, n, f"step {step}")
        return _text(str(n))

    async def _log(self, ctx: Context, level: types.LoggingLevel, text: str) -> dict[str, Any]:
        levels = list(types.LoggingLevel.__args__)  # type: ignore[attr-defined]
        if levels.index(level) >= levels.index(self.log_levels.get(_peer(ctx), "debug")):
            await ctx.session.send_log_message(level, text, logger="fixture", related_request_id=ctx.request_id)
        return _text("logged")

    async def _links(self, ctx: Context) -> dict[str, Any]:
        return {
            "content": [
                {"type": "text", "text": "see test://static/text"},
                {"type": "resource_link", "uri": "test://static/text", "name": "text", "mimeType": "text/plain"},
                {"type": "resource_link", "uri": "file:///etc/motd-like", "name": "motd-like"},
                {"type": "resource", "resource": {"uri": "test://item/7", "mimeType": "text/plain", "text": "seven"}},
            ]
        }

    async def _image(self, ctx: Context) -> dict[str, Any]:
        return {"content": [{"type": "image", "data": PIXEL, "mimeType": "image/png"}]}

    async def _big(self, ctx: Context, bytes: int) -> dict[str, Any]:
        return _text("x" * bytes)

    async def _schema_2020(self, ctx: Context, **arguments: Any) -> dict[str, Any]:
        return _structured(**arguments)

    async def _mirrored(self, ctx: Context, region: str, n: int = 0) -> dict[str, Any]:
        sent = dict(_headers(ctx) or [])
        return _structured(region=region, n=n, header=sent.get("mcp-param-region"))

    async def _nonce(self, ctx: Context, value: str) -> dict[str, Any]:
        self.nonces[value] = self.nonces.get(value, 0) + 1
        return _structured(value=value, executions=self.nonces[value])

    async def _whoami(self, ctx: Context) -> dict[str, Any]:
        client = ctx.session.client_params
        capabilities = ctx.session.client_capabilities
        return _structured(
            meta=dict((ctx.params or {}).get("_meta") or {}),
            clientCapabilities=None if capabilities is None else _plain(capabilities),
            clientInfo=None if client is None else _plain(client.client_info),
            protocolVersion=ctx.protocol_version,
            headers=_headers(ctx),
            pid=os.getpid(),
            peer=_peer(ctx),
            calls=self.calls,
            cancelled=self.cancelled,
            streams=self.streams,
        )

    async def _ask(self, ctx: Context, kind: str) -> dict[str, Any]:
        if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS:
            answers = (ctx.params or {}).get("inputResponses") or {}
            if kind in answers:
                return _structured(answer=answers[kind], state=ctx.params.get("requestState"))
            declared = ctx.params["_meta"].get("io.modelcontextprotocol/clientCapabilities") or {}
            needed = "elicitation" if kind == "url" else kind
            if needed not in declared:
                raise MCPError(-32021, f"This needs {needed}", {"requiredCapabilities": {needed: {}}})
            question = ASKED[kind]
            params = {name: value for name, value in question["params"].items() if name != "elicitationId"}
            wanted = {kind: {**question, "params": params}}
            return {"resultType": "input_required", "inputRequests": wanted, "requestState": f"state of {kind}"}
        # The request-scoped channel: on HTTP, the stream of this very call.
        asked = ASKED[kind]
        answer = await ctx.session._request_outbound.send_raw_request(asked["method"], asked["params"])
        return _structured(answer=answer, state=None)

    # -- prompts, resources, completion

    async def _prompt(self, ctx: Context, params: types.GetPromptRequestParams) -> dict[str, Any]:
        if params.name == "greet":
            name = (params.arguments or {}).get("name", "nobody")
            content: dict[str, Any] = {"type": "text", "text": f"Please greet {name}"}
        elif params.name == "review":
            content = {"type": "resource", "resource": _contents("test://static/text")}
        else:
            raise MCPError(-32602, f"Unknown prompt: {params.name}")
        return {"description": params.name, "messages": [{"role": "user", "content": content}]}

    async def _read(self, ctx: Context, params: types.ReadResourceRequestParams) -> dict[str, Any]:
        uri = str(params.uri)
        contents = _contents(uri)
        if contents is None:
            code = -32602 if ctx.protocol_version in MODERN_PROTOCOL_VERSIONS else -32002
            raise MCPError(code, "Resource not found", {"uri": uri})
        return {"contents": [contents]}

    async def _complete(self, ctx: Context, params: types.CompleteRequestParams) -> dict[str, Any]:
        known = NAMES if params.ref.type == "ref/prompt" else [str(number) for number in range(1, 25)]
        values = [value for value in known if value.startswith(params.argument.value)]
        return {"completion": {"values": values, "total": len(values), "hasMore": False}}


def _finished(handler: Callable[[Context, Any], Awaitable[Any]]) -> Callable[[Context, Any], Awaitable[Any]]:
    """What the SDK's models add to a result by themselves and plain dicts must have; legacy results lose it again."""

    async def finished(ctx: Context, params: Any) -> Any:
        result = await handler(ctx, params)
        return {"resultType": "complete", **result} if isinstance(result, dict) else result

    return finished


def _contents(uri: str) -> dict[str, Any] | None:
    if uri == "test://static/binary":
        blob = base64.b64encode(BINARY).decode()
        return {"uri": uri, "mimeType": "application/octet-stream", "blob": blob}
    if uri.startswith("test://item/"):
        text = json.dumps({"id": uri.removeprefix("test://item/")})
        return {"uri": uri, "mimeType": "application/json", "text": text}
    texts = {"test://static/text": "A short text.", "file:///etc/motd-like": "Welcome.\n"}
    return {"uri": uri, "mimeType": "text/plain", "text": texts[uri]} if uri in texts else None


def _text(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


def _structured(**value: Any) -> dict[str, Any]:
    return {**_text(json.dumps(value)), "structuredContent": value}


def _plain(model: Any) -> dict[str, Any]:
    plain: dict[str, Any] = model.model_dump(by_alias=True, mode="json", exclude_none=True)
    return plain


def _headers(ctx: Context) -> list[tuple[str, str]] | None:
    request = ctx.request
    return None if request is None else [(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw]


def _peer(ctx: Context) -> int:
    """What is the same for all requests of a legacy session."""
    return id(ctx.session._connection)


# -- transports and eras


@asynccontextmanager
async def _lifespan(fixture: Fixture) -> Any:
    async with fixture.lifespan(fixture) as state:
        yield state


async def serve_stdio(fixture: Fixture, era: str) -> None:
    """Over standard streams, until the input ends."""
    async with stdio_server() as (reader, writer):
        options = fixture.create_initialization_options()
        if era == "dual":
            await fixture.run(reader, writer, options)
            return
        async with _lifespan(fixture) as state:
            if era == "legacy":  # the SDK's loop of the handshake era: `server/discover` is an unknown method to it
                await serve_loop(fixture, reader, writer, lifespan_state=state, init_options=options)
            else:  # the SDK's loop for a connection that has turned modern: `initialize` gets -32022
                await _serve_modern_stream(fixture, reader, writer, lifespan_state=state, raise_exceptions=False)


class LegacyOnly(StreamableHTTPSessionManager):
    """Sessions whatever the protocol version header says; one it does not know is a 400, as in the SDK's version 1."""

    async def _handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._handle_stateful_request(scope, receive, send)


class ModernOnly(StreamableHTTPSessionManager):
    """The stateless entry whatever the header says, so that there are no sessions; `initialize` gets -32022."""

    async def _handle_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            body = await Request(scope, receive).body()
            message = _decoded(body)
            if message.get("method") == "initialize":
                requested = (message.get("params") or {}).get("protocolVersion")
                data = {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": requested}
                error = {"code": -32022, "message": "Unsupported protocol version", "data": data}
                answer = {"jsonrpc": "2.0", "id": message.get("id"), "error": error}
                return await JSONResponse(answer, 400)(scope, receive, send)
            receive = _replayed(body, receive)
        await handle_modern_request(self.app, self.security_settings, False, self._lifespan_state, scope, receive, send)


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _replayed(body: bytes, receive: Receive) -> Receive:
    first = True

    async def replay() -> Any:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


def http_app(fixture: Fixture, era: str) -> Starlette:
    """Streamable HTTP at /mcp."""
    local = ["127.0.0.1:*", "localhost:*", "[::1]:*"]
    security = TransportSecuritySettings(allowed_hosts=local, allowed_origins=[f"http://{host}" for host in local])
    kind = {"dual": StreamableHTTPSessionManager, "modern": ModernOnly, "legacy": LegacyOnly}[era]
    manager = kind(app=fixture, security_settings=security)

    class Endpoint:
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await manager.handle_request(scope, receive, send)

    return Starlette(routes=[Route("/mcp", Endpoint())], lifespan=lambda app: manager.run())


def sse_app(fixture: Fixture) -> Starlette:
    """The 2024-11-05 transport: GET /sse, POST /messages/. It is of the legacy era whatever is asked."""
    transport = SseServerTransport("/messages/")

    async def connect(request: Request) -> Response:
        async with (
            _lifespan(fixture) as state,
            transport.connect_sse(request.scope, request.receive, request._send) as (reader, writer),
        ):
            await serve_loop(fixture, reader, writer, lifespan_state=state)
        return Response()

    return Starlette(routes=[Route("/sse", connect), Mount("/messages/", app=transport.handle_post_message)])


def watched(app: ASGIApp, fixture: Fixture) -> ASGIApp:
    """Record every HTTP request, and count the GET streams that are open."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        fixture.record(http=scope["method"], path=scope["path"])
        counted = False

        async def count(message: Any) -> None:
            nonlocal counted
            await send(message)
            begins = scope["method"] == "GET" and message["type"] == "http.response.start" and message["status"] == 200
            if begins and not counted:
                counted = True
                fixture.streams += 1

        try:
            await app(scope, receive, count)
        finally:
            fixture.streams -= counted

    return serve


async def serve_http(app: ASGIApp, port: int) -> None:
    """Listen on 127.0.0.1 and say where. h11, not httptools: it takes the blanks around header values away."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    print(f"PORT {listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, http="h11", log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    """Run as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", choices=["stdio", "http", "sse"], default="stdio")
    parser.add_argument("--era", choices=["dual", "modern", "legacy"], default="dual")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--page-items", type=int, default=0, help="items on one page of a list; 0 is all of them")
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # the legacy era is what half of this is for
    fixture = Fixture(options.page_items, options.record)
    if options.transport == "stdio":
        asyncio.run(serve_stdio(fixture, options.era))
    else:
        app = http_app(fixture, options.era) if options.transport == "http" else sse_app(fixture)
        asyncio.run(serve_http(watched(app, fixture), options.port))


if __name__ == "__main__":
    main()
