"""Guards that live elsewhere: what they are told, what they may answer, and what happens when they don't.
Source: hardening T3, T34."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.hub.conftest import Start, at, config
from tests.hub.test_guards import CALL, EMAIL, acts, arguments_at, legacy
from tests.hub.test_tasks import about

from concento.model.auth import Auth
from concento.model.guards import Guard, Redaction, Webhook
from concento.model.limits import WEBHOOK_BYTES_MAX
from concento.model.policy import Conditions, Rule, Test
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent

Answer = Callable[[dict[str, Any]], Awaitable[Any]]
OUTSIDE: dict[str, Any] = {"name": "s__echo", "arguments": {"text": "out"}}


class Judge:
    """A webhook, as somebody would write it with aiohttp: it answers as it is told, and remembers what it was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.peers: set[Any] = set()
        self.url = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        self.bodies.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.asked.append(json.loads(body))
        said = await self.answer(self.asked[-1])
        return said if isinstance(said, web.StreamResponse) else web.json_response(said)

    def guard(self, **options: Any) -> Guard:
        return Guard("dlp", webhook=Webhook(self.url, **options))


@asynccontextmanager
async def judging(answer: Answer) -> AsyncIterator[Judge]:
    judge = Judge(answer)
    app = web.Application(client_max_size=WEBHOOK_BYTES_MAX * 2)
    app.router.add_post("/check", judge.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    judge.url = f"http://{host}:{port}/check"
    try:
        yield judge
    finally:
        await runner.cleanup()


async def agrees(asked: dict[str, Any]) -> Any:
    return {"action": "allow"}


def saying(**verdict: Any) -> Answer:
    async def answer(asked: dict[str, Any]) -> Any:
        return verdict

    return answer


# -- what it is told


async def test_it_is_told_of_the_call_and_of_the_result_and_never_of_credentials(start: Start) -> None:
    """T3."""
    async with judging(agrees) as judge, ScriptedHttpServer(modern_mcp()) as server:
        guard = judge.guard(bearer="token-of-the-guard")
        hub = await start(config(at("s", server.url), guards=(guard,), auth=Auth()))
        await hub.ready("s")
        _, key = await hub.hub.keys.create("alice", agent="cli")
        async with RawAgent(hub.mcp, bearer=key) as agent:
            assert (await agent.modern("tools/call", CALL)).status == 200
    before, after = judge.asked
    about_both = {
        "guard": "dlp",
        "method": "tools/call",
        "kind": "tool",
        "server": "s",
        "name": "echo",
        "principal": {"subject": "alice", "agent": "cli", "tenant": "default"},
    }
    assert {name: before[name] for name in about_both} == about_both == {name: after[name] for name in about_both}
    assert (before["phase"], before["arguments"]) == ("before", {"text": f"ask {EMAIL}"})
    assert (after["phase"], after["result"]["structuredContent"]) == ("after", {"text": f"ask {EMAIL}"})
    assert before["id"] != after["id"]
    assert before["trace"] == after["trace"]
    assert [one["authorization"] for one in judge.headers] == ["Bearer token-of-the-guard"] * 2
    assert key.encode() not in b"".join(judge.bodies) + repr(judge.headers).encode()


async def test_a_request_is_signed_with_its_time(start: Start) -> None:
    secret = "a-secret-of-both-sides"
    async with judging(agrees) as judge, ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(secret=secret, after=False),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", CALL)
        ((header, body),) = zip(judge.headers, judge.bodies, strict=True)
    time, _, digest = header["concento-signature"].removeprefix("t=").partition(",v1=")
    assert abs(int(time) - hub.hub.wall()) < 60
    assert hmac.new(secret.encode(), f"{time}.".encode() + body, hashlib.sha256).hexdigest() == digest


async def test_a_connection_is_kept_for_the_next_call(start: Start) -> None:
    async with judging(agrees) as judge, ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(5):
                assert (await agent.modern("tools/call", CALL)).status == 200
        assert (len(judge.asked), len(judge.peers)) == (10, 1)


async def test_it_is_asked_only_when_it_is_to_be(start: Start) -> None:
    async with judging(agrees) as judge, ScriptedHttpServer(modern_mcp()) as server:
        for options, phases in (({"before": False}, ["after"]), ({"after": False}, ["before"])):
            judge.asked.clear()
            hub = await start(config(at("s", server.url), guards=(judge.guard(**options),)))
            await hub.ready("s")
            async with RawAgent(hub.mcp) as agent:
                await agent.modern("tools/call", CALL)
            assert [one["phase"] for one in judge.asked] == phases


async def test_it_sees_what_other_guards_have_left(start: Start) -> None:
    guard = Guard("no mail", redaction=Redaction(("email",), ("arguments", "result")))
    async with judging(agrees) as judge, ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(), guard)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            await agent.modern("tools/call", CALL)
        assert EMAIL.encode() not in b"".join(judge.bodies)


# -- what it may answer


