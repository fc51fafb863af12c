"""Traces of calls: through whole hubs in a row, both eras and stdio, to a collector that reads OTLP with the official
types. Source: decisions/0016; specification 2026-07-28 (SEP-414); OpenTelemetry semantic conventions for MCP."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from tests.hub.conftest import Running, at, config
from tests.observe.collector import CLIENT, INTERNAL, SERVER, Collector, attributes
from tests.upstream.test_client_credentials import SECRET, TokenEndpoint, endpoint

from concento.app import Hub
from concento.model.attempt import Attempt
from concento.model.config import Address, ChildReplica, Config, Server, ToolOverride, UrlReplica
from concento.model.errors import StartError
from concento.model.limiting import LimitRule
from concento.model.logical import Bound, Fanout, LogicalTool
from concento.model.showing import OAuthClient
from concento.model.tracing import Traces
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, asks, legacy_mcp, legacy_sse, modern_mcp, reset
from concento.testing.raw_agent import RawAgent, legacy_initialize, legacy_request, modern_request
from concento.testing.stdio_child import child_command, recorded
from concento.testing.waiting import until

__all__ = ["endpoint"]
CALL = {"name": "s__echo", "arguments": {"text": "x"}}
TRACE, AGENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{AGENT}-01"
UNSAMPLED = f"00-{TRACE}-{AGENT}-00"
ALL = Traces(sample=1.0)
NONE = Traces(sample=0.0, few_a_second=0)

Exporting = Callable[[Config], Awaitable[Running]]


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    async with Collector() as taking:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", taking.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-who=tests")
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=tests")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield taking


@pytest.fixture
async def exporting(collector: Collector) -> AsyncIterator[Exporting]:
    """Starts hubs that export to the collector."""
    async with AsyncExitStack() as stack:

        async def begin(configuration: Config) -> Running:
            hub = await Hub.create(configuration, keep=False, export=True)
            stack.push_async_callback(hub.close, 2.0)
            return Running(hub, await hub.listen(Address("127.0.0.1", 0)))

        yield begin


async def spans(collector: Collector, count: int) -> list[Span]:
    await until(lambda: len(collector.spans) >= count, f"{count} spans", lambda: [one.name for one in collector.spans])
    return collector.spans


async def call_with_both_eras(agent: RawAgent, era: str, call: dict[str, Any], meta: dict[str, Any]) -> Any:
    if era == "modern":
        return await agent.modern("tools/call", call, meta=meta)
    headers, body = legacy_request("tools/call", {**call, "_meta": meta}, session=await agent.begin())
    return await agent.post(None, body, headers)


SERVERS = {"modern": modern_mcp, "legacy": legacy_mcp, "sse": legacy_sse}


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize("kind", SERVERS)
async def test_a_call_through_two_hubs_is_one_trace_whose_spans_are_each_others_parents(
    exporting: Exporting, collector: Collector, era: str, kind: str
) -> None:
    async with ScriptedHttpServer(SERVERS[kind]()) as server:
        near_server = await exporting(config(at("s", server.url), traces=NONE))
        await near_server.ready("s")
        near_agent = await exporting(config(at("h", near_server.mcp), traces=NONE))
        await near_agent.ready("h")
        async with RawAgent(near_agent.mcp) as agent:
            call = {"name": "h__s__echo", "arguments": {"text": "x"}}
            reply = await call_with_both_eras(agent, era, call, {"traceparent": PARENT, "tracestate": "a=1"})
        assert reply.result["content"]
        await spans(collector, 4)
    (hit,) = server.hits("tools/call")
    servers, clients = collector.of(SERVER), collector.of(CLIENT)
    assert [one.name for one in servers] == ["tools/call h__s__echo", "tools/call s__echo"]
    assert [one.name for one in clients] == ["tools/call s__echo", "tools/call echo"]
    chain = [servers[0], clients[0], servers[1], clients[1]]
    assert {one.trace_id.hex() for one in chain} == {TRACE}
    assert [one.parent_span_id.hex() for one in chain] == [AGENT, *(one.span_id.hex() for one in chain[:3])]
    assert len({one.span_id for one in chain}) == 4
    assert {one.trace_state for one in chain} == {"a=1"}
    assert all(one.start_time_unix_nano <= one.end_time_unix_nano for one in chain)
    told = hit.message["params"]["_meta"]
    assert told["traceparent"] == f"00-{TRACE}-{clients[1].span_id.hex()}-01"
    assert told["tracestate"] == "a=1"
    if kind != "sse":  # the oldest transport's messages have `_meta` alone
        assert hit.header("traceparent") == told["traceparent"]
        assert hit.header("tracestate") == "a=1"
    first = attributes(servers[0])
    assert first["mcp.method.name"] == "tools/call"
    assert first["gen_ai.operation.name"] == "execute_tool"
    assert first["mcp.protocol.version"] == {"modern": "2026-07-28", "legacy": "2025-11-25"}[era]
    assert first["jsonrpc.request.id"] == "1"
    assert first["client.address"] == "127.0.0.1"
    last = attributes(clients[1])
    assert last["gen_ai.tool.name"] == "echo"
    assert (last["network.transport"], last["server.address"]) == ("tcp", "127.0.0.1")
    assert last["server.port"] == int(server.url.rpartition(":")[2].partition("/")[0])
    assert last["mcp.protocol.version"] == {"modern": "2026-07-28", "legacy": "2025-11-25", "sse": "2024-11-05"}[kind]
    assert {one["deployment.environment"] for one in collector.resources} == {"tests"}
    assert {one["service.name"] for one in collector.resources} == {"concento"}
    assert collector.headers[0]["x-who"] == "tests"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_a_child_process_gets_the_context_in_its_meta(
    exporting: Exporting, collector: Collector, era: str, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    replica = ChildReplica(tuple(child_command(era=era, record=record)))
    hub = await exporting(config(Server("s", (replica,)), traces=NONE))
    await hub.ready("s")
    async with RawAgent(hub.mcp) as agent:
        await agent.modern("tools/call", CALL, meta={"traceparent": PARENT})
    await spans(collector, 2)
    (client,) = collector.of(CLIENT)
    (message,) = recorded(record, "tools/call")
    assert message["params"]["_meta"]["traceparent"] == f"00-{TRACE}-{client.span_id.hex()}-01"
    assert attributes(client)["network.transport"] == "pipe"


@pytest.mark.parametrize("era", ["modern", "legacy"])
async def test_an_agent_over_standard_streams_is_traced_too(
    collector: Collector, tmp_path: Path, era: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = tmp_path / "concento.yaml"
    file.write_text(json.dumps({"servers": {"s": {"command": child_command()}}}))
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("concento")), "stdio", str(file)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    call = {**CALL, "_meta": {"traceparent": PARENT}}
    lines = [modern_request("tools/call", call, id=2)[1]]
    if era == "legacy":
        lines = [legacy_initialize()[1], legacy_request("tools/call", call, id=2)[1]]
    try:
        for line in lines:
            process.stdin.write(line + b"\n")
            while "id" not in (answer := json.loads(await process.stdout.readline())):
                pass  # it tells of changes meanwhile
            assert "result" in answer
        await until(lambda: len(collector.of(CLIENT)) == 1, "the spans of the call")
        process.stdin.close()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    (served,) = [one for one in collector.of(SERVER) if one.name != "initialize"]
    assert (served.trace_id.hex(), served.parent_span_id.hex()) == (TRACE, AGENT)
    assert attributes(served)["network.transport"] == "pipe"


# -- the context in a head


async def test_a_head_stands_in_for_a_meta_without_context_and_is_a_link_beside_another(
    exporting: Exporting, collector: Collector
) -> None:
    other = "00-11111111111111111111111111111111-2222222222222222-01"
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await exporting(config(at("s", server.url), traces=NONE))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for meta, field in (({}, PARENT), ({"traceparent": PARENT}, other), ({"traceparent": PARENT}, PARENT)):
                headers, body = modern_request("tools/call", CALL, meta=meta)
                await agent.post(None, body, {**headers, "Traceparent": field})
            session = await agent.begin()
            headers, body = legacy_request("tools/call", CALL, session=session)
            await agent.post(None, body, {**headers, "traceparent": PARENT})
            await spans(collector, 8)
    served = collector.of(SERVER)
    assert {(one.trace_id.hex(), one.parent_span_id.hex()) for one in served} == {(TRACE, AGENT)}
    assert [[link.span_id.hex() for link in one.links] for one in served] == [[], ["2222222222222222"], [], []]


@pytest.mark.parametrize(
    "text", ["", "00-1-2-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{AGENT}-01", PARENT.upper(), f"{PARENT}-more"]
)
async def test_a_context_that_is_none_begins_a_trace_of_the_hubs_own(
    exporting: Exporting, collector: Collector, text: str
) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await exporting(config(at("s", server.url), traces=ALL))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", CALL, meta={"traceparent": text, "tracestate": "a=1"})
        await spans(collector, 2)
    (served,) = collector.of(SERVER)
    assert served.parent_span_id == b""
    assert served.trace_id.hex() != TRACE
    (hit,) = server.hits("tools/call")
    assert hit.message["params"]["_meta"]["traceparent"].startswith(f"00-{served.trace_id.hex()}-")
    assert "tracestate" not in hit.message["params"]["_meta"]


@pytest.mark.parametrize(("names", "wanted"), [((), None), (("run",), "run=7"), (("run", "user"), "user=ada,run=7")])
async def test_servers_see_the_baggage_that_the_operator_names_and_no_more(
    exporting: Exporting, names: tuple[str, ...], wanted: str | None
) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await exporting(config(at("s", server.url), baggage=names))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", CALL, meta={"traceparent": PARENT, "baggage": "user=ada, run=7"})
        (hit,) = server.hits("tools/call")
    assert hit.message["params"]["_meta"].get("baggage") == hit.header("baggage") == wanted


async def test_where_tracing_is_off_a_context_passes_as_it_came(exporting: Exporting, collector: Collector) -> None:
    async with ScriptedHttpServer(modern_mcp(on_call=reset)) as server:
        hub = await exporting(config(at("s", server.url), traces=None))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            failed = await agent.modern("tools/call", CALL, meta={"traceparent": PARENT})
        assert failed.error["data"]["traceId"] == TRACE
        (hit,) = server.hits("tools/call")
    assert hit.message["params"]["_meta"]["traceparent"] == PARENT
    assert len(hub.hub.tracing.kept) == 0
    assert collector.spans == []


# -- which are kept


async def test_errors_and_slow_calls_are_kept_whatever_is_sampled(exporting: Exporting, collector: Collector) -> None:
    async def unsteady(exchange: Exchange) -> Any:
        text = exchange.arguments["text"]
        if text == "slow":
            await asyncio.sleep(0.06)
        if text == "error":
            return await exchange.error(-32050, "no")
        return {"content": [], "isError": text == "tool error"}

    async with ScriptedHttpServer(modern_mcp(on_call=unsteady)) as server:
        hub = await exporting(config(at("s", server.url), traces=replace(NONE, slow_ms=50)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for text in ("ok", "slow", "ok", "error", "tool error", "ok"):
                await agent.modern("tools/call", {**CALL, "arguments": {"text": text}})
            await agent.modern("tools/call", {**CALL, "name": "s__missing"})
            for flag, text in ((PARENT, "ok"), (UNSAMPLED, "ok"), (UNSAMPLED, "error")):
                await agent.modern("tools/call", {**CALL, "arguments": {"text": text}}, meta={"traceparent": flag})
        await spans(collector, 9)
        await asyncio.to_thread(hub.hub.tracing.close)
    exported = [(attributes(one)["concento.kept"], attributes(one).get("error.type")) for one in collector.of(SERVER)]
    wanted = [("slow", None), ("error", "-32050"), ("error", "tool_error"), ("error", "InvalidParams")]
    assert exported == [*wanted, ("sampled", None)]
    kept = [(one.reason, one.outcome) for one in hub.hub.tracing.kept.newest()]
    assert kept[0] == ("error", "error")  # its caller keeps none of its own: not exported, and to be seen here
    assert len(kept) == 6
    failed = next(one for one in collector.of(CLIENT) if attributes(one).get("error.type") == "-32050")
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert failed.status.message == ""
    assert attributes(failed)["rpc.response.status_code"] == "-32050"
    unknown = next(one for one in collector.of(SERVER) if attributes(one).get("error.type") == "InvalidParams")
    assert unknown.name == "tools/call"


SAMPLERS = {
    "always_on": (None, [True, True]),
    "always_off": (None, [False, False]),
    "traceidratio": ("1.0", [True, True]),
    "parentbased_always_on": (None, [True, False]),
    "parentbased_traceidratio": ("0", [False, False]),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
async def test_the_standard_variables_choose_the_sampler(
    exporting: Exporting, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    argument, wanted = SAMPLERS[sampler]
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    if argument is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await exporting(config(at("s", server.url), traces=NONE))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", CALL)
            await agent.modern("tools/call", CALL, meta={"traceparent": UNSAMPLED})
        told = [hit.message["params"]["_meta"]["traceparent"] for hit in server.hits("tools/call")]
    assert [one.endswith("-01") for one in told] == wanted


VARIABLES = [
    ({"OTEL_TRACES_SAMPLER": "sometimes"}, "it can be one of always_on"),
    ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "a number from 0 to 1"),
    ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "go out as http/protobuf only"),
    ({"OTEL_TRACES_EXPORTER": "zipkin"}, "it can be otlp or none"),
    ({"OTEL_BSP_MAX_QUEUE_SIZE": "1"}, "can't be exported as the OTEL_* variables say"),
]


@pytest.mark.parametrize(("variables", "told"), VARIABLES)
async def test_variables_without_sense_are_told_at_the_start(
    exporting: Exporting, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], told: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as refused:
        await exporting(config())
    assert told in str(refused.value)
    assert any(name in str(refused.value) or "OTEL_*" in told for name in variables)


async def test_without_the_extra_it_is_told_which_one_is_missing(
    exporting: Exporting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(StartError) as refused:
        await exporting(config())
    assert "pip install 'concento[otel]'" in str(refused.value)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    await exporting(config())


async def test_a_collector_that_takes_nothing_costs_no_call_and_is_told(
    exporting: Exporting, collector: Collector
) -> None:
    collector.status = 400
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await exporting(config(at("s", server.url), traces=ALL))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL)).result["content"]
        await until(lambda: b"concento_spans_failed_total 2.0" in hub.hub.metrics.text(), "it is counted")
    assert any("traces: " in note for note in hub.hub.notes)


# -- what is within a call


async def test_each_attempt_is_a_span_and_what_it_waited_for_its_child(
    exporting: Exporting, collector: Collector
) -> None:
    async with AsyncExitStack() as stack:
        hooks = (None, reset)  # the second has the first turn
        servers = [await stack.enter_async_context(ScriptedHttpServer(modern_mcp(on_call=hook))) for hook in hooks]
        tools = {"echo": ToolOverride(repeatable=True)}
        hub = await exporting(config(at("s", *(one.url for one in servers), tools=tools), traces=ALL))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL)).result["content"]
        await spans(collector, 3)
    (served,) = collector.of(SERVER)
    tried = collector.of(CLIENT)
    assert [one.parent_span_id for one in tried] == [served.span_id, served.span_id]
    assert [attributes(one)["concento.replica"] for one in tried] == [1, 0]
    assert [attributes(one).get("error.type") for one in tried] == ["BadReply", None]
    assert attributes(served)["concento.attempts"] == 2
    assert "error.type" not in attributes(served)


async def test_the_wait_for_a_place_is_a_child_of_the_attempt(exporting: Exporting, collector: Collector) -> None:
    release = asyncio.Event()

    async def held(exchange: Exchange) -> Any:
        await release.wait()
        return {"content": []}

    async with ScriptedHttpServer(modern_mcp(on_call=held)) as server:
        hub = await exporting(config(at("s", server.url, concurrency_max=1), traces=ALL))
        await hub.ready("s")

        async def one() -> None:
            async with RawAgent(hub.mcp) as agent:
                await agent.modern("tools/call", CALL)

        async with asyncio.TaskGroup() as group:
            first, second = group.create_task(one()), group.create_task(one())
            upstream = hub.hub.upstreams.get("s")
            await until(lambda: upstream.waiting == 1, "one waits")
            await asyncio.sleep(0.01)
            release.set()
        assert first.done()
        assert second.done()
        await spans(collector, 5)
    (wait,) = collector.of(INTERNAL)
    assert wait.name == "wait for a place"
    waited = next(one for one in collector.of(CLIENT) if one.span_id == wait.parent_span_id)
    assert waited.start_time_unix_nano <= wait.start_time_unix_nano < wait.end_time_unix_nano
    assert wait.end_time_unix_nano - wait.start_time_unix_nano >= 10_000_000


async def test_the_wait_for_a_token_is_a_child_of_the_attempt(
    exporting: Exporting, collector: Collector, endpoint: TokenEndpoint
) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        oauth = OAuthClient(endpoint.url, "hub", secret=SECRET)
        hub = await exporting(config(Server("s", (UrlReplica(server.url, oauth=oauth),)), traces=ALL))
        await hub.ready("s")
        for grant in hub.hub.means.grants.values():
            grant._until_s = float("-inf")
        endpoint.gate = asyncio.Event()
        asyncio.get_running_loop().call_later(0.01, endpoint.gate.set)  # shorter waits have no span
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", CALL)
        await spans(collector, 3)
    (wait,) = collector.of(INTERNAL)
    assert wait.name == "wait for a token"
    assert [one.span_id for one in collector.of(CLIENT)] == [wait.parent_span_id]


async def test_a_refusal_has_a_span_that_names_the_rule(exporting: Exporting, collector: Collector) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await exporting(config(at("s", server.url), traces=NONE, limits=(LimitRule("few", day=1),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", CALL)
            refused = await agent.modern("tools/call", CALL)
        await spans(collector, 2)
        assert len(server.hits("tools/call")) == 1
    (served,) = collector.of(SERVER)
    assert served.trace_id.hex() == refused.error["data"]["traceId"]
    (decision,) = collector.of(INTERNAL)
    assert (decision.name, decision.parent_span_id) == ("policy", served.span_id)
    told = attributes(decision)
    assert (told["concento.decision"], told["concento.rule"]) == ("rate_limited", "few")
    assert told["error.type"] == "RateLimited"


async def test_branches_of_a_fan_out_have_spans_of_their_own(exporting: Exporting, collector: Collector) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(ScriptedHttpServer(modern_mcp()))
        two = await stack.enter_async_context(ScriptedHttpServer(modern_mcp(on_call=reset)))
        bound = (Bound("a", "echo"), Bound("b", "echo"))
        tool = LogicalTool("both", bound, strategy="fanout", fanout=Fanout(fail="open"))
        hub = await exporting(config(at("a", one.url), at("b", two.url), tools={"both": tool}, traces=ALL))
        await hub.ready("a", "b")
        async with RawAgent(hub.mcp) as agent:
            reply = await agent.modern("tools/call", {"name": "both", "arguments": {"text": "x"}})
        assert reply.result["content"]
        await spans(collector, 5)
        hits = [*one.hits("tools/call"), *two.hits("tools/call")]
    (served,) = collector.of(SERVER)
    branches = {attributes(span)["concento.outcome"]: span for span in collector.of(INTERNAL)}
    assert sorted(branches) == ["error", "ok"]
    assert {span.parent_span_id for span in branches.values()} == {served.span_id}
    clients = collector.of(CLIENT)
    assert {span.parent_span_id for span in clients} == {span.span_id for span in branches.values()}
    assert {span.trace_id for span in collector.spans} == {served.trace_id}
    told = {hit.message["params"]["_meta"]["traceparent"].split("-")[2] for hit in hits}
    assert told == {span.span_id.hex() for span in clients}


async def test_a_copy_has_a_trace_of_its_own_that_points_at_the_calls(
    exporting: Exporting, collector: Collector
) -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(ScriptedHttpServer(modern_mcp())) for _ in range(2)]
        bound = (Bound("a", "echo"), Bound("b", "echo"))
        tools = {"t": LogicalTool("t", bound, strategy="shadow")}
        hub = await exporting(config(at("a", one.url), at("b", two.url), tools=tools, traces=NONE))
        await hub.ready("a", "b")
        async with RawAgent(hub.mcp) as agent:
            params = {"name": "t", "arguments": {"text": "x"}}
            await agent.modern("tools/call", params, meta={"traceparent": PARENT})
        await spans(collector, 4)
    original, copy = collector.of(SERVER)
    assert original.trace_id.hex() == TRACE
    assert copy.trace_id != original.trace_id
    assert copy.parent_span_id == b""
    assert [(link.trace_id, link.span_id) for link in copy.links] == [(original.trace_id, original.span_id)]


async def test_a_call_that_brings_answers_points_at_the_one_that_was_asked(
    exporting: Exporting, collector: Collector
) -> None:
    form = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {"x": {"type": "string"}}}}
    async with ScriptedHttpServer(legacy_mcp(on_call=asks("elicitation/create", form), streamed=True)) as server:
        hub = await exporting(config(at("s", server.url), traces=ALL))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            caps: dict[str, Any] = {"elicitation": {}}
            asked = (await agent.modern("tools/call", CALL, caps=caps)).result
            answers = {key: {"action": "accept", "content": {"x": "y"}} for key in asked["inputRequests"]}
            again = {**CALL, "inputResponses": answers, "requestState": asked["requestState"]}
            assert (await agent.modern("tools/call", again, caps=caps)).result["content"]
        await spans(collector, 4)
    first, second = collector.of(SERVER)
    assert [(link.trace_id, link.span_id) for link in second.links] == [(first.trace_id, first.span_id)]
    assert attributes(second)["concento.input_wait_ms"] >= 0


# -- what must not be in any


async def test_no_span_and_no_metric_holds_an_argument_a_result_or_a_secret(
    exporting: Exporting, collector: Collector
) -> None:
    async def answers(exchange: Exchange) -> Any:
        if exchange.method != "tools/call":
            return {"contents": [{"uri": exchange.name, "text": "canary-content"}]}
        if exchange.arguments["text"] == "canary-error":
            return await exchange.error(-32050, "canary-message", {"canary-data": 1})
        return {"content": [{"type": "text", "text": "canary-result"}]}

    resources = {"resources/list": [{"uri": "https://docs.example/r?canary=q#canary", "name": "r"}]}
    capabilities: dict[str, Any] = {"tools": {}, "resources": {}}
    scripted = modern_mcp(on_call=answers, on={"resources/read": answers}, lists=resources, capabilities=capabilities)
    async with ScriptedHttpServer(scripted) as server:
        replica = UrlReplica(f"{server.url}?key=canary-query", headers={"Authorization": "Bearer canary-header"})
        hub = await exporting(config(Server("s", (replica,)), traces=ALL))
        await hub.ready("s")
        async with RawAgent(hub.mcp, bearer="canary-bearer") as agent:
            meta = {"baggage": "canary=baggage", "traceparent": PARENT}
            for text in ("canary-argument", "canary-error"):
                await agent.modern("tools/call", {**CALL, "arguments": {"text": text}}, meta=meta)
            await agent.modern("tools/call", {**CALL, "name": "canary-tool"})
            await agent.modern("canary/method", {})
            (listed,) = (await agent.modern("resources/list")).result["resources"]
            assert (await agent.modern("resources/read", {"uri": listed["uri"]})).result["contents"]
            session = await agent.begin()
            headers, body = legacy_request("tools/call", CALL, session=session)
            await agent.post(None, body, headers)
        await spans(collector, 7)
        metrics = hub.hub.metrics.text()
    everything = b"".join(collector.bodies)
    for canary in ("argument", "error", "message", "data", "result", "content", "query", "header", "bearer", "tool"):
        assert f"canary-{canary}".encode() not in everything + metrics, canary
    for text in ("canary=q", "canary=baggage", "#canary", session):
        assert text.encode() not in everything + metrics, text
    assert b"https://s!docs.example/r" in everything


# -- recent traces, with nothing else installed


async def test_kept_traces_survive_a_restart_and_errors_are_not_pushed_out(tmp_path: Path) -> None:
    calls = 0

    async def first_fails(exchange: Exchange) -> Any:
        nonlocal calls
        calls += 1
        return await exchange.error(-32050, "no") if calls == 1 else {"content": []}

    async with ScriptedHttpServer(modern_mcp(on_call=first_fails)) as server:
        kept = Traces(keep=3, sample=1.0)
        configuration = config(at("s", server.url), traces=kept, state_db=tmp_path / "concento.db")
        first = await Hub.create(configuration, audit=True)
        running = Running(first, await first.listen(Address("127.0.0.1", 0)))
        await running.ready("s")
        async with RawAgent(running.mcp) as agent:
            for _ in range(6):
                await agent.modern("tools/call", CALL)
        before = [one.trace for one in first.tracing.kept.newest()]
        await first.close(1.0)
        second = await Hub.create(configuration, audit=True)
        after = list(second.tracing.kept.newest())
        await second.close(1.0)
    assert [one.trace for one in after] == before
    assert [one.outcome for one in after] == ["ok", "ok", "ok", "error"]
    assert [span.kind for span in after[0].spans] == ["server", "client"]


def test_an_attempt_names_no_more_than_it_is_told() -> None:
    attempt = Attempt(Server("s", (UrlReplica("http://x/"),)), 0, 1.0, 7, None)
    attempt.waited("queue", 1.0, 1.0005)
    assert attempt.waits is None
    for _ in range(100):
        attempt.waited("queue", 1.0, 2.0)
    assert attempt.waits is not None
    assert len(attempt.waits) == 16
