"""Guards that live elsewhere, asked over HTTP: what the hub says to them, and what they may answer.

    POST {"id", "phase": "before" | "after", "guard", "method", "kind", "server", "name", "principal",
          "arguments" | "result" | "error"}
    200  {"action": "allow" | "deny" | "replace", "reason", "arguments" | "result"}

Connections are kept, so that an answer costs one round trip. The operator wrote the URL: it may lead anywhere. Nothing
that the caller proved itself with is sent. With a secret the request is signed (`model/signing.py`).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ..model.errors import CallError
from ..model.guards import Webhook
from ..model.limits import WEBHOOK_BYTES_MAX
from ..model.signing import SIGNATURE, signature
from ..protocol.jsonrpc import read_once

if TYPE_CHECKING:
    import aiohttp

CONNECTIONS_MAX: Final = 256
_encode = msgspec.json.Encoder().encode


class NotAsked(Exception):
    """Why there is no answer. The text says no more than a status or a kind of failure."""


class Verdict(Struct, frozen=True):
    """What a webhook answered."""

    action: Literal["allow", "deny", "replace"]
    reason: str = ""
    arguments: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET


_decode = msgspec.json.Decoder(Verdict).decode


class Webhooks:
    """All webhooks of a hub. `wall` is the time that requests are signed with."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, webhook: Webhook, said: Mapping[str, Any]) -> Verdict:
        """What a webhook says to a call. Errors: NotAsked."""
        body = _encode(said)
        try:
            async with asyncio.timeout(webhook.timeout_s):
                status, answer = await self._answer(webhook, body)
        except TimeoutError:
            raise NotAsked(f"it did not answer within {webhook.timeout_s:g} s") from None
        if status != 200:
            raise NotAsked(f"it answered with the status {status}")
        if len(answer) > WEBHOOK_BYTES_MAX:
            raise NotAsked(f"it answered with more than {WEBHOOK_BYTES_MAX} bytes")
        return _read(answer, str(said["phase"]))

    async def _answer(self, webhook: Webhook, body: bytes) -> tuple[int, bytes]:
        import aiohttp  # here: many a hub has no webhook, and starts without it

        try:
            try:
                return await self._post(webhook, body)
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                return await self._post(webhook, body)  # a connection that was kept, and closed over there meanwhile
        except (aiohttp.ClientError, OSError, ValueError):
            raise NotAsked("it can't be reached") from None

    async def _post(self, webhook: Webhook, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}
        if webhook.bearer is not None:
            headers["Authorization"] = f"Bearer {webhook.bearer}"
        if webhook.secret is not None:
            headers[SIGNATURE] = signature(webhook.secret, int(self._wall()), body)
        request = self._opened().post(webhook.url, data=body, headers=headers, allow_redirects=False)
        async with request as reply:
            answer = b""
            while len(answer) <= WEBHOOK_BYTES_MAX and (more := await reply.content.read(WEBHOOK_BYTES_MAX)):
                answer += more
            return reply.status, answer

    def _opened(self) -> "aiohttp.ClientSession":
        import aiohttp

        if self._session is None:
            connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
            timeout = aiohttp.ClientTimeout(total=None)  # each has a deadline of its own
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=jar, auto_decompress=False
            )
        return self._session

    async def close(self) -> None:
        """Close what is kept."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _read(answer: bytes, phase: str) -> Verdict:
    try:
        answer.decode()
        verdict = _decode(answer)
        replaced = verdict.arguments if phase == "before" else verdict.result
        if verdict.action == "replace" and (replaced is UNSET or read_once(replaced) is None):
            raise ValueError
    except (ValueError, RecursionError, CallError):
        raise NotAsked("it answered with something that is no verdict") from None
    return verdict