async def test_a_call_that_it_denies_reaches_no_server(start: Start) -> None:
    denies = saying(action="deny", reason="customer data \x1b[31m\u202ein it")
    async with judging(denies) as judge, ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for reply in (await agent.modern("tools/call", CALL), await legacy(agent, "tools/call", CALL)):
                assert (reply.status, reply.error["code"]) == (403, -31007)
                assert reply.error["message"] == "The guard 'dlp' does not allow this call: customer data in it"
                assert (reply.error["data"]["outcome"], reply.error["data"]["retryable"]) == ("not_sent", False)
        assert not server.hits("tools/call")
        assert acts(hub) == {("dlp", "refused"): 2}


async def test_a_result_that_it_denies_is_kept_back(start: Start) -> None:
    denies = saying(action="deny", reason="secret")
    async with judging(denies) as judge, ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(before=False),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            error = (await agent.modern("tools/call", CALL)).error
        assert (error["code"], error["data"]["outcome"]) == (-31009, "failed")
        assert error["message"].endswith("must not leave: secret")
        assert len(server.hits("tools/call")) == 1


async def test_arguments_that_it_replaces_are_what_the_server_gets(start: Start) -> None:
    async with (
        judging(saying(action="replace", arguments={"text": "other"})) as judge,
        ScriptedHttpServer(modern_mcp()) as server,
    ):
        hub = await start(config(at("s", server.url), guards=(judge.guard(after=False),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            result = (await agent.modern("tools/call", CALL)).result
        assert arguments_at(server) == {"text": "other"}
        assert result["_meta"]["dev.concento/notices"] == ["The guard 'dlp' replaced the arguments"]


async def test_arguments_that_it_replaces_have_to_satisfy_the_policy(start: Start) -> None:
    """Or whoever writes the webhook would write the policy."""
    rule = Rule("not out", "deny", ("s.*",), when=Conditions(arguments=(("text", Test("eq", "out")),)))
    async with judging(saying(action="replace", **OUTSIDE)) as judge, ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(after=False),), policies=(rule,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            refused = await agent.modern("tools/call", CALL)
        assert (refused.status, refused.error["code"]) == (403, -31007)
        assert "arguments.text" in refused.error["message"]
        assert not server.hits("tools/call")


@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp])
async def test_a_result_that_it_replaces_is_what_the_caller_gets(start: Start, kind: Any) -> None:
    link = {"type": "resource_link", "uri": "s://x/r", "name": "r"}
    other = {"content": [{"type": "text", "text": "[masked]"}, link], "isError": True}
    async with judging(saying(action="replace", result=other)) as judge, ScriptedHttpServer(kind()) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(before=False),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            replies = [await agent.modern("tools/call", CALL), await legacy(agent, "tools/call", CALL)]
            assert replies[0].result["resultType"] == "complete"
            for reply in replies:
                text, published = reply.result["content"]
                assert (text["text"], reply.result["isError"]) == ("[masked]", True)
                assert published["uri"] == "s://s!x/r", "what it names is the server's, as in any result"
        assert acts(hub) == {("dlp", "replaced"): 2}


# -- when it does not answer


async def slow(asked: dict[str, Any]) -> Any:
    await asyncio.Event().wait()


async def fails(asked: dict[str, Any]) -> Any:
    return web.Response(status=500, text="secret stack trace")


async def moved(asked: dict[str, Any]) -> Any:
    return web.Response(status=307, headers={"Location": "http://127.0.0.1:9/"})


async def huge(asked: dict[str, Any]) -> Any:
    return web.Response(body=b" " * (WEBHOOK_BYTES_MAX + 1), content_type="application/json")


async def garbage(asked: dict[str, Any]) -> Any:
    return web.Response(text="<html>yes</html>")


async def cut(asked: dict[str, Any]) -> Any:
    raise asyncio.CancelledError


NO_ANSWERS: dict[str, tuple[Answer, str]] = {
    "slow": (slow, "it did not answer within 0.2 s"),
    "an error": (fails, "it answered with the status 500"),
    "elsewhere": (moved, "it answered with the status 307"),
    "huge": (huge, f"it answered with more than {WEBHOOK_BYTES_MAX} bytes"),
    "no JSON": (garbage, "it answered with something that is no verdict"),
    "no verdict": (saying(answer="yes"), "it answered with something that is no verdict"),
    "an action that there is not": (saying(action="maybe"), "it answered with something that is no verdict"),
    "nothing to replace with": (saying(action="replace"), "it answered with something that is no verdict"),
    "no object": (saying(action="replace", arguments=[1], result=[1]), "it answered with something that is no verdict"),
    "closed": (cut, "it can't be reached"),
}


@pytest.mark.parametrize("how", NO_ANSWERS)
async def test_without_its_answer_nothing_passes(start: Start, how: str) -> None:
    answer, why = NO_ANSWERS[how]
    timeout_s = 0.2 if how == "slow" else 10.0
    async with judging(answer) as judge, ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(timeout_s=timeout_s),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            refused = await agent.modern("tools/call", CALL)
            assert (refused.status, refused.error["code"]) == (403, -31007)
            assert refused.error["message"] == f"The guard 'dlp' could not be asked ({why}), so that nothing was sent"
            assert (refused.error["data"]["outcome"], refused.error["data"]["retryable"]) == ("not_sent", True)
            assert not server.hits("tools/call")
            await hub.hub.configure(
                config(at("s", server.url), guards=(judge.guard(timeout_s=timeout_s, before=False),))
            )
            kept = (await agent.modern("tools/call", CALL)).error
            assert (kept["code"], kept["data"]["outcome"], kept["data"]["retryable"]) == (-31009, "failed", False)
            assert why in kept["message"]


async def test_one_that_is_down_refuses_or_lets_pass_as_the_operator_says(start: Start) -> None:
    async with judging(agrees) as judge:
        down = judge.url
    async with ScriptedHttpServer(modern_mcp()) as server:
        for on_failure, status, did in (("refuse", 403, "refused"), ("pass", 200, "failed")):
            guard = Guard("dlp", webhook=Webhook(down, on_failure=on_failure))  # type: ignore[arg-type]
            hub = await start(config(at("s", server.url), guards=(guard,)))
            await hub.ready("s")
            async with RawAgent(hub.mcp) as agent:
                assert (await agent.modern("tools/call", CALL)).status == status
            assert ("dlp", did) in acts(hub)


async def test_a_connection_that_was_closed_over_there_meanwhile_is_opened_anew(start: Start) -> None:
    """A webhook that restarts, or closes what is idle, costs no call."""
    async with judging(agrees) as judge, ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(after=False),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL)).status == 200
            times = 0

            async def drops_once(asked: dict[str, Any]) -> Any:
                nonlocal times
                times += 1
                if times == 1:
                    raise asyncio.CancelledError
                return {"action": "allow"}

            judge.answer = drops_once
            assert (await agent.modern("tools/call", CALL)).status == 200
        assert times == 2


