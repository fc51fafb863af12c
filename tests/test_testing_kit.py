"""The fixtures prove themselves: real servers by the official SDK's client, scripted ones by what they record.

The direct run against each fixture is what a run through the hub is compared with.
"""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPError
from tests.peers import (
    everything_command,
    everything_server,
    fast_command,
    fast_http_server,
    sdk_command,
    sdk_http_server,
)

from concento.testing import (
    Conn,
    Exchange,
    Hit,
    ManualClock,
    RawAgent,
    ScriptedHttpServer,
    asks,
    child_command,
    close_mid_body,
    close_mid_stream,
    garbage,
    hang,
    legacy_initialize,
    legacy_mcp,
    legacy_request,
    legacy_sse,
    modern_mcp,
    modern_request,
    recorded,
    reports,
    status,
    twice,
    unknown_result_type,
    until,
    wrong_id,
)
from concento.testing.raw_agent import mirrored, unmirrored

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]

MODERN, LEGACY = "2026-07-28", "2025-11-25"
TRANSPORTS = ["stdio", "http", "sse"]
KINDS = [  # transport, era of the server, mode of the client, revision they agree on
    ("stdio", "dual", "auto", MODERN),
    ("stdio", "dual", "legacy", LEGACY),
    ("stdio", "modern", "auto", MODERN),
    ("stdio", "legacy", "auto", LEGACY),
    ("http", "dual", "auto", MODERN),
    ("http", "dual", "legacy", LEGACY),
    ("http", "modern", "auto", MODERN),
    ("http", "legacy", "auto", LEGACY),
    ("sse", "legacy", "auto", LEGACY),
]

Connect = Callable[..., Any]


@asynccontextmanager
async def reached(transport: str, era: str, *options: str) -> AsyncIterator[Connect]:
    """The fixture server, as something that connects clients to it."""
    if transport == "stdio":
        yield lambda **more: Client(_stdio(sdk_command(era, *options)), **more)
        return
    async with sdk_http_server(era, *options, transport=transport) as url:
        yield lambda **more: Client(sse_client(url) if transport == "sse" else url, **more)


def _stdio(command: list[str]) -> StdioServerParameters:
    return StdioServerParameters(command=command[0], args=command[1:])


@pytest.mark.parametrize(("transport", "era", "mode", "revision"), KINDS)
async def test_the_sdk_fixture_offers_everything_on_every_transport_in_every_era(
    transport: str, era: str, mode: str, revision: str, tmp_path: Path
) -> None:
    record = tmp_path / "record.jsonl"
    logged: list[str] = []
    changes: list[str] = []

    async def on_log(params: Any) -> None:
        logged.append(params.data)

    async def on_message(message: Any) -> None:
        changes.append(getattr(message, "method", ""))

    connecting = reached(transport, era, f"--record={record}")
    async with connecting as connect:
        client = connect(mode=mode, logging_callback=on_log, log_level="info", message_handler=on_message)
        async with client:
            assert client.protocol_version == revision
            assert client.instructions is not None
            await _lists_and_calls(client)
            await _reads_and_completes(client)
            await client.call_tool("log", {"level": "info", "text": "a line"})
            await until(lambda: logged == ["a line"], "the log line", lambda: logged)
            await _is_cancelled(client, record)
            await _hears_changes(client, revision == MODERN, changes)


