"""The server that the conformance suite is run against: everything it asks for, under the names it asks for.

    python -m tests.conformance.everything [--port N]

`--port 0`, the default, picks a port; the first line on standard output is `PORT n`, said when it listens.

Both eras on the official SDK's low-level `Server`. Names, texts and behaviour are those that the suite's scenarios
describe; results are plain dicts, so that what the server says is known to the byte.
"""

import argparse
import asyncio
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.session import ServerSession
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from tests.conformance import catalog, tasks
from tests.conformance.asking import (
    ROOTS,
    STRING,
    Context,
    InputRequired,
    ask,
    capabilities,
    form,
    is_modern,
    sampling,
    state,
)
from tests.servers.sdk_server import serve_http

RETRY_MS = 500
STEP_S = 0.05
"""Between the steps of a tool that tells of what it does: the suite wants them apart."""

Result = dict[str, Any]
Handler = Callable[[Context, Any], Awaitable[Any]]

NAME = form("What is your name?", name=STRING)
CONFIRM = form("Please confirm", ok={"type": "boolean"})
DEFAULTS = form(
    "Please look through these",
    required=False,
    name={"type": "string", "default": "John Doe"},
    age={"type": "integer", "default": 30},
    score={"type": "number", "default": 95.5},
    status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    verified={"type": "boolean", "default": True},
)


def _titled(*pairs: str) -> list[dict[str, str]]:
    return [{"const": f"value{number}", "title": title} for number, title in enumerate(pairs, start=1)]


