"""Servers over Streamable HTTP, both eras: one POST a request, replies as JSON or as an event stream.

`ModernLink` holds nothing but a listen stream; `LegacyLink` holds a session, and makes a new one when the server forgot it.
"""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Raw

from ..model.call import Failure, Notify, Reply, Request, RequestId, Result
from ..model.errors import BadReply, CallError, RateLimited, Unavailable
from ..protocol import legacy, modern
from ..protocol.jsonrpc import Push, encode_error, encode_result, parse_incoming, raw, read_object, read_string
from ..protocol.legacy import SERVER_ASKS
from ..protocol.sse import Event
from ..transport.http import HttpPool, Response
from .link import Ear, Levels, Listener, Welcome, refused_ask, tell
from .welcome import RELISTEN_S, SUBSCRIBE_WAIT_S, greeting, listen_request, read_discovery, read_greeting

ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"
_ACCEPT: Final = ("Accept", "application/json, text/event-stream")
_JSON: Final = ("Content-Type", "application/json")


class Wire:
    """One URL of a server: the pool to its origin, the path, and the static header fields."""

    def __init__(self, pool: HttpPool, target: str, headers: dict[str, str], alias: str) -> None:
        self.pool = pool
        self.target = target
        self.alias = alias
        self._post = pool.head([*headers.items(), _JSON, _ACCEPT])
        self._get = pool.head([*headers.items(), ("Accept", "text/event-stream")])

    async def post(
        self,
        fields: list[tuple[str, str]],
        body: bytes,
        on_event: Callable[[Event], bool | None] | None = None,
        target: str | None = None,
    ) -> Response:
        """POST one message."""
        return await self.pool.request(
            "POST", target or self.target, head=self._post, headers=fields, body=body, on_event=on_event
        )

    async def get(self, fields: list[tuple[str, str]], on_event: Callable[[Event], bool | None]) -> Response:
        """Open an event stream; returns when it ends."""
        return await self.pool.request("GET", self.target, head=self._get, headers=fields, on_event=on_event)

    async def delete(self, fields: list[tuple[str, str]]) -> Response:
        """End a session."""
        return await self.pool.request("DELETE", self.target, head=self._get, headers=fields)


class _Ask:
    """One POSTed request: finds its reply among what comes back, as JSON or as events."""

    def __init__(self, alias: str, id: RequestId, ear: Ear, listener: Listener, answer: Callable[[Push], None]) -> None:
        self.alias = alias
        self.id = id
        self.ear = ear
        self.listener = listener
        self.answer = answer
        self.reply: Reply | None = None
        self.error: CallError | None = None

    def hear(self, event: Event) -> bool | None:
        """Take one event; True once the reply is there."""
        if not event.data:
            return None
        message = parse_incoming(event.data)
        if isinstance(message, Push):
            if message.id is not None:
                self.answer(message)
                if message.method in SERVER_ASKS:
                    self.error = refused_ask(message.method)
                    return True
            elif not tell(self.listener, message):
                self.ear.hear(message)
            return None
        if message.id != self.id:
            return None
        self.reply = message.reply
        return True

    def result(self, response: Response) -> Reply:
        """The reply, wherever it came; raises what its absence means."""
        if self.error is not None:
            raise self.error
        if self.reply is not None:
            return self.reply
        if response.body:
            with suppress(BadReply):
                message = parse_incoming(response.body)
                if not isinstance(message, Push):
                    failed = isinstance(message.reply, Failure)
                    if message.id == self.id or (message.id is None and failed and response.status >= 400):
                        return message.reply
        raise status_error(self.alias, response)


def status_error(alias: str, response: Response) -> CallError:
    """What an HTTP answer without a usable reply means for the call."""
    status = response.status
    if status in (401, 403):
        return Unavailable(
            f"The server {alias!r} refused the hub's credentials (HTTP {status}); check its `headers` and `credentials`"
        )
    if status == 429 or status == 503:
        retry_after = response.headers.get("retry-after", "")
        return Unavailable(
            f"The server {alias!r} is busy (HTTP {status})",
            retry_after_s=float(retry_after) if retry_after.isdigit() else None,
        )
    if 300 <= status < 500:
        return Unavailable(f"The server {alias!r} does not take MCP requests at its URL (HTTP {status})")
    if status >= 500:
        return BadReply(f"The server {alias!r} failed (HTTP {status})")
    return BadReply(f"The server {alias!r} sent no reply to the request")


class ModernLink:
    """A server of the stateless era over HTTP."""

    def __init__(self, wire: Wire, listener: Listener, revision: str = modern_revision) -> None:  # noqa: F821
        raise NotImplementedError