async def _lists_and_calls(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert {"add", "echo", "fail", "slow", "count", "whoami", "schema_2020"} <= tools.keys()
    schema = tools["schema_2020"].input_schema
    assert schema["$defs"]["address"]["$anchor"] == "address"
    assert schema["x-vendor"] == {"keeps": ["unknown", "keywords", None, 1.5]}
    assert tools["schema_2020"].meta == {"example.com/shelf": {"row": 3}}

    assert (await client.call_tool("add", {"a": 2, "b": 3})).structured_content == {"result": 5}
    assert (await client.call_tool("fail")).is_error
    with pytest.raises(MCPError) as refused:
        await client.call_tool("raise_error", {"code": 4711, "message": "no", "data": {"why": 1}})
    assert (refused.value.code, refused.value.data) == (4711, {"why": 1})

    steps: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    await client.call_tool("count", {"n": 3}, progress_callback=on_progress)
    await until(lambda: steps == [1, 2, 3], "three steps", lambda: steps)

    kinds = [block.type for block in (await client.call_tool("links")).content]
    assert kinds == ["text", "resource_link", "resource_link", "resource"]
    assert (await client.call_tool("image")).content[0].type == "image"
    assert len((await client.call_tool("big", {"bytes": 300_000})).content[0].text) == 300_000  # type: ignore[union-attr]
    assert (await client.call_tool("mirrored", {"region": "Zürich"})).structured_content["region"] == "Zürich"
    first = (await client.call_tool("nonce", {"value": "n"})).structured_content
    assert first == {"value": "n", "executions": 1}
    meta: Any = {"com.example/x": 1}
    seen = (await client.call_tool("whoami", meta=meta)).structured_content
    assert seen["meta"]["com.example/x"] == 1
    assert seen["protocolVersion"] == client.protocol_version


async def _reads_and_completes(client: Client) -> None:
    assert [str(resource.uri) for resource in (await client.list_resources()).resources] == [
        "test://static/text",
        "file:///etc/motd-like",
        "test://static/binary",
    ]
    text = (await client.read_resource("test://static/text")).contents[0]
    assert text.text == "A short text."  # type: ignore[union-attr]
    item = (await client.read_resource("test://item/7")).contents[0]
    assert json.loads(item.text) == {"id": "7"}  # type: ignore[union-attr]
    assert (await client.read_resource("test://static/binary")).contents[0].blob  # type: ignore[union-attr]
    with pytest.raises(MCPError) as missing:
        await client.read_resource("test://nowhere")
    assert missing.value.code == (-32602 if client.protocol_version == MODERN else -32002)

    assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["greet", "review"]
    greeting = (await client.get_prompt("greet", {"name": "Ada"})).messages[0].content
    assert "Ada" in greeting.text  # type: ignore[union-attr]
    assert (await client.get_prompt("review")).messages[0].content.type == "resource"
    of_prompt = mcp_types.PromptReference(name="greet")
    assert (await client.complete(of_prompt, {"name": "name", "value": "Gr"})).completion.values == ["Grace", "Grete"]
    of_template = mcp_types.ResourceTemplateReference(uri="test://item/{id}")
    assert (await client.complete(of_template, {"name": "id", "value": "2"})).completion.values[0] == "2"


async def _is_cancelled(client: Client, record: Path) -> None:
    call = asyncio.ensure_future(client.call_tool("slow", {"seconds": 3600}))  # noqa: TID251 - awaited below
    await until(lambda: _called(record, "slow"), "the call at the server")
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    await until(lambda: [fact for fact in recorded(record) if fact.get("event") == "cancelled"], "the cancellation")


def _called(record: Path, tool: str) -> list[dict[str, Any]]:
    return [call for call in recorded(record, "tools/call") if call["params"]["name"] == tool]


async def _hears_changes(client: Client, modern: bool, changes: list[str]) -> None:
    uri = "test://static/text"
    if modern:
        async with client.listen(tools_list_changed=True, resource_subscriptions=[uri]) as events:
            await client.call_tool("mutate")
            assert type(await anext(events)).__name__ == "ToolsListChanged"
            await client.call_tool("touch", {"uri": uri})
            assert (await anext(events)).uri == uri  # type: ignore[union-attr]
    else:
        await _standing_stream(client)
        await client.subscribe_resource(uri)
        await client.call_tool("mutate")
        await client.call_tool("touch", {"uri": "test://unsubscribed"})
        await client.call_tool("touch", {"uri": uri})
        expected = ["notifications/tools/list_changed", "notifications/resources/updated"]
        await until(lambda: [each for each in changes if each in expected] == expected, "both changes", lambda: changes)
    listed = await client.list_tools(cache_mode="refresh")
    assert "extra" in [tool.name for tool in listed.tools]


async def _standing_stream(client: Client) -> None:
    """A legacy client opens its GET stream when it likes; what happens before is lost to it."""
    seen = (await client.call_tool("whoami")).structured_content
    while seen["headers"] is not None and not seen["streams"]:
        seen = (await client.call_tool("whoami")).structured_content


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_modern_only_server_refuses_the_handshake_by_naming_its_versions(transport: str) -> None:
    async with reached(transport, "modern") as connect:
        with pytest.RaisesGroup(MCPError, flatten_subgroups=True) as refused:
            async with connect(mode="legacy"):
                pass
    assert _leaf(refused.value).code == -32022
    assert _leaf(refused.value).data == {"supported": [MODERN], "requested": LEGACY}


def _leaf(error: BaseException) -> Any:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def test_a_legacy_only_server_knows_no_discovery_and_a_modern_only_one_no_get() -> None:
    async with sdk_http_server("legacy") as url, RawAgent(url) as agent:
        reply = await agent.modern("server/discover")
        assert reply.status == 400
        session = await agent.begin()
        headers, body = legacy_request("server/discover", session=session)
        assert (await agent.post(None, body, headers)).error["code"] == -32601
    async with sdk_http_server("modern") as url, RawAgent(url) as agent:
        assert (await agent.get()).status == 405
        headers, body = legacy_initialize()
        reply = await agent.post(None, body, headers)
        assert (reply.status, reply.error["code"]) == (400, -32022)


async def test_what_the_sdk_does_not_know_of_a_tool_is_on_the_wire_all_the_same() -> None:
    async with sdk_http_server("dual", "--page-items=5") as url, RawAgent(url) as agent:
        tools: list[Any] = []
        cursor: dict[str, Any] = {}
        while True:
            page = (await agent.modern("tools/list", cursor)).result
            tools += page["tools"]
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}
        assert len(tools) > 10
        tool = next(tool for tool in tools if tool["name"] == "schema_2020")
        assert tool["x-unknown"] == {"kept": True}
        assert tool["vendorRank"] == 1