OPTIONS = ["option1", "option2", "option3"]
ENUMS = form(
    "Please choose",
    required=False,
    untitledSingle={"type": "string", "enum": OPTIONS},
    titledSingle={"type": "string", "oneOf": _titled("First Option", "Second Option", "Third Option")},
    legacyEnum={
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    untitledMulti={"type": "array", "items": {"type": "string", "enum": OPTIONS}},
    titledMulti={"type": "array", "items": {"anyOf": _titled("First Choice", "Second Choice", "Third Choice")}},
)


class Everything(Server[Any]):
    """What the server offers and remembers."""

    def __init__(self) -> None:
        super().__init__("everything", version="1.0.0", title="Everything", instructions="Call `test_simple_text`.")
        self.bus = InMemorySubscriptionBus()
        self.added: set[str] = set()
        self.peers: dict[int, ServerSession] = {}
        """Legacy sessions that have begun, to tell them of changes."""
        handlers: list[tuple[str, Any, Handler]] = [
            ("tools/list", types.PaginatedRequestParams, self._list("tools", catalog.TOOLS)),
            ("prompts/list", types.PaginatedRequestParams, self._list("prompts", catalog.PROMPTS)),
            ("resources/list", types.PaginatedRequestParams, self._list("resources", catalog.RESOURCES)),
            (
                "resources/templates/list",
                types.PaginatedRequestParams,
                self._list("resourceTemplates", catalog.TEMPLATES),
            ),
            ("tools/call", types.CallToolRequestParams, _ending(self._call)),
            ("prompts/get", types.GetPromptRequestParams, _ending(self._prompt)),
            ("resources/read", types.ReadResourceRequestParams, self._read),
            ("completion/complete", types.CompleteRequestParams, self._complete),
            ("resources/subscribe", types.SubscribeRequestParams, self._nothing),
            ("resources/unsubscribe", types.UnsubscribeRequestParams, self._nothing),
            ("logging/setLevel", types.SetLevelRequestParams, self._nothing),
            ("subscriptions/listen", types.SubscriptionsListenRequestParams, ListenHandler(self.bus)),
        ]
        for method, params, handler in handlers:
            self.add_request_handler(method, params, handler)
        self.add_notification_handler("notifications/initialized", types.NotificationParams, self._begin)
        self.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=self.name))
        self.tasks = tasks.Tasks(self)

    def get_capabilities(self, *_: Any, **options: Any) -> types.ServerCapabilities:
        """Its lists do change, in the legacy era too; its extension is of the modern era."""
        if options.get("protocol_version") not in MODERN_PROTOCOL_VERSIONS:
            options["extensions"] = None
        return super().get_capabilities(NotificationOptions(True, True, True), **options)

    async def _begin(self, ctx: Context, _: Any) -> None:
        self.peers[id(ctx.session._connection)] = ctx.session

    async def _nothing(self, ctx: Context, params: Any) -> Result:
        return {}

    # -- lists, resources, prompts, completion

    def _list(self, kind: str, items: list[Result]) -> Handler:
        async def handler(ctx: Context, params: Any) -> Result:
            shown = [*items, catalog.EXTRA[kind]] if kind in self.added else items
            return {**_finished(**{kind: shown}), "ttlMs": 60_000, "cacheScope": "public"}

        return handler

    async def _read(self, ctx: Context, params: types.ReadResourceRequestParams) -> Result:
        uri = str(params.uri)
        contents = catalog.contents(uri)
        if contents is None:
            raise MCPError(-32602 if is_modern(ctx) else -32002, "Resource not found", {"uri": uri})
        return {**_finished(contents=[contents]), "ttlMs": 0, "cacheScope": "private"}

    async def _prompt(self, ctx: Context, params: types.GetPromptRequestParams) -> Result:
        if params.name == "test_input_required_result_prompt":
            answers = await ask(ctx, user_context=form("What context should the prompt use?", context=STRING))
            said = f"Context: {answers['user_context']['content']['context']}"
            return _finished(messages=[catalog.said(catalog.text(said))])
        messages = catalog.messages(params.name, params.arguments or {})
        if messages is None:
            raise MCPError(-32602, f"Unknown prompt: {params.name}")
        return _finished(messages=messages)

    async def _complete(self, ctx: Context, params: types.CompleteRequestParams) -> Result:
        values = [word for word in catalog.WORDS if word.startswith(params.argument.value)]
        return _finished(completion={"values": values, "total": len(values), "hasMore": False})

    # -- tools

    async def _call(self, ctx: Context, params: types.CallToolRequestParams) -> Result:
        if params.name in catalog.CONTENTS:
            return _finished(content=catalog.CONTENTS[params.name])
        if params.name not in {tool["name"] for tool in catalog.TOOLS}:
            raise MCPError(-32602, f"Unknown tool: {params.name}")
        tool = getattr(self, f"_{params.name}")
        return dict(await tool(ctx, **(params.arguments or {})))

    async def _test_error_handling(self, ctx: Context) -> Result:
        return {**_text("This tool intentionally returns an error for testing"), "isError": True}

    async def _test_tool_with_logging(self, ctx: Context) -> Result:
        for line in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)
            await anyio.sleep(STEP_S)
        return _text("Logged three lines.")

    async def _test_logging_tool(self, ctx: Context) -> Result:
        await ctx.session.send_log_message("info", "A line", related_request_id=ctx.request_id)
        return _text("Logged a line.")

    async def _test_tool_with_progress(self, ctx: Context) -> Result:
        for progress in (0, 50, 100):
            await ctx.session.report_progress(progress, 100)
            await anyio.sleep(STEP_S)
        return _text("Told of its progress.")

    async def _test_reconnection(self, ctx: Context) -> Result:
        if ctx.close_sse_stream is not None:
            await ctx.close_sse_stream()
        await anyio.sleep(max(0.6, 2 * STEP_S))  # longer than a hub waits with a stream
        return _text("Answered on another stream.")

    async def _test_trigger_tool_change(self, ctx: Context) -> Result:
        self.added ^= {"tools"}
        await self.bus.publish(ToolsListChanged())
        await self._tell(ServerSession.send_tool_list_changed)
        return _text("Changed the list of tools.")

    async def _test_trigger_prompt_change(self, ctx: Context) -> Result:
        self.added ^= {"prompts"}
        await self.bus.publish(PromptsListChanged())
        await self._tell(ServerSession.send_prompt_list_changed)
        return _text("Changed the list of prompts.")

    async def _tell(self, send: Callable[[ServerSession], Awaitable[None]]) -> None:
        for peer, session in tuple(self.peers.items()):
            try:
                await send(session)
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                del self.peers[peer]

    async def _json_schema_2020_12_tool(self, ctx: Context, **arguments: Any) -> Result:
        return _text(", ".join(sorted(arguments)))

    async def _test_mirrored_parameter(self, ctx: Context, region: str) -> Result:
        return _text(f"Region: {region}")

    # -- tools that ask

    async def _test_missing_capability(self, ctx: Context) -> Result:
        return await self._test_sampling(ctx, "Say yes")

    async def _test_sampling(self, ctx: Context, prompt: str) -> Result:
        answer = (await ask(ctx, answer=sampling(prompt)))["answer"]
        return _text(f"LLM response: {answer['content']['text']}")

    async def _test_elicitation(self, ctx: Context, message: str) -> Result:
        wanted = form(
            message,
            username={**STRING, "description": "User's response"},
            email={**STRING, "description": "User's email address"},
        )
        return _chosen("User response", await ask(ctx, response=wanted))

    async def _test_streaming_elicitation(self, ctx: Context) -> Result:
        await ctx.session.report_progress(0, 1)
        return _chosen("User response", await ask(ctx, response=NAME))

    async def _test_elicitation_sep1034_defaults(self, ctx: Context) -> Result:
        return _chosen("Elicitation completed", await ask(ctx, response=DEFAULTS))

    async def _test_elicitation_sep1330_enums(self, ctx: Context) -> Result:
        return _chosen("Elicitation completed", await ask(ctx, response=ENUMS))

    async def _test_input_required_result_elicitation(self, ctx: Context) -> Result:
        answer = (await ask(ctx, user_name=NAME))["user_name"]
        return _text(f"Hello, {answer['content']['name']}!")

    async def _test_input_required_result_sampling(self, ctx: Context) -> Result:
        answer = (await ask(ctx, capital_question=sampling("What is the capital of France?")))["capital_question"]
        return _text(f"The model says: {answer['content']['text']}")

    async def _test_input_required_result_list_roots(self, ctx: Context) -> Result:
        answer = (await ask(ctx, client_roots=ROOTS))["client_roots"]
        return _text("Roots: " + ", ".join(root["uri"] for root in answer["roots"]))

    async def _test_input_required_result_request_state(self, ctx: Context) -> Result:
        await ask(ctx, "asked", confirm=CONFIRM)
        return _text("state-ok" if state(ctx) == "asked" else "state-lost")

    _test_input_required_result_tampered_state = _test_input_required_result_request_state

    async def _test_input_required_result_multiple_inputs(self, ctx: Context) -> Result:
        answers = await ask(
            ctx, "asked", user_name=NAME, greeting=sampling("Generate a greeting", 50), client_roots=ROOTS
        )
        name, greeting = answers["user_name"]["content"]["name"], answers["greeting"]["content"]["text"]
        return _text(f"{greeting} {name}, {len(answers['client_roots']['roots'])} roots")

    async def _test_input_required_result_multi_round(self, ctx: Context) -> Result:
        name = state(ctx)
        if name is None or not name.startswith("name "):
            first = await ask(ctx, "no name", step1=form("Step 1: What is your name?", name=STRING))
            name = f"name {first['step1']['content']['name']}"
        second = await ask(ctx, name, step2=form("Step 2: What is your favorite color?", color=STRING))
        return _text(f"{name.removeprefix('name ')} likes {second['step2']['content']['color']}")

    async def _test_input_required_result_capabilities(self, ctx: Context) -> Result:
        possible = {"elicitation": NAME, "sampling": sampling("Say yes"), "roots": ROOTS}
        wanted = {kind: request for kind, request in possible.items() if kind in capabilities(ctx)}
        return _text(f"Answered: {', '.join(await ask(ctx, None, **wanted))}")

    # -- tools that become tasks

    async def _greet(self, ctx: Context, name: str) -> Result:
        return _text(f"Hello, {name}!")

    async def _slow_compute(self, ctx: Context, seconds: float, label: str = "") -> Result:
        async def work(_: tasks.Task) -> Result:
            await anyio.sleep(seconds)
            return _text(f"Computed {label or 'something'} for {seconds} s")

        if tasks.declared(ctx):
            return self.tasks.begin(ctx, work)
        await anyio.sleep(min(seconds, STEP_S))  # nobody waits a minute for an answer that is not the one they want
        return _text("Computed at once, without a task")

    async def _failing_job(self, ctx: Context) -> Result:
        async def work(_: tasks.Task) -> Result:
            await anyio.sleep(STEP_S)
            return {**_text("The job failed"), "isError": True}

        return self.tasks.begin(ctx, work)

    async def _protocol_error_job(self, ctx: Context) -> Result:
        async def work(_: tasks.Task) -> Result:
            raise MCPError(types.INTERNAL_ERROR, "The job broke")

        return self.tasks.begin(ctx, work)

    async def _confirm_delete(self, ctx: Context, filename: str) -> Result:
        async def work(task: tasks.Task) -> Result:
            answers = await task.ask(confirm=form(f"Delete {filename}?", confirm={"type": "boolean"}))
            return _chosen(f"Deletion of {filename}", answers)

        return self.tasks.begin(ctx, work)

    async def _multi_input(self, ctx: Context) -> Result:
        async def work(task: tasks.Task) -> Result:
            answers = await task.ask(first=NAME, second=NAME)
            return _text(" and ".join(answer["content"]["name"] for answer in answers.values()))

        return self.tasks.begin(ctx, work)

    async def _test_tool_with_task(self, ctx: Context) -> Result:
        tasks.require(ctx)
        name = (await ask(ctx, "asked", user_name=NAME))["user_name"]["content"]["name"]

        async def work(_: tasks.Task) -> Result:
            return _text(f"Done for {name}")

        return self.tasks.begin(ctx, work)


