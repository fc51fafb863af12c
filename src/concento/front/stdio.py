"""One agent over standard input and output: lines of JSON, both eras on the same stream.

Source: specification, stdio transport; hardening T26 (line length), T28 (calls at once).
"""

import asyncio
from typing import Final, cast

from msgspec import Raw

from ..gateway.call import Gateway
from ..gateway.listen import Listening
from ..model.call import ALL, Call, Failure
from ..model.errors import CallError, InvalidRequest, Overloaded
from ..model.limits import BODY_BYTES_MAX, WRITE_WAIT_S
from ..model.principal import LOCAL
from ..protocol import modern
from ..protocol.jsonrpc import Message, Rejection, encode_notification, encode_result, parse
from ..upstream.tasks import Tasks
from .answers import modern_error
from .batch import answer_batch, batch_in, join
from .listening import serve_listen
from .replay import EventStore
from .session import Session
from .standard import Relay, input_pipe, output_pipe

CALLS_MAX: Final = 256
DRAIN_S: Final = 5.0
"""Time for calls to finish after the agent closed its end."""


class StdioAgent:
    """Reads the agent's messages and answers them, many at a time."""

    def __init__(self, gateway: Gateway, listening: Listening) -> None:
        self._gateway = gateway
        self._listening = listening
        self._session = Session("stdio", ALL, LOCAL, gateway, listening, EventStore())
        self._session.push, self._session.has_stream = self._write, True
        self._running: dict[bytes, asyncio.Task[None]] = {}
        self._tasks = Tasks("stdio")
        self._writer: asyncio.StreamWriter | None = None
        self._relays: list[Relay] = []

    async def serve(self) -> None:
        """Serve until the agent closes its end, or stops reading. Errors: StartError, where an end is no good."""
        reader = await self._connect()
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                line = end.partial
                if not line:
                    break
            except asyncio.LimitOverrunError:
                await self._skip_line(reader)
                continue
            if line.strip():
                self._take(line.strip())
            if self._writer is not None:
                try:
                    await asyncio.wait_for(self._writer.drain(), WRITE_WAIT_S)
                except (TimeoutError, ConnectionError):
                    break
        await self._finish()

    async def _finish(self) -> None:
        running = [*self._running.values()]
        if running:
            await asyncio.wait(running, timeout=DRAIN_S)
        self._session.push = None
        await self._session.end()
        await self._tasks.close()
        if self._writer is not None:
            self._writer.close()
        for relay in self._relays:
            await asyncio.to_thread(relay.finish, DRAIN_S)

    async def _skip_line(self, reader: asyncio.StreamReader) -> None:
        """Refuse a line that is too long and go on after it."""
        error = InvalidRequest(f"A message is longer than {BODY_BYTES_MAX} bytes")
        self._write(modern_error(None, error))
        while True:
            try:
                await reader.readuntil(b"\n")
                return
            except asyncio.LimitOverrunError as over:
                await reader.readexactly(over.consumed)
            except asyncio.IncompleteReadError:
                return

    def _take(self, line: bytes) -> None:
        message = parse(line)
        if isinstance(message, Rejection):
            if (batch := batch_in(self._session, line)) is not None:
                self._tasks.start(self._answer_batch(batch))
            else:
                self._write(modern_error(message.id, message.error))
        elif message.kind == "response":
            self._session.hear(message)
        elif message.kind == "notification" and message.method == "notifications/cancelled":
            self._cancel(message)
        elif message.id is not None and message.id in self._running:
            self._write(modern_error(message.id, InvalidRequest("A request with this id is running")))
        elif len(self._running) >= CALLS_MAX:
            self._write(modern_error(message.id, Overloaded(f"More than {CALLS_MAX} requests at a time")))
        else:
            task = self._tasks.start(self._answer(message))
            if message.id is not None:
                id = message.id
                self._running[id] = task
                task.add_done_callback(lambda _: self._running.pop(id, None))

    def _cancel(self, message: Message) -> None:
        raw_id = message.params.get("requestId")
        task = self._running.get(bytes(raw_id)) if raw_id is not None else None
        if task is not None:
            task.cancel()
        else:
            self._session.hear(message)  # it may be one of a batch

    async def _answer(self, message: Message) -> None:
        if not modern.is_addressed(message, None):
            text = await self._session.answer(message, self._write)
            if message.method == "initialize" and self._session.hello is not None:
                self._session.listen()
            if text is not None:
                self._write(text)
            return
        if message.kind != "request":
            return
        raw_id = message.id or b"null"
        try:
            self._write(await self._modern(raw_id, modern.lift(message, None, ALL, LOCAL)))
        except CallError as error:
            self._write(modern_error(raw_id, error))

    async def _answer_batch(self, batch: list[bytes]) -> None:
        replies = await answer_batch(self._session, batch, self._write, self._session.caller)
        if replies:
            self._write(join(replies))

    async def _modern(self, raw_id: bytes, call: Call) -> bytes:
        if call.method == "subscriptions/listen":
            return await serve_listen(self._listening, self._gateway.tasks, raw_id, call, self._write)
        makes = self._gateway.tasks if call.profile.tasks and call.method == "tools/call" else self._gateway
        reply = await makes.call(call, self._notify)
        if isinstance(reply, Failure):
            return modern_error(raw_id, reply)
        return encode_result(raw_id, modern.render(call.method, reply))

    def _notify(self, method: str, params: Raw) -> None:
        if method:
            self._write(encode_notification(method, params))

    def _write(self, text: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(text + b"\n")

    async def _connect(self) -> asyncio.StreamReader:
        """Standard input and output as streams."""
        loop = asyncio.get_running_loop()
        (source, carries_in), (sink, carries_out) = input_pipe(), output_pipe()
        self._relays = [relay for relay in (carries_in, carries_out) if relay is not None]
        reader = asyncio.StreamReader(limit=BODY_BYTES_MAX)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        transport, protocol = await loop.connect_write_pipe(lambda: asyncio.streams.FlowControlMixin(loop=loop), sink)
        self._writer = asyncio.StreamWriter(transport, cast(asyncio.BaseProtocol, protocol), reader, loop)
        return reader
