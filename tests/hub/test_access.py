"""Identity, policy, limits and the audit record through a whole hub. Source: hardening T18, T24, T28–T30, T36, R18."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.hub.conftest import Running, Start, at, config
from tests.hub.guarded import guarded, server
from tests.hub.issuer import AUDIENCE, TestIssuer
from tests.observe.audit_kit import checked, entries

from concento.admin.listener import AdminListener
from concento.app import Hub
from concento.model.auditing import Audit
from concento.model.auth import Auth, Issuer
from concento.model.config import Address, Config, UrlReplica
from concento.model.limiting import LimitRule
from concento.model.policy import Conditions, Role, Rule, Test
from concento.model.tenant import Tenant
from concento.observe.access_log import AccessLog
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import ECHO_TOOL, Exchange, legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent, RawReply, legacy_request, modern_request
from concento.testing.waiting import until

CALL = {"name": "s__echo", "arguments": {"text": "hello"}}


async def in_session(agent: RawAgent, method: str, params: dict[str, Any]) -> RawReply:
    headers, body = legacy_request(method, params, session=await agent.begin())
    return await agent.post(None, body, headers)


def hits(server: ScriptedHttpServer) -> int:
    return len(server.hits("tools/call"))


# -- those who are nobody any more


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_key_that_ends_is_dead_within_five_seconds_and_its_streams_are_cut(start: Start, how: str) -> None:
    """T36."""
    running = asyncio.Event()

    async def hangs(exchange: Exchange) -> None:
        running.set()
        await exchange.hang()

    async with ScriptedHttpServer(modern_mcp(on_call=hangs)) as upstream:
        hub = await start(config(at("s", upstream.url), auth=Auth()))
        await hub.ready("s")
        record, key = await hub.hub.keys.create("alice", ttl_s=None if how == "revoked" else 3.0)
        async with RawAgent(hub.url + "/mcp", bearer=key, wait_s=20) as agent:
            session = await agent.begin()
            listen = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            stream_headers = {"Accept": "text/event-stream", "Mcp-Session-Id": session}
            call = modern_request("tools/call", CALL)
            async with (
                agent.stream("POST", None, listen[1], listen[0]) as modern,
                agent.stream("GET", None, b"", stream_headers) as standing,
                agent.stream("GET", "/sse", b"", {"Accept": "text/event-stream"}) as sse,
            ):
                assert (await modern.next_message())["method"].endswith("acknowledged")
                assert (await anext(sse)).event == "endpoint"
                calling = asyncio.get_running_loop().create_task(agent.post(None, call[1], call[0]))
                await running.wait()
                started_s = asyncio.get_running_loop().time()
                if how == "revoked":
                    await hub.hub.keys.revoke(record.id)

                async def ends(stream: Any) -> None:
                    try:
                        await stream.read()
                    except (asyncio.IncompleteReadError, ConnectionError):
                        return

                await asyncio.wait_for(asyncio.gather(ends(modern), ends(standing), ends(sse)), 8)
                with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                    await calling
                assert asyncio.get_running_loop().time() - started_s < 5 + (3 if how == "expired" else 0)
            for headers, body in (modern_request("tools/list"), legacy_request("tools/list", session=session)):
                assert (await agent.post(None, body, headers)).status == 401
        assert len(hub.hub.sessions) == 0


# -- what the policy says of a call


async def test_a_call_that_a_condition_refuses_says_so_and_reaches_nothing(start: Start) -> None:
    rule = Rule("no rome", "deny", ("s.*",), when=Conditions(arguments=(("text", Test("eq", "rome")),)))
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        hub = await start(config(at("s", upstream.url), policies=(rule,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            refused = await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": "rome"}})
            assert (refused.status, refused.error["code"]) == (403, -31007)
            assert "arguments.text" in refused.error["message"]
            assert refused.error["data"]["outcome"] == "not_sent"
            legacy = await in_session(agent, "tools/call", {"name": "s__echo", "arguments": {"text": "rome"}})
            assert (legacy.status, legacy.error["code"]) == (403, -31007)
            assert hits(upstream) == 0
            assert (await agent.modern("tools/call", CALL)).status == 200


async def test_who_lacks_a_scope_is_told_which_to_get(start: Start) -> None:
    """T4: 403 with a challenge to step up, in both eras; it is listed all the same."""
    rule = Rule("writers", "allow", ("s.*",), when=Conditions(scopes=("s:write", "s:read")), advertise=True)
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        hub = await start(config(at("s", upstream.url), policies=(rule,), auth=Auth()))
        await hub.ready("s")
        _, few = await hub.hub.keys.create("alice", scopes=("s:read",))
        _, all_ = await hub.hub.keys.create("alice", scopes=("s:read", "s:write"))
        async with RawAgent(hub.mcp, bearer=few) as agent:
            assert [tool["name"] for tool in (await agent.modern("tools/list")).result["tools"]] == ["s__echo"]
            for reply in (await agent.modern("tools/call", CALL), await in_session(agent, "tools/call", CALL)):
                assert reply.status == 403
                challenge = reply.header("www-authenticate") or ""
                assert 'error="insufficient_scope"' in challenge
                assert 'scope="s:write s:read"' in challenge
        assert hits(upstream) == 0
        async with RawAgent(hub.mcp, bearer=all_) as agent:
            assert (await agent.modern("tools/call", CALL)).status == 200


async def test_a_policy_that_changes_is_told_to_whom_it_concerns(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        before = config(at("s", upstream.url), auth=Auth(), roles=MappingProxyType({"r": Role("r", ("s.*",))}))
        hub = await start(before)
        await hub.ready("s")
        _, key = await hub.hub.keys.create("alice", roles=("r",))
        async with RawAgent(hub.mcp, bearer=key) as agent:
            headers, body = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            async with agent.stream("POST", None, body, headers) as stream:
                await stream.next_message()
                await hub.hub.configure(replace(before, policies=(Rule("none", "deny", ("s.echo",)),)))
                assert (await stream.next_message())["method"] == "notifications/tools/list_changed"
            assert (await agent.modern("tools/list")).result["tools"] == []


@pytest.mark.parametrize("mode", ["enforce", "warn", "off"])
async def test_arguments_are_held_against_the_tools_schema(start: Start, mode: Any) -> None:
    tool = {
        "name": "echo",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    }
    async with ScriptedHttpServer(modern_mcp(tools=[tool])) as upstream:
        hub = await start(config(at("s", upstream.url), validate=mode))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            result = (await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": 7}})).result
            told = "text: expected string"
            if mode == "enforce":
                assert result["isError"] is True
                assert told in result["content"][0]["text"]
                assert hits(upstream) == 0
            else:
                assert hits(upstream) == 1
                notices = result.get("_meta", {}).get("dev.concento/notices", [])
                assert any(told in notice for notice in notices) is (mode == "warn")
            assert "isError" not in (await agent.modern("tools/call", CALL)).result


async def test_a_server_that_lies_about_its_tools_gains_nothing(start: Start) -> None:
    """T18: neither a wider policy nor a second execution where the reply was lost."""
    executed = 0

    async def loses(exchange: Exchange) -> None:
        nonlocal executed
        executed += 1
        exchange.conn.close()

    liar = {
        **ECHO_TOOL,
        "name": "wipe",
        "annotations": {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True},
    }
    rule = Rule("readers", "allow", ("*",), when=Conditions(annotations=MappingProxyType({"readOnlyHint": True})))
    async with ScriptedHttpServer(modern_mcp(tools=[liar], on_call=loses)) as upstream:
        hub = await start(config(at("s", upstream.url), policies=(rule,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/list")).result["tools"] == []
            assert "error" in (await agent.modern("tools/call", {"name": "s__wipe", "arguments": {}})).message
            assert executed == 0
        trusted = await start(config(at("s", upstream.url, trust_hints=True), policies=(rule,)))
        await trusted.ready("s")
        async with RawAgent(trusted.mcp) as agent:
            assert len((await agent.modern("tools/list")).result["tools"]) == 1
            error = (await agent.modern("tools/call", {"name": "s__wipe", "arguments": {}})).error
            assert error["data"]["outcome"] == "unknown"
            assert executed == 1


INTERNAL = (
    *("X-Concento-Tenant", "X-Concento-Principal", "X-Concento-Subject", "X-Concento-Roles", "X-Concento-Router-Key"),
    *("X-Concento-Admin", "X-Concento-Trace", "X-Forwarded-User", "X-Remote-User", "X-Tenant-Id", "X-Forwarded-For"),
)


async def test_no_header_field_makes_anybody_somebody_else(start: Start) -> None:
    """T24: there is no field that the hub trusts."""
    async with server("open", "secret") as acme, server("theirs") as globex:
        house = await guarded(start, acme, globex)
        headers, body = modern_request("tools/list")
        async with house.agent("gina") as agent:
            plain = (await agent.post(None, body, headers)).body
            for name in INTERNAL:
                for value in ("acme", "boss", "dora", "true", "127.0.0.1"):
                    assert (await agent.post(None, body, {**headers, name: value})).body == plain
        async with house.agent(None) as agent:
            for name in INTERNAL:
                assert (await agent.post(None, body, {**headers, name: "boss"})).status == 401


# -- tenants


async def test_what_is_shared_is_seen_by_patterns_and_each_tenant_has_links_of_its_own(start: Start) -> None:
    async with ScriptedHttpServer(legacy_mcp(tools=[ECHO_TOOL, {**ECHO_TOOL, "name": "other"}])) as upstream:
        tenants = {
            "acme": Tenant("acme", share=("s.echo",)),
            "globex": Tenant("globex", share=("s.*",)),
            "none": Tenant("none"),
        }
        hub = await start(config(at("s", upstream.url), auth=Auth(), tenants=MappingProxyType(tenants)))
        await hub.ready("s")
        seen: dict[str, list[str]] = {}
        for tenant in ("default", *tenants):
            _, key = await hub.hub.keys.create("alice", tenant=tenant)
            async with RawAgent(hub.mcp, bearer=key) as agent:
                seen[tenant] = [tool["name"] for tool in (await agent.modern("tools/list")).result["tools"]]
                for name in ("s__echo", "s__other"):
                    called = await agent.modern("tools/call", {"name": name, "arguments": {}})
                    assert ("result" in called.message) is (name in seen[tenant]), (tenant, name)
                if tenant == "none":
                    assert "s" not in (await agent.modern("server/discover")).result.get("instructions", "")
                    async with RawAgent(hub.url + "/servers/s/mcp", bearer=key) as elsewhere:
                        assert (await elsewhere.modern("tools/list")).status == 404
        assert seen == {
            "default": ["s__echo", "s__other"],
            "acme": ["s__echo"],
            "globex": ["s__echo", "s__other"],
            "none": [],
        }
        sessions = {hit.header("Mcp-Session-Id") for hit in upstream.hits("tools/call")}
        assert len(sessions) == 3  # isolation never crosses tenants


async def test_tenants_with_servers_of_one_name_reach_their_own(start: Start) -> None:
    async with server("open") as acme, server("theirs") as globex:
        house = await guarded(start, acme, globex)
        for who, tool, one, other in (("boss", "s__open", acme, globex), ("gina", "s__theirs", globex, acme)):
            before = hits(one), hits(other)
            async with house.agent(who) as agent:
                assert "result" in (await agent.modern("tools/call", {"name": tool, "arguments": {}})).message
            assert (hits(one), hits(other)) == (before[0] + 1, before[1])


async def test_a_tenant_that_is_removed_is_nobody(start: Start) -> None:
    async with server("open") as acme, server("theirs") as globex:
        house = await guarded(start, acme, globex)
        hub = house.hub.hub
        before = hub.current.snapshot.config
        servers = {key: one for key, one in before.servers.items() if one.tenant != "acme"}
        tenants = {name: one for name, one in before.tenants.items() if name != "acme"}
        async with house.agent("boss") as agent:
            headers, body = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            async with agent.stream("POST", None, body, headers) as stream:
                await stream.next_message()
                changed = replace(before, servers=MappingProxyType(servers), tenants=MappingProxyType(tenants))
                await hub.configure(changed)
                with suppress(asyncio.IncompleteReadError, ConnectionError):
                    await stream.read()  # it ends
            headers, body = modern_request("tools/list")
            assert (await agent.post(None, body, headers)).status in (401, 404)


# -- limits


async def test_who_asks_too_often_is_told_when_to_come_back(start: Start) -> None:
    """429, Retry-After and retryAfterMs, in both eras; nothing of it reaches a server."""
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        limit = LimitRule("each tool", per=("tool",), patterns=("s.*",), rate=0.1, burst=1)
        hub = await start(config(at("s", upstream.url), limits=(limit,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert [(await agent.modern("tools/call", CALL)).status for _ in range(2)] == [200, 200]
            for reply in (await agent.modern("tools/call", CALL), await in_session(agent, "tools/call", CALL)):
                assert (reply.status, reply.error["code"]) == (429, -31003)
                assert 1 <= int(reply.header("retry-after") or 0) <= 10
                data = reply.error["data"]
                assert 0 < data["retryAfterMs"] <= 10_000
                assert (data["outcome"], data["retryable"]) == ("not_sent", True)
                assert "'each tool' is 0.1 calls a second" in reply.error["message"]
            assert hits(upstream) == 2
            assert (await agent.modern("tools/list")).status == 200  # about no tool


async def test_to_guess_names_counts_too(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        hub = await start(config(at("s", upstream.url), limits=(LimitRule("user", rate=0.01, burst=2),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            statuses = [
                (await agent.modern("tools/call", {"name": f"s__x{n}", "arguments": {}})).status for n in range(5)
            ]
            assert statuses == [400, 400, 400, 429, 429]


async def test_calls_at_a_time_are_given_back_however_they_end(start: Start) -> None:
    gate = asyncio.Event()

    async def waits(exchange: Exchange) -> dict[str, Any] | None:
        if exchange.arguments.get("text") == "drop":
            exchange.conn.close()
            return None
        await gate.wait()
        return {"content": []}

    async with ScriptedHttpServer(modern_mcp(on_call=waits)) as upstream:
        hub = await start(config(at("s", upstream.url), limits=(LimitRule("few", concurrency=2),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(4):  # one more, and the server would be given no calls for a while
                assert (
                    "error"
                    in (await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": "drop"}})).message
                )
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(agent.modern("tools/call", CALL)) for _ in range(2)]
                await until(lambda: hub.hub.records.in_flight == 2, "two are running")
                refused = await agent.modern("tools/call", CALL)
                assert (refused.status, "2 calls at a time" in refused.error["message"]) == (429, True)
                gate.set()
            assert all(one.result().status == 200 for one in running)
            assert (await agent.modern("tools/call", CALL)).status == 200


async def test_a_quota_that_runs_out_is_told_before_it_does(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        hub = await start(
            config(at("s", upstream.url), limits=(LimitRule("daily", patterns=("s.*",), day=3, soft=0.5),))
        )
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            told = [(await agent.modern("tools/call", CALL)).result.get("_meta", {}) for _ in range(3)]
            assert "dev.concento/notices" not in told[0]
            assert "3 of 3 calls of this day" in told[2]["dev.concento/notices"][0]
            spent = await agent.modern("tools/call", CALL)
            assert (spent.status, "3 calls a day" in spent.error["message"]) == (429, True)


async def test_sessions_streams_and_subscriptions_of_one_principal_have_caps(start: Start) -> None:
    """T28: one more is 429 for whoever has too many, and nobody else notices."""
    resources = [{"uri": f"s://x/{number}", "name": "r"} for number in range(4)]
    offered = modern_mcp(
        lists={"resources/list": resources}, capabilities={"resources": {"subscribe": True}, "tools": {}}
    )
    async with ScriptedHttpServer(offered) as upstream:
        hub = await start(config(at("s", upstream.url), auth=Auth()))
        await hub.ready("s")
        hub.hub.sessions.per_owner_max = 2
        hub.hub.listening.per_owner_max = 2
        hub.hub.listening.subscribed_max = 3
        _, key = await hub.hub.keys.create("greedy")
        _, other = await hub.hub.keys.create("modest")

        def refused(reply: RawReply) -> bool:
            return (reply.status, reply.error["code"], reply.header("retry-after")) == (429, -31003, "5")

        async with RawAgent(hub.mcp, bearer=key) as agent, RawAgent(hub.mcp, bearer=other) as neighbour:
            sessions = [await agent.begin() for _ in range(2)]
            assert all(sessions)
            initialize = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "x", "version": "1"},
            }
            headers, body = legacy_request("initialize", initialize)
            assert refused(await agent.post(None, body, headers))
            assert await neighbour.begin()
            assert (await agent.get("/sse", {"Accept": "text/event-stream"})).status == 429
            await agent.request("DELETE", None, b"", {"Mcp-Session-Id": sessions[0]})
            assert await agent.begin()

            listen = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
            async with (
                agent.stream("POST", None, listen[1], listen[0]) as one,
                agent.stream("POST", None, listen[1], listen[0]) as two,
            ):
                await one.next_message()
                await two.next_message()
                assert refused(await agent.post(None, listen[1], listen[0]))
                async with neighbour.stream("POST", None, listen[1], listen[0]) as theirs:
                    assert (await theirs.next_message())["method"].endswith("acknowledged")
            await until(lambda: len(hub.hub.listening) == 0, "the streams are closed")
            uris = [f"s://s!x/{number}" for number in range(4)]
            many = modern_request("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}})
            assert refused(await agent.post(None, many[1], many[0]))


async def test_when_the_hub_is_full_everybody_is_told_to_come_back(start: Start) -> None:
    hub = await start(config())
    hub.hub.sessions.count_max = 1
    hub.hub.listening.count_max = 1
    async with RawAgent(hub.mcp) as agent:
        assert await agent.begin()
        initialize = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        headers, body = legacy_request("initialize", initialize)
        full = await agent.post(None, body, headers)
        assert (full.status, full.error["code"], full.header("retry-after")) == (503, -31004, "5")
        listen = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
        async with agent.stream("POST", None, listen[1], listen[0]) as stream:
            await stream.next_message()
            full = await agent.post(None, listen[1], listen[0])
            assert (full.status, full.error["code"]) == (503, -31004)


async def test_hubs_that_call_each_other_in_a_circle_stop(start: Start) -> None:
    """T29: a server that calls the very hub which called it, as one does that is a hub itself."""
    passed: list[int] = []
    where: list[str] = []

    async def calls_back(exchange: Exchange) -> dict[str, Any]:
        passed.append(exchange.meta["dev.concento/hops"])
        async with RawAgent(where[0]) as agent:
            further = await agent.modern("tools/call", CALL, meta={"dev.concento/hops": passed[-1]})
        return {"content": [{"type": "text", "text": json.dumps(further.message)}]}

    async with ScriptedHttpServer(modern_mcp(on_call=calls_back)) as upstream:
        hub = await start(config(at("s", upstream.url)))
        await hub.ready("s")
        where.append(hub.mcp)
        async with RawAgent(hub.mcp) as agent:
            told = json.dumps((await agent.modern("tools/call", CALL)).message)
        assert passed == [1, 2, 3, 4]
        assert "-31004" in told
        assert "circle" in told


async def test_a_forged_number_of_hubs_is_refused(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        hub = await start(config(at("s", upstream.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for forged in (-1000, 0, "1", 1.5, None, 10**9):
                reply = await agent.modern("tools/call", CALL, meta={"dev.concento/hops": forged})
                assert (reply.status, reply.error["code"]) == (400, -32602)
            assert (await agent.modern("tools/call", CALL, meta={"dev.concento/hops": 3})).status == 200
            assert (await agent.modern("tools/call", CALL, meta={"dev.concento/hops": 4})).status == 503
            assert hits(upstream) == 1
            assert upstream.hits("tools/call")[0].message["params"]["_meta"]["dev.concento/hops"] == 4


# -- the audit record


@asynccontextmanager
async def operated(hub: Hub, token: str | None = None) -> AsyncIterator[str]:
    """The URL of an admin listener."""
    admin = AdminListener(hub, token)
    try:
        yield f"http://{await admin.start(Address('127.0.0.1', 0))}"
    finally:
        await admin.close()


@pytest.fixture
async def audited(tmp_path: Path) -> AsyncIterator[Any]:
    made: list[Hub] = []

    async def begin(configuration: Config, mode: Any = "batched") -> Running:
        audit = Audit(
            mode=mode, path=tmp_path / "audit.db", arguments="full", stream=f"file:{tmp_path / 'audit.jsonl'}"
        )
        hub = await Hub.create(
            replace(configuration, audit=audit),
            keep=False,
            audit=True,
            access_log=lambda: AccessLog.to_file(tmp_path / "access.log"),
        )
        made.append(hub)
        return Running(hub, await hub.listen(Address("127.0.0.1", 0)))

    yield begin
    for hub in made:
        await hub.close(drain_s=1.0)


async def test_every_call_is_recorded_once_whatever_came_of_it(audited: Any, tmp_path: Path) -> None:
    rules = (
        Rule("no rome", "deny", ("s.echo",), when=Conditions(arguments=(("text", Test("eq", "rome")),))),
        Rule("hidden", "deny", ("s.secret",)),
    )
    tools = [ECHO_TOOL, {**ECHO_TOOL, "name": "secret"}, {**ECHO_TOOL, "name": "typed"}]
    async with ScriptedHttpServer(modern_mcp(tools=tools)) as upstream:
        limits = (LimitRule("each", per=("tool",), patterns=("s.echo",), rate=0.01),)
        hub = await audited(
            config(at("s", upstream.url), auth=Auth(), policies=rules, limits=limits, validate="enforce")
        )
        await hub.ready("s")
        record, key = await hub.hub.keys.create("alice", agent="cli", roles=("r",))
        async with RawAgent(hub.mcp, bearer=key) as agent:
            for name, args in (
                ("echo", {"text": "a"}),
                ("echo", {"text": "rome"}),
                ("typed", {"text": 7}),
                ("echo", {"text": "b"}),
                ("secret", {}),
                ("nothing", {}),
            ):
                await agent.modern("tools/call", {"name": f"s__{name}", "arguments": args})
            await agent.modern("tools/list")
        async with RawAgent(hub.mcp) as nobody:
            await nobody.modern("tools/list")
        await hub.hub.close(drain_s=1.0)
    told = [
        (one.name, one.decision, one.rule, one.outcome, one.server) for one in entries(tmp_path / "audit.db", "call")
    ]
    assert told == [
        ("s__echo", "allow", "default", "ok", "s"),
        ("s__echo", "forbidden", "no rome", "refused", "s"),
        ("s__typed", "invalid", "default", "refused", "s"),
        ("s__echo", "rate_limited", "each", "refused", "s"),
        ("s__secret", "hidden", "hidden", "refused", ""),
        ("s__nothing", "unknown", "", "refused", ""),
        ("", "allow", "", "ok", ""),
    ]
    first = entries(tmp_path / "audit.db", "call")[0]
    assert (first.subject, first.agent, first.credential) == ("alice", "cli", f"key:{record.id}")
    assert (first.arguments_full, first.address, first.attempts) == ({"text": "a"}, "127.0.0.1", 1)
    (refused,) = entries(tmp_path / "audit.db", "refused")
    assert (refused.status, refused.path, refused.decision) == (401, "/mcp", "unauthenticated")
    assert checked(tmp_path / "audit.db").broken is None


async def test_a_strict_record_has_the_intent_before_the_server_has_the_call(audited: Any, tmp_path: Path) -> None:
    """R17."""
    seen: list[bool] = []

    async def looks(exchange: Exchange) -> dict[str, Any]:
        seen.append(any(entry.name == "s__echo" for entry in entries(tmp_path / "audit.db", "intent")))
        return {"content": []}

    async with ScriptedHttpServer(modern_mcp(on_call=looks)) as upstream:
        hub = await audited(config(at("s", upstream.url)), "strict")
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", CALL)
            await in_session(agent, "tools/call", CALL)
        assert seen == [True, True]


async def test_while_nothing_can_be_recorded_a_strict_hub_makes_no_call(
    audited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R18: 503, not sent, come back; and it recovers unaided."""
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        hub = await audited(config(at("s", upstream.url)), "strict")
        await hub.ready("s")
        writer = hub.hub.audit._writer

        def full(entries: object) -> list[bytes]:
            raise OSError(28, "No space left on device")

        async with RawAgent(hub.mcp) as agent:
            with monkeypatch.context() as patched:
                patched.setattr(writer, "write", full)
                for reply in (await agent.modern("tools/call", CALL), await in_session(agent, "tools/call", CALL)):
                    assert (reply.status, reply.error["code"]) == (503, -31004)
                    assert reply.error["data"]["outcome"] == "not_sent"
                    assert reply.header("retry-after") == "1"
                assert hits(upstream) == 0
                assert (await agent.modern("tools/list")).status == 200  # reaches no server
            await until(lambda: hub.hub.audit.problem is None, "it recovers", wait_s=10)
            assert (await agent.modern("tools/call", CALL)).status == 200


