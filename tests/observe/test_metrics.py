"""Metrics: bounded whatever comes, in the form that Prometheus takes, and of what there is."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.hub.conftest import Start, at, child, config, start

from concento.model.call import ALL, NO_ABILITIES, Call, Failure, Result
from concento.model.config import ChildReplica, Server, UrlReplica
from concento.model.errors import CallError, TimedOut
from concento.model.limits import LABELS_MAX, LABELS_PER_SERVER_MAX
from concento.model.principal import Principal
from concento.observe.metrics import Metrics
from concento.observe.record import Record
from concento.observe.servers import LoopLag
from concento.protocol.jsonrpc import EMPTY_OBJECT
from concento.testing.clock import ManualClock
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import modern_mcp
from concento.testing.raw_agent import RawAgent
from concento.testing.stdio_child import child_command
from concento.testing.waiting import until

__all__ = ["start"]
SERVED, ASKED = "mcp_server_operation_duration_seconds", "mcp_client_operation_duration_seconds"
Labels = tuple[tuple[str, str], ...]
BOUNDS = ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1.0", "2.0", "5.0", "10.0", "30.0", "60.0", "120.0", "300.0"]


def note(
    metrics: Metrics, tool: str | None, server: str = "s", tenant: str = "default", method: str = "tools/call"
) -> Record:
    """A call that was answered, by its first attempt."""
    call = Call(method, {}, {}, tool, ALL, Principal("ada", tenant=tenant, proof="local"), NO_ABILITIES)
    record = Record(call, 0.0, 0.0)
    record.server, record.tool, record.duration_s = server, tool, 0.03
    reply = Result(EMPTY_OBJECT)
    record.attempt(Server(server, (UrlReplica("http://x/mcp"),)), 0, 0.0).replied(reply, 0.015)
    record.replied(reply)
    metrics(record)
    return record


def samples(metrics: Metrics, name: str, families: Iterable[Metric] | None = None) -> dict[Labels, float]:
    """The samples of that name, by their labels: of calls, or of other families."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in families or metrics.collect()
        for sample in family.samples
        if sample.name == name
    }


def gauges(metrics: Metrics, name: str) -> dict[Labels, float]:
    return samples(metrics, name, text_string_to_metric_families(metrics.text().decode()))


def test_ten_thousand_tools_make_a_bounded_number_of_series_and_no_call_is_lost() -> None:
    metrics = Metrics()
    for number in range(10_000):
        note(metrics, f"tool {number}")
        note(metrics, f"tool {number}", server=f"s{number % 50}", tenant=f"t{number % 7}")
    counts = samples(metrics, "concento_calls_total")
    assert len(counts) <= LABELS_MAX + 1
    assert sum(counts.values()) == 20_000
    assert sum(samples(metrics, f"{SERVED}_count").values()) == 20_000
    assert len(samples(metrics, f"{SERVED}_count")) <= LABELS_MAX + 1
    named = [labels for labels in counts if ("server", "s") in labels and ("tool", "other") not in labels]
    assert len(named) == LABELS_PER_SERVER_MAX
    assert len(metrics._calls) <= LABELS_MAX + 1


def test_servers_methods_tenants_and_codes_without_number_are_bounded_too() -> None:
    metrics = Metrics()
    for number in range(2500):
        record = note(metrics, "t", server=f"s{number}", tenant=f"t{number}", method=f"m{number}")
        record.replied(Failure(-40_000 - number, "no"))
        metrics(record)
    for name in ("concento_calls_total", f"{SERVED}_count", f"{ASKED}_count"):
        assert len(samples(metrics, name)) <= LABELS_MAX + 8, name
        assert sum(samples(metrics, name).values()) == 5000
    kinds = {dict(labels)["error_type"] for labels in samples(metrics, f"{SERVED}_count")}
    assert kinds == {"", "other"}


def test_a_server_that_had_many_tools_leaves_names_to_the_others() -> None:
    metrics = Metrics()
    for number in range(1000):
        note(metrics, f"tool {number}")
    note(metrics, "mine", server="other-server")
    assert any(("tool", "mine") in labels for labels in samples(metrics, "concento_calls_total"))


