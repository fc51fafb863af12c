"""A real hub's own metrics, calls and definitions under its own rules, told to a real receiver."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest
import trustme
from tests.hub.bound import tool
from tests.hub.conftest import at, config, running
from tests.observe.alerts.kit import Receiver, receiver

from concento.admin.listener import AdminListener
from concento.app import Hub
from concento.front.tls import Certificates
from concento.model.alert_rules import DEFAULTS
from concento.model.alerting import Alerting, Route, Step, WebhookChannel
from concento.model.auditing import Audit
from concento.model.auth import Tls
from concento.model.config import Address
from concento.model.prices import PARTS, Budget
from concento.model.usage import Metering
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import garbage, modern_mcp
from concento.testing.raw_agent import RawAgent
from concento.testing.waiting import until


@pytest.fixture
async def hook() -> AsyncIterator[Receiver]:
    async with receiver() as one:
        yield one


def at_once(hook: Receiver) -> Alerting:
    """The hub's own rules, without their waiting: time does not pass in these tests."""
    rules = tuple(replace(rule, for_s=0.0, clear_s=0.0) for rule in DEFAULTS)
    channels = MappingProxyType({"ops": WebhookChannel("ops", hook.url)})
    return Alerting(rules, channels, (Route((Step(("ops",)),), wait_s=0.0),))


async def looked(hub: Hub) -> set[tuple[str, ...]]:
    """What fires after a look, the first of which begins it: rule and labels."""
    if not hub.alerts.is_on:
        await hub.alerts.load()
    await hub.alerts.tick()
    await hub.alerts.idle()
    firing = [one for one in hub.alerts.shown() if one["state"] == "firing"]
    return {(one["rule"], *one["labels"].values()) for one in firing}


def told(hook: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in hook.got]


async def test_a_server_that_goes_away_is_told(hook: Receiver) -> None:
    async with (
        ScriptedHttpServer(modern_mcp()) as server,
        running(config(at("s", server.url, health_check_s=0.1), alerts=at_once(hook))) as hub,
    ):
        await hub.ready("s")
        assert await looked(hub.hub) == set()
        await server.stop()
        await until(lambda: hub.hub.current.snapshot.slices["s"].health.state == "failing", "the server is down")
        assert ("server_down", "s") in await looked(hub.hub)
    (first, *_) = told(hook)
    assert (first["what"], first["severity"], first["summary"]) == ("firing", "critical", "[critical] server_down s")
    assert first["alerts"][0]["runbook"] == "docs/reference/alerts.md#server_down"


async def test_a_breaker_that_opens_and_calls_that_fail_are_told(hook: Receiver) -> None:
    async with (
        ScriptedHttpServer(modern_mcp(on_call=garbage)) as server,
        running(config(at("s", server.url), alerts=at_once(hook))) as hub,
    ):
        await hub.ready("s")
        await looked(hub.hub)
        async with RawAgent(hub.mcp) as agent:
            for _ in range(25):
                await agent.modern("tools/call", {"name": "s__echo", "arguments": {}})
        assert await looked(hub.hub) == {("breaker_opened", "s"), ("errors_fast", "s")}
    assert {one["summary"] for one in told(hook)} == {"[warning] breaker_opened s", "[critical] errors_fast s"}


@pytest.mark.parametrize(
    ("trust", "rule"), [("pin", ("definition_held", "s")), ("open", ("definition_changed", "s", "push"))]
)
async def test_a_definition_that_changes_is_told(hook: Receiver, trust: str, rule: tuple[str, ...]) -> None:
    mcp = modern_mcp(tools=[tool("push", description="Send commits")])
    async with (
        ScriptedHttpServer(mcp) as server,
        running(config(at("s", server.url, trust=trust), alerts=at_once(hook))) as hub,
    ):
        await hub.ready("s")
        assert await looked(hub.hub) == set()
        before = hub.hub.current.snapshot
        mcp.tools = [tool("push", description="Send everything")]
        hub.hub.federation._changed("s", "tools")  # as the server would say itself
        await until(lambda: hub.hub.current.snapshot is not before, "the list was fetched again")
        assert await looked(hub.hub) == {rule}


