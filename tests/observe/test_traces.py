"""Which traces are kept, how many, and what the admin API says of them."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as some
from msgspec import Raw
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from tests.hub.conftest import Start, at, config, start

from concento.admin.listener import AdminListener
from concento.model.call import ALL, NO_ABILITIES, Call, Result
from concento.model.config import Address, Server, UrlReplica
from concento.model.errors import BadReply
from concento.model.principal import ANONYMOUS
from concento.model.tracing import Traces
from concento.observe.record import Record, Records
from concento.observe.traces import Tracing, export, otlp
from concento.observe.traces import kept as keeping
from concento.observe.traces.kept import SPACE, KeptTraces
from concento.observe.traces.sampling import ALWAYS_A_SECOND_MAX, Sampling
from concento.observe.traces.span import SPANS_MAX, trace_of
from concento.protocol.trace_context import read_parent, write_parent
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import modern_mcp
from concento.testing.raw_agent import RawAgent

__all__ = ["start"]
SERVER = Server("s", (UrlReplica("http://127.0.0.1:1/mcp"),))
TRACE = "0af7651916cd43dd8448eb211c80319c"
OK = Result(Raw(b"{}"))


def call(meta: Mapping[str, Raw] = {}) -> Call:
    return Call("tools/call", {}, meta, "s__echo", ALL, ANONYMOUS, NO_ABILITIES)


def made(records: Records, clock: ManualClock, *, took_s: float = 0.0, fails: bool = False) -> Record:
    """A call that was made and has ended."""
    record = records.open(call())
    record.server, record.tool = "s", "echo"
    clock.advance(took_s)
    record.failed(BadReply("no")) if fails else record.replied(OK)
    records.close(record)
    return record


def tracing(clock: ManualClock, traces: Traces) -> tuple[Tracing, Records]:
    head = Tracing(clock.monotonic, lambda problem: None, {})
    head.configure(traces)
    return head, Records([head], clock, head)


# -- which


def test_of_calls_that_nobody_decided_about_a_few_a_second_are_kept() -> None:
    clock = ManualClock()
    clock.advance(100.0)
    head, records = tracing(clock, Traces(sample=0.0, few_a_second=3))
    for _ in range(5):
        for _ in range(10):
            made(records, clock)
        clock.advance(1.0)
    assert len(head.kept) == 15


def test_hubs_in_a_row_sample_the_same_traces_and_about_as_many_as_they_are_told() -> None:
    hubs = [Sampling(Traces(sample=0.25, few_a_second=0), {}, ManualClock().monotonic) for _ in range(2)]
    sampled = 0
    for _ in range(2000):
        records = [Record(call(), 0.0, 0.0) for _ in hubs]
        records[1].trace_id = records[0].trace_id
        for hub, record in zip(hubs, records, strict=True):
            hub.open(record)
        assert records[0].sampled == records[1].sampled
        sampled += records[0].sampled
    assert 380 < sampled < 620  # 500 expected; six standard deviations either way


def test_a_flood_of_errors_is_kept_up_to_so_many_a_second_and_the_rest_is_counted() -> None:
    clock = ManualClock()
    head, records = tracing(clock, Traces(keep=10_000, sample=0.0, few_a_second=0))
    for _ in range(ALWAYS_A_SECOND_MAX + 500):
        made(records, clock, fails=True)
    assert len(head.kept) == ALWAYS_A_SECOND_MAX
    assert dict((name, value) for name, _, _, value in head.readings())["concento_traces_skipped_total"] == 500
    clock.advance(1.0)
    made(records, clock, fails=True)
    assert len(head.kept) == ALWAYS_A_SECOND_MAX + 1


# -- how many


def test_many_ordinary_calls_push_no_error_out() -> None:
    clock = ManualClock()
    head, records = tracing(clock, Traces(keep=10, slow_ms=100, sample=1.0))
    failed = made(records, clock, fails=True)
    slow = made(records, clock, took_s=0.2)
    for _ in range(100):
        made(records, clock)
    kept = list(head.kept.newest())
    assert len(kept) == 12
    assert [(one.trace, one.reason) for one in kept[-2:]] == [(slow.trace_id, "slow"), (failed.trace_id, "error")]


def test_bytes_of_kept_traces_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "BYTES_MAX", 20_000)
    clock = ManualClock()
    head, records = tracing(clock, Traces(keep=10_000, sample=1.0))
    for _ in range(200):
        made(records, clock)
    assert 0 < len(head.kept) < 60


def test_spans_of_one_call_are_bounded() -> None:
    record = Record(call(), 0.0, 0.0)
    for _ in range(10):
        branch = record.branch(call(), 0.0)
        for _ in range(100):
            branch.attempt(SERVER, 0, 0.0)
    assert len(trace_of(record, "error").spans) == SPANS_MAX


async def test_what_is_written_stays_within_bounds_and_is_read_again() -> None:
    store, clock = MemoryStore(), ManualClock()
    head, records = tracing(clock, Traces(keep=20, sample=1.0))
    head.kept.is_written = True
    for _ in range(100):
        for _ in range(5):
            made(records, clock)
        await head.kept.flush(store, float("inf"))
        head.kept._flushed_s = float("-inf")
    assert len(await store.items(SPACE)) <= keeping.VALUES_MAX
    again = KeptTraces()
    again.configure(20)
    await store.put(SPACE, "ff", b"damaged")
    await again.load(store)
    assert [one.trace for one in again.newest()] == [one.trace for one in head.kept.newest()]
    assert len(again) == 20


async def test_a_hub_beside_the_one_that_writes_writes_nothing() -> None:
    store, clock = MemoryStore(), ManualClock()
    head, records = tracing(clock, Traces(sample=1.0))
    made(records, clock)
    await head.kept.flush(store, float("inf"))
    assert await store.items(SPACE) == {}


@given(some.integers(1, 2**128 - 1), some.integers(1, 2**64 - 1), some.booleans())
def test_what_is_written_of_a_parent_is_read_as_it_was(trace: int, span: int, sampled: bool) -> None:
    read = read_parent(write_parent(f"{trace:032x}", span, sampled=sampled))
    assert read is not None
    assert (int(read.trace, 16), int(read.span, 16), read.sampled) == (trace, span, sampled)


@given(some.text())
def test_no_text_breaks_the_reading_of_a_parent(text: str) -> None:
    read = read_parent(text)
    assert read is None or text.startswith(text[:3] + read.trace)


def test_spans_are_encoded_as_the_sdk_would_encode_its_own() -> None:
    record = Record(call({"traceparent": Raw(b'"00-%b-b7ad6b7169203331-01"' % TRACE.encode())}), 1.0, 2.0)
    record.traced = True
    record.server, record.tool, record.attempts = "s", "echo", 2
    record.link("1" * 32, "2" * 16)
    record.waited("policy", 1.0, 1.5, "RateLimited")
    record.attempt(SERVER, 0, 1.0).ended(BadReply("no"), 2.0)
    trace = trace_of(record, "error")
    trace.state = "a=1"
    resource = Resource.create({"service.name": "x"})
    theirs = [export.readable(trace, span, resource) for span in trace.spans]
    ours = otlp.request_of([(trace, span) for span in trace.spans], theirs[0])
    assert ExportTraceServiceRequest.FromString(ours) == encode_spans(theirs)
    assert hasattr(OTLPSpanExporter(), "_client")  # else each span costs three times as much


# -- what the operator is told


async def test_traces_are_listed_filtered_and_shown_whole(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), traces=Traces(sample=1.0)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": "x"}})
            await agent.modern("tools/list")
            meta = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
            await agent.modern("tools/call", {"name": "s__none"}, meta=meta)
        admin = AdminListener(hub.hub)
        url = f"http://{await admin.start(Address('127.0.0.1', 0))}/api/v1/traces"
        async with AsyncExitStack() as stack:
            stack.push_async_callback(admin.close)
            session = await stack.enter_async_context(aiohttp.ClientSession())

            async def get(path: str = "") -> tuple[int, Any]:
                async with session.get(url + path) as reply:
                    return reply.status, await reply.json()

            async def named(query: str) -> list[str]:
                return [one["name"] for one in (await get(query))[1]["traces"]]

            assert await named("") == ["tools/call", "tools/list", "tools/call s__echo"]
            assert await named("?server=s&tool=echo") == ["tools/call s__echo"]
            assert await named("?outcome=refused&reason=error") == ["tools/call"]
            assert await named("?limit=1&tenant=default") == ["tools/call"]
            assert await named("?min_ms=60000") == []
            assert await named("?since=99999999999") == []
            for query, told in (
                ("?outcome=bad", "outcome"),
                ("?limit=0", "limit"),
                ("?min_ms=-1", "min_ms"),
                ("?since=nan", "since"),
                ("?colour=red", "colour"),
            ):
                status, answer = await get(query)
                assert (status, told in str(answer)) == (422, True), answer
            assert (await get("/" + "0" * 32))[0] == 404
            status, whole = await get("/" + TRACE.upper())
            (called,) = whole["calls"]
            assert (status, called["outcome"], called["spans"][0]["error"]) == (200, "refused", "InvalidParams")
            (listed,) = (await get("?tool=echo"))[1]["traces"]
            spans = (await get(f"/{listed['trace']}"))[1]["calls"][0]["spans"]
            assert [(one["kind"], one["parent"]) for one in spans] == [("server", None), ("client", spans[0]["id"])]
            assert 0 <= spans[1]["start_ms"] <= spans[0]["ms"]