# -- secrets


async def test_twelve_secrets_in_twelve_places_turn_up_nowhere(
    audited: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """T30: logs, audit, its stream, metrics, the admin API, errors, what is printed, the state."""
    canaries = [f"canary-{number:02}-7f3a9c" for number in range(12)]
    bearer, header, env, path_secret, argument, reply_secret, stderr, token_, query, metas, error_text, cookie = (
        canaries
    )
    caplog.set_level(logging.DEBUG)

    async def answers(exchange: Exchange) -> dict[str, Any] | None:
        if exchange.arguments.get("fail"):
            await exchange.error(-32000, f"failed with {error_text}")
            return None
        return {"content": [{"type": "text", "text": reply_secret}]}

    async with ScriptedHttpServer(modern_mcp(on_call=answers)) as upstream, TestIssuer().serving() as issuer:
        own = at("s", upstream.url)
        shown_to_it = MappingProxyType({"authorization": f"Bearer {bearer}", "x-key": header})
        replica = UrlReplica(upstream.url, headers=shown_to_it)
        secrets = frozenset({bearer, header, env, path_secret})
        auth = Auth("http://127.0.0.1", True, (Issuer("company", issuer.url, (AUDIENCE,)),))
        hub = await audited(config(replace(own, replicas=(replica,)), auth=auth, secrets=secrets))
        await hub.ready("s")
        record, key = await hub.hub.keys.create("alice", scopes=("concento:admin",))
        jwt = issuer.token(sub="bob", note=token_)
        admin = AdminListener(hub.hub)
        address = await admin.start(Address("127.0.0.1", 0))
        shown: list[bytes] = []
        for secret in (key, jwt):
            async with RawAgent(hub.mcp, bearer=secret) as agent:
                arguments = {"password": argument, "note": bearer, "fail": False}
                meta = {"example.com/token": metas}
                await agent.modern("tools/call", {"name": "s__echo", "arguments": arguments}, meta=meta)
                await agent.modern("tools/call", {"name": "s__echo", "arguments": {"fail": True, "secret": argument}})
                await agent.modern("tools/call", {"name": f"s__{env}", "arguments": {}})
                headers, body = modern_request("tools/list")
                shown.append((await agent.post(None, body, {**headers, "Cookie": cookie})).body)
                shown.append((await agent.post("/mcp?access_token=" + query, body, headers)).body)
        for wrong in (key[:-4] + "AAAA", jwt[:-4] + "AAAA", stderr):
            async with RawAgent(hub.mcp, bearer=wrong) as agent:
                shown.append((await agent.modern("tools/list")).body)
        async with RawAgent(f"http://{address}", bearer=key) as operator:
            for path in (
                "/api/v1/servers",
                "/api/v1/tools",
                "/metrics",
                "/api/v1/alerts",
                "/openapi.json",
                "/api/v1/explain?tool=s__echo&subject=alice",
            ):
                shown.append((await operator.get(path)).body)
        await admin.close()
        await hub.hub.close(drain_s=1.0)
    printed = capfd.readouterr()
    sinks = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    sinks["shown"] = b"".join(shown)
    sinks["logged"] = caplog.text.encode()
    sinks["printed"] = (printed.out + printed.err).encode()
    assert {"audit.db", "audit.jsonl", "access.log"} <= sinks.keys()
    assert b"s__echo" in sinks["audit.jsonl"]
    for name, content in sinks.items():
        for canary in (*canaries, key[20:], jwt.split(".")[2]):
            assert canary.encode() not in content, f"{canary} in {name}"
    assert record.id.encode() in sinks["audit.jsonl"]  # whose key it was is there


# -- the admin listener


async def test_the_admin_listener_wants_the_operator_where_callers_prove_themselves(start: Start) -> None:
    """T1: every route but health."""
    hub = await start(config(auth=Auth()))
    _, user = await hub.hub.keys.create("alice")
    _, operator = await hub.hub.keys.create("ops", scopes=("concento:admin",))
    paths = (
        "/",
        "/api/v1/servers",
        "/api/v1/tools",
        "/api/v1/tools/x",
        "/api/v1/explain",
        "/api/v1/alerts",
        "/metrics",
        "/openapi.json",
        "/nothing",
    )
    async with operated(hub.hub, "concento_local_secret") as url, RawAgent(url) as agent:
        for path in paths:
            assert (await agent.get(path)).status == 401, path
            assert "Bearer" in ((await agent.get(path)).header("www-authenticate") or "")
            for wrong in ("concento_local_wrong", "x", user + "x"):
                assert (await agent.get(path, {"Authorization": f"Bearer {wrong}"})).status == 401
            assert (await agent.get(path, {"Authorization": f"Bearer {user}"})).status == 403
            for right in (operator, "concento_local_secret"):
                assert (await agent.get(path, {"Authorization": f"Bearer {right}"})).status not in (401, 403)
        assert (await agent.get("/health/live")).status == 200


async def test_an_explanation_agrees_with_what_happens(start: Start) -> None:
    rule = Rule("no rome", "deny", ("s.echo",), when=Conditions(arguments=(("text", Test("eq", "rome")),)))
    roles = MappingProxyType({"r": Role("r", ("s.*",))})
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        limits = (LimitRule("each user", rate=5.0, burst=5),)
        hub = await start(config(at("s", upstream.url), auth=Auth(), roles=roles, policies=(rule,), limits=limits))
        await hub.ready("s")
        record, key = await hub.hub.keys.create("alice", roles=("r",))
        async with (
            operated(hub.hub, "local") as url,
            RawAgent(url, bearer="local") as operator,
            RawAgent(hub.mcp, bearer=key) as agent,
        ):

            async def explained(query: str) -> Any:
                reply = await operator.get(f"/api/v1/explain?{query}")
                return reply.json() if reply.status == 200 else reply.status

            for text, callable in (("rome", False), ("oslo", True)):
                arguments = json.dumps({"text": text})
                told = await explained(f"tool=s__echo&subject=alice&args={arguments}".replace(" ", "%20"))
                assert (told["visible"], told["callable"]) == (True, callable)
                assert told["known_by"] == f"as the holder of the API key {record.id}"
                assert told["limits"] == ["each user (each user): 5 calls a second, 5 more at once: 6 now"]
                reply = await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": text}})
                assert ("result" in reply.message) is callable
                hub.hub.limits.configure({"": ()})
                hub.hub.limits.configure({"": limits})
            stranger = await explained("tool=s.echo&subject=mallory")
            assert (stranger["visible"], stranger["callable"]) == (False, False)
            assert await explained("tool=nothing&subject=alice") == 422
            assert await explained("tool=s__echo&subject=alice&tenant=nowhere") == 422
            assert await explained("tool=s__echo&subject=alice&args=7") == 422
            assert await explained("tool=s__echo&subject=alice&colour=red") == 422
        assert hits(upstream) == 1