async def test_a_configuration_that_is_not_taken_over_is_told(hook: Receiver) -> None:
    async with running(config(alerts=at_once(hook))) as hub:
        await looked(hub.hub)
        hub.hub.reload_failures += 1
        assert await looked(hub.hub) == {("reload_failed",)}


async def test_an_audit_record_that_can_not_be_written_is_told(hook: Receiver, tmp_path: Path) -> None:
    configuration = config(alerts=at_once(hook), audit=Audit(path=tmp_path / "audit.db"))
    hub = await Hub.create(configuration, keep=False, audit=True)
    try:
        await looked(hub)
        assert hub.audit is not None
        hub.audit.problem = "database or disk is full"
        hub.audit.dropped += 3
        assert await looked(hub) == {("audit_failing",), ("audit_gap",)}
        hub.audit.problem = None
    finally:
        await hub.close(drain_s=0)


async def test_a_budget_that_is_spent_is_told_with_whose_it_is(hook: Receiver, tmp_path: Path) -> None:
    """Its soft part first; by the one call that budgets make."""
    configuration = config(alerts=at_once(hook), audit=Audit(mode="off"), usage=Metering(path=tmp_path / "usage.db"))
    hub = await Hub.create(configuration, keep=False, audit=True)
    try:
        assert hub.usage is not None
        hub.usage.budgets.configure((Budget("research", 100 * PARTS, "EUR"),))
        await looked(hub)
        hub.usage.budgets.spend("acme", "alice", "EUR", 99 * PARTS)
        assert await looked(hub) == {("budget_near", "research", "acme")}
        hub.usage.budgets.spend("acme", "alice", "EUR", 2 * PARTS)
        assert ("budget_passed", "research", "acme") in await looked(hub)
    finally:
        await hub.close(drain_s=0)
    reasons = [(one["severity"], one["alerts"][0]["reason"]) for one in told(hook)]
    assert reasons == [("warning", "99 of 100 EUR are spent"), ("critical", "101 of 100 EUR are spent")]


# -- the admin API


@pytest.fixture
async def operated(hook: Receiver) -> AsyncIterator[tuple[aiohttp.ClientSession, Hub]]:
    """A hub of which one alert fires, and its admin API."""
    async with running(config(alerts=at_once(hook))) as hub:
        await looked(hub.hub)
        hub.hub.reload_failures += 1
        await looked(hub.hub)
        listener = AdminListener(hub.hub)
        address = await listener.start(Address("127.0.0.1", 0))
        async with aiohttp.ClientSession(f"http://{address}") as session:
            yield session, hub.hub
        await listener.close()


Operated = tuple[aiohttp.ClientSession, Hub]