@pytest.mark.parametrize(("mode", "revision"), [("auto", MODERN), ("legacy", LEGACY)])
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_tool_that_asks_back_is_answered_in_both_eras(transport: str, mode: str, revision: str) -> None:
    async def on_sampling(context: Any, params: Any) -> Any:
        content = mcp_types.TextContent(type="text", text="yes")
        return mcp_types.CreateMessageResult(role="assistant", content=content, model="none")

    async with (
        reached(transport, "dual") as connect,
        connect(mode=mode, sampling_callback=on_sampling) as client,
    ):
        asked = (await client.call_tool("ask", {"kind": "sampling"})).structured_content
        assert asked["answer"]["content"]["text"] == "yes"
        assert asked["state"] == ("state of sampling" if revision == MODERN else None)


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_fastmcp_server_serves_both_eras(transport: str, mode: str) -> None:
    @asynccontextmanager
    async def target() -> AsyncIterator[Any]:
        if transport == "stdio":
            yield _stdio(fast_command())
        else:
            async with fast_http_server() as url:
                yield url

    async with target() as server, Client(server, mode=mode) as client:
        assert client.protocol_version == (MODERN if mode == "auto" else LEGACY)
        assert [tool.name for tool in (await client.list_tools()).tools] == ["add", "echo", "count"]
        assert (await client.call_tool("add", {"a": 2, "b": 3})).structured_content == {"result": 5}
        steps: list[float] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            steps.append(progress)

        await client.call_tool("count", {"n": 3}, progress_callback=on_progress)
        await until(lambda: steps == [1, 2, 3], "three steps", lambda: steps)
        assert (await client.read_resource("fast://item/7")).contents[0].text == "item 7"  # type: ignore[union-attr]
        assert "Ada" in (await client.get_prompt("greet", {"name": "Ada"})).messages[0].content.text  # type: ignore[union-attr]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_npm_server_is_of_the_legacy_era(transport: str) -> None:
    @asynccontextmanager
    async def target() -> AsyncIterator[Any]:
        if transport == "stdio":
            yield _stdio(await everything_command())
        else:
            async with everything_server(transport) as url:
                yield sse_client(url) if transport == "sse" else url

    async with target() as server, Client(server) as client:
        assert client.protocol_version == LEGACY
        reply = await client.call_tool("echo", {"message": "hello"})
        assert "hello" in reply.content[0].text  # type: ignore[union-attr]


# -- scripted servers


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp, legacy_sse])
async def test_a_scripted_server_satisfies_the_sdks_client_and_counts_its_calls(kind: Any, streamed: bool) -> None:
    steps: list[float] = []
    heard: list[str] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    async def on_message(message: Any) -> None:
        heard.append(getattr(message, "method", ""))

    mcp = kind(on_call=reports(2), streamed=streamed)
    async with ScriptedHttpServer(mcp) as server:
        target = sse_client(server.url) if kind is legacy_sse else server.url
        async with Client(target, message_handler=on_message) as client:
            assert client.protocol_version == mcp.version
            assert [tool.name for tool in (await client.list_tools()).tools] == ["echo"]
            assert not server.hits("tools/call")
            reply = await client.call_tool("echo", {"text": "hello"}, progress_callback=on_progress)
            assert reply.structured_content == {"text": "hello"}
            await until(lambda: steps == [1, 2], "two steps", lambda: steps)
            if kind is modern_mcp:
                async with client.listen(tools_list_changed=True) as events:
                    await mcp.change_tools([])
                    assert type(await anext(events)).__name__ == "ToolsListChanged"
            else:
                await mcp.streaming()
                await mcp.change_tools([])
                await until(lambda: "notifications/tools/list_changed" in heard, "the change", lambda: heard)
        assert len(server.hits("tools/call", name="echo")) == 1
        if kind is legacy_mcp:
            assert len(server.hits(method="DELETE")) == 1