# -- what it can't be asked about


async def test_messages_lose_their_text_where_it_judges_results(start: Start) -> None:
    async def talks(exchange: Exchange) -> Any:
        await exchange.progress(1, 2, "half")
        await exchange.notify("notifications/message", {"level": "error", "data": "x"})
        return {"content": []}

    async with judging(agrees) as judge, ScriptedHttpServer(modern_mcp(on_call=talks)) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(),)))
        await hub.ready("s")
        meta = {"progressToken": 7, "io.modelcontextprotocol/logLevel": "debug"}
        async with RawAgent(hub.mcp) as agent:
            *messages, _ = (await agent.modern("tools/call", CALL, meta=meta)).messages
        assert [one["params"] for one in messages] == [{"progressToken": 7, "progress": 1, "total": 2}]


async def test_a_question_can_be_denied_and_not_replaced(start: Start) -> None:
    params = {"mode": "form", "message": "?", "requestedSchema": {"type": "object", "properties": {}}}

    async def asks(exchange: Exchange) -> Any:
        question = {"method": "elicitation/create", "params": params}
        return {"resultType": "input_required", "inputRequests": {"q": question}, "requestState": "s"}

    async with judging(agrees) as judge, ScriptedHttpServer(modern_mcp(on_call=asks)) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(before=False),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            caps: dict[str, Any] = {"elicitation": {}}
            assert (await agent.modern("tools/call", CALL, caps=caps)).result["resultType"] == "input_required"
            assert judge.asked[0]["result"]["inputRequests"]["q"]["params"]["message"] == "?"
            for verdict in ({"action": "deny"}, {"action": "replace", "result": {"content": []}}):
                judge.answer = saying(**verdict)
                assert (await agent.modern("tools/call", CALL, caps=caps)).error["code"] == -31009


async def test_a_task_of_a_servers_own_is_judged_once_it_has_something_to_say(start: Start) -> None:
    times = {"createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttlMs": 60_000}
    over = False

    async def begins(exchange: Exchange) -> Any:
        return {"resultType": "task", "taskId": "t1", "status": "working", "statusMessage": "x", **times}

    async def goes_on(exchange: Exchange) -> Any:
        told = {"taskId": "t1", "status": "working", "statusMessage": "x", **times}
        return {**told, "status": "completed", "result": {"content": []}} if over else told

    caps: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    upstream = modern_mcp(on_call=begins, on={"tasks/get": goes_on}, capabilities={"tools": {}, **caps})
    async with judging(agrees) as judge, ScriptedHttpServer(upstream) as server:
        hub = await start(config(at("s", server.url), guards=(judge.guard(),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            begun = (await agent.modern("tools/call", CALL, caps=caps)).result
            assert "statusMessage" not in begun
            assert "statusMessage" not in (await about(agent, "tasks/get", begun["taskId"])).result
            assert [one["phase"] for one in judge.asked] == ["before"]
            over = True
            assert (await about(agent, "tasks/get", begun["taskId"])).result["result"] == {"content": []}
            assert judge.asked[-1]["result"] == {"result": {"content": []}}
            judge.answer = saying(action="deny")
            assert (await about(agent, "tasks/get", begun["taskId"])).error["code"] == -31009