async def test_the_api_shows_acknowledges_and_silences(operated: Operated) -> None:
    session, _ = operated
    (shown,) = (await (await session.get("/api/v1/alerts")).json())["alerts"]
    assert (shown["rule"], shown["state"], shown["told"]) == ("reload_failed", "firing", ["ops"])
    reply = await session.post("/api/v1/alerts/ack", json={"alert": shown["id"], "note": "I look"})
    assert (reply.status, await reply.json()) == (200, {"acknowledged": [shown["id"]]})
    asked = {"match": "rule=reload_* severity=warning", "span": "2h", "why": "a migration"}
    silence = await (await session.post("/api/v1/alerts/silence", json=asked)).json()
    assert silence["match"] == {"rule": "reload_*", "severity": "warning"}
    assert silence["until"] - silence["since"] == 7200
    now = await (await session.get("/api/v1/alerts")).json()
    assert (now["alerts"][0]["state"], now["alerts"][0]["silenced_by"]) == ("acknowledged", f"silence {silence['id']}")
    ended = await session.post("/api/v1/alerts/unsilence", json={"silence": silence["id"]})
    assert ended.status == 200
    assert (await (await session.get("/api/v1/alerts")).json())["silences"] == []


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("ack", {"alert": "nothing", "note": ""}, 404, "no alert 'nothing' fires; there are: "),
        ("silence", {"match": "time", "span": "2h", "why": ""}, 422, "expected LABEL=PATTERN, such as server=time"),
        ("silence", {"match": "", "span": "2h", "why": ""}, 422, "has to say what it is about"),
        ("silence", {"match": "a=b", "span": "2 hours", "why": ""}, 422, "expected a time such as 30m, 2h or 1d"),
        ("silence", {"match": "a=b", "span": "99d", "why": ""}, 422, "lasts up to 30 days"),
        ("unsilence", {"silence": "x"}, 404, "there is no silence 'x'; there are: none"),
        ("test", {"channel": "pos"}, 404, "there is no channel 'pos'; there are: ops"),
        ("ack", {"alert": "x"}, 422, "missing required field `note`"),
    ],
)
async def test_what_the_api_refuses_changes_nothing(
    operated: Operated, path: str, body: dict[str, str], status: int, error: str
) -> None:
    session, hub = operated
    reply = await session.post(f"/api/v1/alerts/{path}", json=body)
    assert reply.status == status
    assert error in (await reply.json())["detail"]
    assert not hub.alerts.silences
    assert all(alert.ack is None for alert in hub.alerts.alerts.values())


async def test_a_test_goes_through_the_real_channel_and_says_what_came_back(operated: Operated, hook: Receiver) -> None:
    session, _ = operated
    hook.statuses = [200, 403]
    said = [await (await session.post("/api/v1/alerts/test", json={"channel": "ops"})).json() for _ in range(2)]
    assert said == [
        {"channel": "ops", "delivered": True, "said": "it answered with the status 200"},
        {"channel": "ops", "delivered": False, "said": "it answered with the status 403"},
    ]
    assert told(hook)[-1]["what"] == "test"


# -- certificates


def files_of(folder: Path, leaf: trustme.LeafCert) -> Tls:
    (folder / "hub.crt").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    (folder / "hub.key").write_bytes(leaf.private_key_pem.bytes())
    return Tls(folder / "hub.crt", folder / "hub.key")


async def test_a_certificate_that_runs_out_or_is_renewed_with_the_wrong_key_is_told(
    hook: Receiver, tmp_path: Path
) -> None:
    authority, now = trustme.CA(), datetime.now(UTC)
    ending = authority.issue_cert("localhost", not_before=now - timedelta(80), not_after=now + timedelta(10))
    async with running(config(alerts=at_once(hook))) as hub:
        hub.hub.tls(files_of(tmp_path, authority.issue_cert("localhost")))
        hub.hub._watch_certificates()
        assert await looked(hub.hub) == set(), "it was made today"
        hub.hub.tls(files_of(tmp_path, ending))
        (tmp_path / "hub.key").write_bytes(authority.issue_cert("localhost").private_key_pem.bytes())
        (certificates, _) = hub.hub._certificates
        assert certificates.reload() is not None
        hub.hub._watch_certificates()
        assert await looked(hub.hub) == {("certificate_ending", "hub.crt"), ("certificate_refused", "hub.crt")}
    assert any(one["alerts"][0]["reason"] == "it runs out in 10.0 days" for one in told(hook))


@pytest.mark.parametrize(
    ("life", "left", "told"), [(365, 13.9, True), (365, 14.1, False), (4, 1.1, False), (4, 0.9, True)]
)
def test_a_certificate_that_lives_for_days_is_not_told_of_all_the_time(
    tmp_path: Path, life: float, left: float, told: bool
) -> None:
    ends = datetime.now(UTC) + timedelta(left)
    leaf = trustme.CA().issue_cert("localhost", not_before=ends - timedelta(life), not_after=ends)
    days = Certificates(files_of(tmp_path, leaf)).runs_out(time.time())
    assert (days is not None) is told