@pytest.mark.parametrize("kind", [legacy_mcp, legacy_sse])
async def test_a_scripted_legacy_server_asks_its_client(kind: Any) -> None:
    async def on_roots(context: Any) -> Any:
        return mcp_types.ListRootsResult(roots=[])

    async with ScriptedHttpServer(kind(on_call=asks("roots/list"))) as server:
        target = sse_client(server.url) if kind is legacy_sse else server.url
        async with Client(target, list_roots_callback=on_roots) as client:
            answer = json.loads((await client.call_tool("echo")).content[0].text)  # type: ignore[union-attr]
            assert answer["result"] == {"roots": []}


async def test_scripted_faults_are_on_the_wire_as_named() -> None:
    mcp = modern_mcp()
    async with ScriptedHttpServer(mcp) as server, RawAgent(server.url) as agent:

        async def call(hook: Any) -> Any:
            mcp.hooks["tools/call"] = hook
            return await agent.modern("tools/call", {"name": "echo"}, id=7)

        assert (await call(garbage)).body == b'{"jsonrpc": "2.0", "id": '
        assert (await call(wrong_id)).message["id"] == "not-7"
        assert [message["id"] for message in (await call(twice)).messages] == [7, 7]
        assert (await call(unknown_result_type)).result["resultType"] == "surprise"
        busy = await call(status(503, b"busy", headers=[("Retry-After", "1")]))
        assert (busy.status, busy.header("retry-after"), busy.body) == (503, "1", b"busy")
        for hook in (close_mid_body, close_mid_stream):
            with pytest.raises(asyncio.IncompleteReadError):
                await call(hook)
        assert len(server.hits("tools/call")) == 7


async def test_a_scripted_modern_server_checks_the_mirrored_headers() -> None:
    async with ScriptedHttpServer(modern_mcp()) as server, RawAgent(server.url) as agent:
        for change, code in [
            ({"Mcp-Method": "tools/list"}, -32020),
            ({"Mcp-Name": "other"}, -32020),
            ({"MCP-Protocol-Version": "2026-01-01"}, -32020),
        ]:
            headers, body = modern_request("tools/call", {"name": "echo"})
            reply = await agent.post(None, body, {**headers, **change})
            assert (reply.status, reply.error["code"]) == (400, code)
        reply = await agent.modern("tools/call", {"name": "echo"}, version="2027-01-01")
        assert (reply.status, reply.error["code"]) == (400, -32022)
        reply = await agent.modern("no/such")
        assert (reply.status, reply.error["code"]) == (404, -32601)


