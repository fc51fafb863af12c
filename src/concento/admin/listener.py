"""The admin listener: Starlette on uvicorn, in the hub's own event loop.

Host and Origin are checked on every route, as on the data listener. Source: hardening T20, T32.
"""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from functools import cache
from typing import Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..front.http import bind_problem
from ..front.identity.hosts import Hosts
from ..front.parser import Refusal
from ..model.config import Address
from ..model.errors import StartError
from ..upstream.tasks import Tasks
from .access import AdminAccess
from .api import OPERATIONS
from .courtesy import Courtesy, Load, aside
from .describe import Hub
from .openapi import document
from .problems import Problem, response
from .router import CALLER, routes

CLOSE_WAIT_S: Final = 2.0
HEADERS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """Refuses requests that name another host, come from another page, or are from nobody who may use the API.

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
            await response(Problem(403, reason), scope["path"])(scope, receive, send_strict)
            return
        caller = await self._access.judge(scope)
        if isinstance(caller, Refusal):
            problem = Problem(caller.status, caller.reason, headers=dict(caller.headers))
            await response(problem, scope["path"])(scope, receive, send_strict)
            return
        scope[CALLER] = caller
        await self._app(scope, receive, send_strict)


def admin_app(hub: Hub, access: AdminAccess) -> Starlette:
    """The whole API, and its description."""

    load = Load(lambda: hub.records.opened, time.monotonic)

    @cache
    def described() -> bytes:
        return msgspec.json.encode(document(OPERATIONS))

    async def openapi(_: Request) -> Response:
        return Response(await aside(described), media_type="application/json")

    app = Starlette(
        routes=[*routes(hub, OPERATIONS), Route("/openapi.json", openapi)],
        middleware=[
            Middleware(Guard, hosts=hub.hosts, access=access),
            Middleware(Courtesy, is_busy=load.is_high, now_s=time.monotonic),
        ],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )
    app.router.redirect_slashes = False
    return app


async def _refused(request: Request, error: Exception) -> Response:
    """What no operation is asked by."""
    assert isinstance(error, HTTPException)
    told = "there is no such path" if error.status_code == 404 else error.detail
    return response(Problem(error.status_code, told, headers=error.headers), request.url.path)


async def _failed(request: Request, error: Exception) -> Response:
    """A defect: what it is stands in the log, and nothing of it in the answer."""
    return response(Problem(500, "the hub failed; its log says more"), request.url.path)


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