def test_histograms_have_the_names_labels_and_buckets_of_the_conventions() -> None:
    metrics = Metrics()
    note(metrics, "echo")
    late = note(metrics, "echo")
    late.failed(TimedOut("late"))
    late.tries[0].ended(TimedOut("late"), 0.5)
    metrics(late)
    served = samples(metrics, f"{SERVED}_bucket")
    assert [dict(labels)["le"] for labels in served][:15] == [*BOUNDS, "+Inf"]
    labels = {"mcp_method_name": "tools/call", "tenant": "default", "server": "s"}
    of_one = {**labels, "gen_ai_tool_name": "echo", "error_type": ""}
    assert served[tuple(sorted({**of_one, "le": "0.02"}.items()))] == 0
    assert served[tuple(sorted({**of_one, "le": "0.05"}.items()))] == 2
    asked = samples(metrics, f"{ASKED}_count")
    assert asked[tuple(sorted({**labels, "replica": "0", "error_type": ""}.items()))] == 2
    assert asked[tuple(sorted({**labels, "replica": "0", "error_type": "TimedOut"}.items()))] == 1


async def test_prometheus_own_linter_finds_nothing_wrong_with_what_a_hub_tells(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), child("c", *child_command()[1:])))
        await hub.ready("s", "c")
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", {"name": "s__echo", "arguments": {}})
        text = hub.hub.metrics.text()
    assert b'mcp_client_operation_duration_seconds_count{error_type="",' in text
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
async def test_memory_and_processor_time_of_a_child_are_told_with_those_it_started(
    start: Start, tmp_path: Path
) -> None:
    launcher = tmp_path / "launcher.sh"
    command = " ".join(f"'{part}'" for part in child_command())
    launcher.write_text(f"{command}\n:\n")  # the shell stays the parent
    hub = await start(config(Server("c", (ChildReplica(("/bin/sh", str(launcher))),))))
    await hub.ready("c")
    text = hub.hub.metrics.text().decode()
    found = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert found["concento_child_processes"] == 2
    assert found["concento_child_resident_bytes"] > 4 * 1024 * 1024
    assert found["concento_child_cpu_seconds_total"] > 0


async def test_breakers_places_and_connections_are_told_as_they_are(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url, concurrency_max=7)))
        await hub.ready("s")
        hub.hub.upstreams.get("s").clock = clock = ManualClock()

        def told(name: str) -> dict[str | None, float]:
            found = gauges(hub.hub.metrics, name)
            return {dict(labels).get("state"): value for labels, value in found.items()}

        assert told("concento_breaker_state") == {"closed": 1, "half_open": 0, "open": 0}
        assert told("concento_server_places") == {None: 7}
        await until(lambda: told("concento_pool_connections")["idle"] >= 1, "a connection rests")
        for _ in range(5):
            hub.hub.upstreams.get("s").failed(0)
        hub.hub._clock = clock  # type: ignore[assignment]
        assert told("concento_breaker_state") == {"closed": 0, "half_open": 0, "open": 1}


def test_the_lag_of_the_loop_is_the_most_of_the_last_half_minute() -> None:
    clock = ManualClock()
    asked: list[Callable[[], None]] = []
    lag = LoopLag(lambda after_s, look: asked.append(look), clock.monotonic)
    lag.start()

    def pass_s(seconds: float) -> float:
        clock.advance(seconds)
        asked.pop()()
        ((_, _, _, value),) = lag.readings()
        return round(value, 3)

    assert pass_s(0.5) == 0
    assert pass_s(0.8) == 0.3
    assert [pass_s(0.5) for _ in range(10)] == [0.3] * 10
    assert [pass_s(0.5) for _ in range(80)][-1] == 0
    lag.stop()
    pass_s(0.5)
    assert asked == []


def test_every_kind_of_error_is_one_that_others_know() -> None:
    def kinds(of: type[CallError]) -> set[type[CallError]]:
        return {of}.union(*(kinds(kind) for kind in of.__subclasses__()))

    found = kinds(CallError)
    assert any(kind.__name__.startswith("_") for kind in found)  # the room of connections has one of its own
    metrics = Metrics()
    for kind in found:
        record = note(metrics, "t")
        record.failed(kind.__new__(kind))
        metrics(record)
        assert record.failed_as is not None
        assert record.failed_as[0].isupper()