async def test_a_hit_shows_the_request_as_it_was_sent() -> None:
    async def handler(hit: Hit, conn: Conn) -> None:
        await conn.send(b"HTTP/1.1 299 Odd\r\nX-Case: Kept\r\nContent-Length: 2\r\n\r\nok")

    async with ScriptedHttpServer(handler) as server:
        async with RawAgent(server.url) as agent:
            first = await agent.request("PUT", "/a?b", b"body", [("X-One", "1"), ("x-two", "2"), ("X-One", "3")])
            await agent.get("/c")
        assert (first.status, first.headers[0], first.body) == (299, ("X-Case", "Kept"), b"ok")
        put, get = server.hits()
        assert (put.method, put.path, put.body) == ("PUT", "/a?b", b"body")
        assert put.headers[1:4] == (("X-One", "1"), ("x-two", "2"), ("X-One", "3"))
        assert (put.connection, get.connection, server.accepted) == (1, 1, 1)
        raw = await RawAgent(server.url).raw(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nNOT HTTP\r\n\r\n")
        assert raw.startswith(b"HTTP/1.1 299")
        assert len(server.errors) == 1
        server.errors.clear()  # the second request was malformed, and that is known


async def test_a_client_that_leaves_is_noticed_and_a_stopped_server_comes_back() -> None:
    mcp = modern_mcp(on_call=hang)
    async with ScriptedHttpServer(mcp) as server:
        headers, body = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id="s")
        async with RawAgent(server.url) as agent:
            async with agent.stream(body=body, headers=headers) as stream:
                acknowledged = await stream.next_message()
                assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
                await mcp.push("notifications/tools/list_changed")
                pushed = await stream.next_message()
                assert pushed["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "s"}
            await until(lambda: not mcp.streams, "the stream has ended")
            await server.stop()
            with pytest.raises(ConnectionRefusedError):
                await agent.get()
            await server.start()
            assert (await agent.modern("tools/list")).result["tools"]


async def test_a_handler_that_fails_fails_the_test() -> None:
    async def broken(exchange: Exchange) -> None:
        raise LookupError("a defect of the test")

    with pytest.RaisesGroup(LookupError):
        async with ScriptedHttpServer(modern_mcp(on_call=broken)) as server, RawAgent(server.url) as agent:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await agent.modern("tools/call", {"name": "echo"})


# -- scripted children


@pytest.mark.parametrize(("era", "revision"), [("dual", MODERN), ("modern", MODERN), ("legacy", LEGACY)])
async def test_a_scripted_child_satisfies_the_sdks_client(era: str, revision: str, tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"
    async with Client(_stdio(child_command(era=era, record=record))) as client:
        assert client.protocol_version == revision
        assert [tool.name for tool in (await client.list_tools()).tools] == ["echo"]
        reply = await client.call_tool("echo", {"text": "hello"})
        assert json.loads(reply.content[0].text) == {"text": "hello"}  # type: ignore[union-attr]
    assert len(recorded(record, "tools/call")) == 1


def _child(behaviour: str, *messages: object, **options: object) -> tuple[list[bytes], int, bytes]:
    """Lines a child answers to these messages until its input ends, its exit code, and its standard error."""
    told = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    done = subprocess.run(child_command(behaviour, **options), input=told, capture_output=True, timeout=20, check=False)
    return done.stdout.splitlines(), done.returncode, done.stderr


def _ask(method: str, id: int = 1, **params: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


def test_a_childs_faults_are_those_named() -> None:
    call = _ask("tools/call", name="echo", arguments={"text": "hello"})
    _, code, stderr = _child("exit_at_once", code=3)
    assert (code, b"nothing to do" in stderr) == (3, True)
    lines, code, _ = _child("crash_on_call", call, code=4)
    assert (lines, code) == ([], 4)
    lines, code, _ = _child("garbage_lines", call)
    assert (len(lines), b"hello" in lines[-1], code) == (6, True, 0)
    (line,), _, _ = _child("wrong_id", call)
    assert json.loads(line)["id"] == "not-1"
    lines, _, _ = _child("twice", call)
    assert (len(lines), lines[0]) == (2, lines[1])
    (line,), _, _ = _child("hang_on:tools/call", call, _ask("ping", 2))
    assert json.loads(line)["id"] == 2
    (line,), _, _ = _child("huge_line", call, bytes=100_000)
    assert len(line) > 100_000
    _, _, stderr = _child("stderr_flood", call, bytes=50_000)
    assert len(stderr) > 40_000
    (line,), _, _ = _child("asks_sampling", call)
    assert json.loads(line)["method"] == "sampling/createMessage"
    lines, _, _ = _child("unasked", call)
    assert [json.loads(line).get("method") for line in lines] == ["notifications/message", "ping", None]
    with pytest.raises(ValueError, match="no behaviour"):
        child_command("no_such_fault")


def test_a_child_can_only_be_killed_if_that_is_its_fault() -> None:
    command = child_command("ignore_eof_and_term")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for id in (1, 2):
            process.stdin.write(json.dumps(_ask("ping", id)).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == id
            process.terminate()
        process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.2)
        process.kill()
        assert process.wait() == -9


# -- the rest


async def test_time_moves_only_by_hand() -> None:
    clock = ManualClock(monotonic_s=5.0, wall_s=100.0)
    clock.advance(2.5)
    assert (clock.monotonic(), clock.wall()) == (7.5, 102.5)


async def test_waiting_in_vain_says_for_what() -> None:
    with pytest.raises(AssertionError, match=r"the moon.*'cheese'"):
        await until(lambda: False, "the moon", lambda: "cheese", wait_s=0.01)


@pytest.mark.parametrize("value", ["plain", "Zürich", " edge", "a\nb", "=?base64?eA==?="])
async def test_mirrored_values_survive(value: str) -> None:
    assert unmirrored(mirrored(value)) == value
    assert mirrored(value).isascii()
    assert mirrored(value).isprintable()
