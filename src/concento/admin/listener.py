"""The admin listener: Starlette on uvicorn, in the hub's own event loop.

Host and Origin are checked on every route, as on the data listener. Source: hardening T20, T32.
"""

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import __version__
from ..front.http import bind_problem
from ..front.identity.hosts import Hosts
from ..front.parser import Refusal
from ..model.config import Address
from ..model.errors import StartError
from ..model.tenant import DEFAULT_TENANT
from ..upstream.tasks import Tasks
from . import accounts, alerts, approvals, describe, explain, traces, trials
from . import usage as usages
from .access import AdminAccess
from .describe import Hub

SEARCH_LIMIT_MAX = 500
CLOSE_WAIT_S = 2.0
BODY_BYTES_MAX = 65_536
CALLER = "concento.caller"
"""Where in a request's scope it says who asks."""
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
]
INDEX = """Concento {version}

/api/v1/servers            what is connected, what is failing and why
/api/v1/tools              all tools; ?search=words finds some, ?refresh=no wakes no server that was never listed
/api/v1/tools/NAME         one tool, with its definition
/api/v1/views              the endpoints, and about how many tokens their lists cost
/api/v1/approvals          tools that are held back, with what changed; POST lets one be shown
/api/v1/accounts           whose accounts are connected; POST …/connect, …/disconnect
/api/v1/experiments        how the arms of experiments do; POST …/TOOL/promote, /rollback, /resume ends or resumes one
/api/v1/explain            ?tool=NAME&subject=WHO: whether they see it and may call it, and why
/api/v1/alerts             what fires, who was told, what is silenced; POST …/ack, /silence, /unsilence, /test
/api/v1/usage              what was used; ?month=2026-11&by=tenant,tool
/api/v1/invoices/T/MONTH   what a tenant owes for a month
/api/v1/traces             recent calls that failed, were slow or were sampled; ?outcome=error&server=NAME&min_ms=100
/api/v1/traces/ID          what the calls of one trace spent their time on
/metrics                   Prometheus metrics
/health/live, /health/ready
/openapi.json              this API, described
"""


class Guard:
    """Refuses requests that name another host, come from another page, or are not the operator's.

    It puts strict headers on every answer.
    """

    def __init__(self, app: ASGIApp, hosts: Hosts, access: AdminAccess) -> None:
        self._app = app
        self._hosts = hosts
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        reason = self._hosts.problem(
            [value for name, value in fields if name == "host"], [value for name, value in fields if name == "origin"]
        )
        if reason is not None:
            await JSONResponse({"error": reason}, 403)(scope, receive, send_strict)
            return
        caller = await self._access.judge(scope)
        if isinstance(caller, Refusal):
            answer = JSONResponse({"error": caller.reason}, caller.status, dict(caller.headers))
            await answer(scope, receive, send_strict)
            return
        scope[CALLER] = caller
        await self._app(scope, receive, send_strict)