def _finished(**result: Any) -> Result:
    """A result in the modern era's shape; the SDK takes from it what the legacy era does not have."""
    return {"resultType": "complete", **result}


def _text(said: str) -> Result:
    return _finished(content=[catalog.text(said)])


def _chosen(what: str, answers: dict[str, Any]) -> Result:
    (answer,) = answers.values()
    return _text(f"{what}: action={answer['action']}, content={answer.get('content')}")


def _ending(handler: Handler) -> Handler:
    """A handler that may end with what it wants of the client."""

    async def ended(ctx: Context, params: Any) -> Any:
        try:
            return await handler(ctx, params)
        except InputRequired as wanting:
            return wanting.result

    return ended


class Events(EventStore):
    """All events since the start, so that a stream can be taken up again."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    async def store_event(self, stream_id: str, message: Any) -> str:
        """Keep one; its id is its place."""
        self._events.append((stream_id, message))
        return str(len(self._events) - 1)

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what came later on the same stream."""
        last = int(last_event_id)
        if last >= len(self._events):
            return None
        stream = self._events[last][0]
        for place in range(last + 1, len(self._events)):
            of, message = self._events[place]
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(place)))
        return stream


def main() -> None:
    """Listen as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", MCPDeprecationWarning)  # the legacy era is what half of this is for
    app = Everything().streamable_http_app(event_store=Events(), retry_interval=RETRY_MS)
    asyncio.run(serve_http(app, options.port))


if __name__ == "__main__":
    main()