def admin_app(hub: Hub, access: AdminAccess) -> Starlette:
    """The routes. Those that change something are POST, and audited."""

    async def index(_: Request) -> Response:
        return PlainTextResponse(INDEX.format(version=__version__))

    async def servers(_: Request) -> Response:
        return JSONResponse(describe.servers(hub))

    async def tools(request: Request) -> Response:
        limit = request.query_params.get("limit", "50")
        if not limit.isascii() or not limit.isdigit() or not 0 < int(limit) <= SEARCH_LIMIT_MAX:
            return JSONResponse({"error": f"limit must be 1 to {SEARCH_LIMIT_MAX}"}, 422)
        if request.query_params.get("refresh") != "no":
            await describe.refresh(hub)
        found = await asyncio.to_thread(describe.tools, hub, request.query_params.get("search"), int(limit))
        return JSONResponse(found)

    async def tool(request: Request) -> Response:
        found = describe.tool(hub, request.path_params["name"])
        if found is None:
            await describe.refresh(hub)
            found = describe.tool(hub, request.path_params["name"])
        return JSONResponse(found) if found is not None else JSONResponse({"error": "there is no such tool"}, 404)

    async def views(request: Request) -> Response:
        await describe.refresh(hub)
        return JSONResponse(describe.views(hub))

    async def explained(request: Request) -> Response:
        asked = request.query_params
        known = {"tool", "subject", "agent", "tenant", "role", "scope", "args", "address"}
        if strange := sorted(set(asked) - known):
            return JSONResponse({"error": f"unknown parameter {strange[0]!r}; known: {', '.join(sorted(known))}"}, 422)
        try:
            question = explain.Question(
                asked.get("tool", ""),
                asked.get("subject", ""),
                agent=asked.get("agent"),
                tenant=asked.get("tenant", DEFAULT_TENANT),
                roles=tuple(asked.getlist("role")),
                scopes=tuple(asked.getlist("scope")),
                arguments=asked.get("args"),
                address=asked.get("address"),
            )
            return JSONResponse(explain.answer(hub, question))
        except explain.Unanswerable as error:
            return JSONResponse({"error": str(error)}, 422)

    async def experiments(_: Request) -> Response:
        return JSONResponse(trials.experiments(hub))

    async def pending(_: Request) -> Response:
        await describe.refresh(hub)
        return JSONResponse(await asyncio.to_thread(approvals.pending, hub))

    async def approve(request: Request) -> Response:
        fields = ("server", "tool", "hash")
        return await _changed(request, fields, lambda by, **given: approvals.approve(hub, by=by, **given))

    async def all_accounts(_: Request) -> Response:
        return JSONResponse(await accounts.accounts(hub))

    async def connect(request: Request) -> Response:
        return await _changed(request, ("server",), lambda by, server: accounts.connect(hub, server, by))

    async def disconnect(request: Request) -> Response:
        fields = ("server", "user", "tenant")
        return await _changed(request, fields, lambda by, **given: accounts.disconnect(hub, by=by, **given))

    async def promote(request: Request) -> Response:
        return await _changed(
            request, ("arm",), lambda by, arm: trials.promote(hub, request.path_params["tool"], arm, by)
        )

    async def rollback(request: Request) -> Response:
        return await _changed(request, (), lambda by: trials.rollback(hub, request.path_params["tool"], by))

    async def resume(request: Request) -> Response:
        return await _changed(request, (), lambda by: trials.resume(hub, request.path_params["tool"], by))

    async def all_alerts(_: Request) -> Response:
        return JSONResponse(alerts.alerts(hub))

    async def acknowledge(request: Request) -> Response:
        return await _changed(request, ("alert", "note"), lambda by, **given: alerts.acknowledge(hub, by=by, **given))

    async def silence(request: Request) -> Response:
        fields = ("match", "span", "why")
        return await _changed(request, fields, lambda by, **given: alerts.silence(hub, by=by, **given))

    async def unsilence(request: Request) -> Response:
        return await _changed(request, ("silence",), lambda by, silence: alerts.unsilence(hub, silence, by))

    async def test_channel(request: Request) -> Response:
        return await _changed(request, ("channel",), lambda by, channel: alerts.test(hub, channel, by))

    async def usage(request: Request) -> Response:
        return await _asked(usages.told(hub.usage, dict(request.query_params), hub.wall()))

    async def invoices(request: Request) -> Response:
        of = request.path_params
        return await _asked(usages.invoiced(hub.usage, of["tenant"], of["month"], hub.wall()))

    async def recent(request: Request) -> Response:
        try:
            return JSONResponse(await asyncio.to_thread(traces.traces, hub, dict(request.query_params)))
        except traces.Unreadable as error:
            return JSONResponse({"error": str(error)}, 422)

    async def trace(request: Request) -> Response:
        found = await asyncio.to_thread(traces.trace, hub, request.path_params["id"].lower())
        return JSONResponse(found) if found is not None else JSONResponse({"error": "no such trace is kept"}, 404)

    async def metrics(_: Request) -> Response:
        return Response(await hub.metrics.scraped(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        ready = hub.is_ready()
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def openapi(_: Request) -> Response:
        return JSONResponse(_openapi())

    routes = [
        Route("/", index),
        Route("/api/v1/servers", servers),
        Route("/api/v1/tools", tools),
        Route("/api/v1/tools/{name}", tool),
        Route("/api/v1/views", views),
        Route("/api/v1/approvals", pending),
        Route("/api/v1/approvals", approve, methods=["POST"]),
        Route("/api/v1/accounts", all_accounts),
        Route("/api/v1/accounts/connect", connect, methods=["POST"]),
        Route("/api/v1/accounts/disconnect", disconnect, methods=["POST"]),
        Route("/api/v1/experiments", experiments),
        Route("/api/v1/experiments/{tool:path}/promote", promote, methods=["POST"]),
        Route("/api/v1/experiments/{tool:path}/rollback", rollback, methods=["POST"]),
        Route("/api/v1/experiments/{tool:path}/resume", resume, methods=["POST"]),
        Route("/api/v1/explain", explained),
        Route("/api/v1/alerts", all_alerts),
        Route("/api/v1/alerts/ack", acknowledge, methods=["POST"]),
        Route("/api/v1/alerts/silence", silence, methods=["POST"]),
        Route("/api/v1/alerts/unsilence", unsilence, methods=["POST"]),
        Route("/api/v1/alerts/test", test_channel, methods=["POST"]),
        Route("/api/v1/usage", usage),
        Route("/api/v1/invoices/{tenant}/{month}", invoices),
        Route("/api/v1/traces", recent),
        Route("/api/v1/traces/{id}", trace),
        Route("/metrics", metrics),
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/openapi.json", openapi),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Guard, hosts=hub.hosts, access=access)])


async def _asked(answer: Awaitable[Any]) -> Response:
    try:
        return JSONResponse(await answer)
    except usages.Refused as error:
        return JSONResponse({"error": str(error)}, error.status)


async def _changed(request: Request, fields: Sequence[str], change: Callable[..., Awaitable[Any]]) -> Response:
    """Carry out a change that a body of exactly these texts asks for. A page of another site can't send one: JSON has
    to be asked for first, and the answer is no."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return JSONResponse({"error": "send the body as application/json"}, 415)
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            return JSONResponse({"error": f"the body has more than {BODY_BYTES_MAX} bytes"}, 413)
    try:
        given = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return JSONResponse({"error": "the body is not JSON"}, 422)
    if (
        not isinstance(given, dict)
        or set(given) != set(fields)
        or not all(isinstance(one, str) for one in given.values())
    ):
        told = f"the text{'s' * (len(fields) > 1)} {', '.join(map(repr, fields))}" if fields else "nothing"
        return JSONResponse({"error": f"the body has to be an object with {told} in it"}, 422)
    try:
        return JSONResponse(await change(by=request.scope[CALLER], **given))
    except trials.NoSuchThing as error:
        return JSONResponse({"error": str(error)}, 404)
    except alerts.Unreadable as error:
        return JSONResponse({"error": str(error)}, 422)


def _openapi() -> dict[str, Any]:
    def get(summary: str, *parameters: dict[str, Any]) -> dict[str, Any]:
        return {
            "get": {"summary": summary, "parameters": list(parameters), "responses": {"200": {"description": "OK"}}}
        }

    text = {"type": "string"}
    of_tool = {"name": "tool", "in": "path", "required": True, "schema": text}

    def post(summary: str, fields: dict[str, Any], of: Sequence[dict[str, Any]] = (of_tool,)) -> dict[str, Any]:
        schema = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
        answers = {"200": "OK", "404": "No such thing", "415": "No JSON", "422": "Not such a body"}
        return {
            "post": {
                "summary": summary,
                "parameters": [] if "server" in fields else list(of),
                "requestBody": {"required": bool(fields), "content": {"application/json": {"schema": schema}}},
                "responses": {status: {"description": told} for status, told in answers.items()},
            }
        }

    search = {"name": "search", "in": "query", "schema": text}
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": SEARCH_LIMIT_MAX}}
    refresh = {"name": "refresh", "in": "query", "schema": {"enum": ["yes", "no"], "default": "yes"}}
    asked = [
        {"name": one, "in": "query", "required": one in ("tool", "subject"), "schema": text}
        for one in ("tool", "subject", "agent", "tenant", "role", "scope", "args", "address")
    ]
    wanted = [{"name": one, "in": "query", "schema": text} for one in traces.PARAMETERS]
    name = {"name": "name", "in": "path", "required": True, "schema": text}
    of_usage = [{"name": one, "in": "query", "schema": text} for one in usages.KNOWN]
    of_invoice = [{"name": one, "in": "path", "required": True, "schema": text} for one in ("tenant", "month")]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Concento admin API", "version": __version__},
        "paths": {
            "/api/v1/servers": get("Servers, their state and counts"),
            "/api/v1/tools": get("Tools, all or searched", search, limit, refresh),
            "/api/v1/tools/{name}": get("One tool", name),
            "/api/v1/views": get("The endpoints of several servers, and what their lists cost an agent"),
            "/api/v1/accounts": get("Users' accounts at servers, without their tokens"),
            "/api/v1/accounts/connect": post("A page at which to connect an account", {"server": text}),
            "/api/v1/accounts/disconnect": post(
                "Forget an account, and have it revoked", {"server": text, "user": text, "tenant": text}
            ),
            "/api/v1/approvals": {
                **get("Tools that wait for approval, with what changed"),
                **post("Show a tool as it was looked at", {"server": text, "tool": text, "hash": text}),
            },
            "/api/v1/experiments": get("How the arms of split tools do, and what can be said of it"),
            "/api/v1/experiments/{tool}/promote": post("Give one arm all calls", {"arm": text}),
            "/api/v1/experiments/{tool}/rollback": post("Give all calls to the first arm", {}),
            "/api/v1/experiments/{tool}/resume": post("Let the configured weights decide again", {}),
            "/api/v1/explain": get("Whether somebody sees a tool and may call it, by which rule and limits", *asked),
            "/api/v1/alerts": get("Alerts that fire, are pending or were over lately, and silences"),
            "/api/v1/alerts/ack": post("Say that somebody takes care", {"alert": text, "note": text}, of=()),
            "/api/v1/alerts/silence": post(
                "Tell nobody of what fits", {"match": text, "span": text, "why": text}, of=()
            ),
            "/api/v1/alerts/unsilence": post("End a silence", {"silence": text}, of=()),
            "/api/v1/alerts/test": post("Send a test through a channel", {"channel": text}, of=()),
            "/api/v1/usage": get("What was used in a month, by what is asked for", *of_usage),
            "/api/v1/invoices/{tenant}/{month}": get("What a tenant owes for a month", *of_invoice),
            "/api/v1/traces": get("Recent calls that failed, were slow or were sampled, newest first", *wanted),
            "/api/v1/traces/{id}": get("The calls of one trace, with their spans", {**name, "name": "id"}),
            "/metrics": get("Prometheus metrics"),
            "/health/live": get("Whether the process runs"),
            "/health/ready": get("Whether it takes calls"),
        },
    }


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the hub has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class AdminListener:
    """Serves the admin API on an address."""

    def __init__(self, hub: Hub, token: str | None = None) -> None:
        self._hub = hub
        self._access = AdminAccess(hub.identity, token)
        self._tasks = Tasks("the admin listener")
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, address: Address, tls: ssl.SSLContext | None = None) -> Address:
        """Bind and serve; returns the address with the real port. Errors: StartError."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address.host, address.port))
            listening.listen(128)  # from here on nobody is turned away, though the server starts a moment later
        except OSError as error:
            listening.close()
            raise StartError(f"admin: {bind_problem(address, error)}") from error
        config = uvicorn.Config(
            admin_app(self._hub, self._access),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            ws="none",
            ssl_context_factory=None if tls is None else lambda config, default: tls,
        )
        self._server = _Server(config)
        self._serving = self._tasks.start(self._server.serve([listening]))
        return Address(address.host, listening.getsockname()[1])

    async def close(self) -> None:
        """Stop serving: its own way first, since that closes the sockets."""
        if self._server is not None and self._serving is not None:
            self._server.should_exit = True
            await asyncio.wait([self._serving], timeout=CLOSE_WAIT_S)
        await self._tasks.close()
