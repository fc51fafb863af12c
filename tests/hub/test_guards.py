"""Guards on content through a whole hub: what passes, what is taken out, what is kept back, and who is told.
Source: hardening T34."""

import json
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from tests.hub.bound import house, logical, serving
from tests.hub.conftest import Running, Start, at, config
from tests.hub.test_access import operated
from tests.hub.test_inputs import first_round, retry
from tests.hub.test_tasks import Gate, about, handle, over, slow
from tests.observe.audit_kit import entries

from concento.app import Hub
from concento.gateway.guarded import AT_ONCE_BYTES
from concento.model.auditing import Audit
from concento.model.auth import Auth
from concento.model.config import Address
from concento.model.guards import Guard, Redaction, ResultLimits
from concento.model.logical import Fanout
from concento.model.policy import Conditions, Role, Rule, Test
from concento.model.tenant import Tenant
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import ECHO_TOOL, Exchange, legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent, RawReply, legacy_request, modern_request

EMAIL = "alice@example.com"
GONE = "[redacted: email]"
NO_MAIL = Guard("no mail", redaction=Redaction(("email",)))
IN_ARGUMENTS = Guard("no mail in", redaction=Redaction(("email",), ("arguments",)))
CALL = {"name": "s__echo", "arguments": {"text": f"ask {EMAIL}"}}
ERAS = [modern_mcp, legacy_mcp]


def refusing(*on: Any) -> Guard:
    return Guard("no mail at all", redaction=Redaction(("email",), on, "refuse"))


def arguments_at(server: ScriptedHttpServer) -> Any:
    """What the server got last."""
    return server.hits("tools/call")[-1].message["params"]["arguments"]


async def legacy(agent: RawAgent, method: str, params: dict[str, Any]) -> RawReply:
    headers, body = legacy_request(method, params, session=await agent.begin())
    return await agent.post(None, body, headers)


def acts(hub: Running) -> dict[tuple[str, str], float]:
    """What guards did, as the metrics have it."""
    lines = [
        line for line in hub.hub.metrics.text().decode().splitlines() if line.startswith("concento_guard_acts_total{")
    ]
    found = {}
    for line in lines:
        labels = dict(part.split("=") for part in line[line.index("{") + 1 : line.index("}")].split(","))
        found[labels["guard"].strip('"'), labels["did"].strip('"')] = float(line.rpartition(" ")[2])
    return found


# -- what is taken out


@pytest.mark.parametrize("kind", ERAS)
async def test_a_result_comes_without_what_is_found_and_the_caller_is_told(start: Start, kind: Any) -> None:
    async with ScriptedHttpServer(kind()) as server:
        hub = await start(config(at("s", server.url), guards=(NO_MAIL,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for result in (
                (await agent.modern("tools/call", CALL)).result,
                (await legacy(agent, "tools/call", CALL)).result,
            ):
                assert result["structuredContent"] == {"text": f"ask {GONE}"}
                assert json.loads(result["content"][0]["text"]) == {"text": f"ask {GONE}"}
                assert result["_meta"]["dev.concento/notices"] == ["The guard 'no mail' redacted the result: email"]
        assert arguments_at(server)["text"] == f"ask {EMAIL}"
        assert acts(hub) == {("no mail", "redacted"): 2}


@pytest.mark.parametrize("kind", ERAS)
async def test_arguments_reach_the_server_without_what_is_found(start: Start, kind: Any) -> None:
    async with ScriptedHttpServer(kind()) as server:
        hub = await start(config(at("s", server.url), guards=(IN_ARGUMENTS,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL)).result["structuredContent"]["text"] == f"ask {GONE}"
            assert arguments_at(server) == {"text": f"ask {GONE}"}


async def test_a_header_that_repeats_an_argument_says_what_the_argument_is_now(start: Start) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string", "x-mcp-header": "Text"}}}
    async with ScriptedHttpServer(modern_mcp(tools=[{**ECHO_TOOL, "inputSchema": schema}])) as server:
        hub = await start(config(at("s", server.url), guards=(IN_ARGUMENTS,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            headers, body = modern_request("tools/call", CALL)
            assert (await agent.post(None, body, {**headers, "Mcp-Param-Text": f"ask {EMAIL}"})).status == 200
        hit = server.hits("tools/call")[-1]
        assert (hit.header("Mcp-Param-Text"), arguments_at(server)["text"]) == (f"ask {GONE}", f"ask {GONE}")


async def test_an_error_of_the_servers_is_searched_like_a_result(start: Start) -> None:
    async def fails(exchange: Exchange) -> None:
        await exchange.error(-32000, f"no such user {EMAIL}", {"who": [EMAIL]})

    async with ScriptedHttpServer(modern_mcp(on_call=fails)) as server:
        hub = await start(config(at("s", server.url), guards=(NO_MAIL,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            error = (await agent.modern("tools/call", CALL)).error
        assert (error["message"], error["data"]) == (f"no such user {GONE}", {"who": [GONE]})


async def test_prompts_resources_and_completions_are_guarded_too(start: Start) -> None:
    async def prompt(exchange: Exchange) -> Any:
        text = f"{exchange.arguments.get('who')} and {EMAIL}"
        return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}

    async def resource(exchange: Exchange) -> Any:
        return {"contents": [{"uri": exchange.name, "text": EMAIL}]}

    async def complete(exchange: Exchange) -> Any:
        return {"completion": {"values": [exchange.params["argument"]["value"], EMAIL]}}

    upstream = modern_mcp(
        lists={"prompts/list": [{"name": "p"}], "resources/list": [{"uri": "s://x/r", "name": "r"}]},
        capabilities={"tools": {}, "prompts": {}, "resources": {}, "completions": {}},
        on={"prompts/get": prompt, "resources/read": resource, "completion/complete": complete},
    )
    both = Guard("both", redaction=Redaction(("email",), ("arguments", "result")))
    async with ScriptedHttpServer(upstream) as server:
        hub = await start(config(at("s", server.url), guards=(both,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            got = (await agent.modern("prompts/get", {"name": "s__p", "arguments": {"who": EMAIL}})).result
            assert got["messages"][0]["content"]["text"] == f"{GONE} and {GONE}"
            read = (await agent.modern("resources/read", {"uri": "s://s!x/r"})).result
            assert (read["contents"][0]["text"], read["contents"][0]["uri"]) == (GONE, "s://s!x/r")
            ref = {"type": "ref/prompt", "name": "s__p"}
            asked = {"ref": ref, "argument": {"name": "who", "value": EMAIL}}
            told = (await agent.modern("completion/complete", asked)).result
            assert told["completion"]["values"] == [GONE, GONE]


async def test_kinds_leave_the_others_alone(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(replace(NO_MAIL, kinds=("prompt", "resource")),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert EMAIL in (await agent.modern("tools/call", CALL)).result["structuredContent"]["text"]


async def test_what_a_server_says_meanwhile_is_searched(start: Start) -> None:
    async def talks(exchange: Exchange) -> Any:
        await exchange.progress(1, 2, f"asking {EMAIL}")
        await exchange.notify("notifications/message", {"level": "error", "data": {"who": EMAIL}})
        return {"content": []}

    async with ScriptedHttpServer(modern_mcp(on_call=talks)) as server:
        for guard, told in (
            (NO_MAIL, [{"message": f"asking {GONE}"}, {"data": {"who": GONE}}]),
            (refusing("result"), [{}]),
        ):
            hub = await start(config(at("s", server.url), guards=(guard,)))
            await hub.ready("s")
            meta = {"progressToken": 7, "io.modelcontextprotocol/logLevel": "debug"}
            async with RawAgent(hub.mcp) as agent:
                *messages, _ = (await agent.modern("tools/call", CALL, meta=meta)).messages
            said = [
                {key: one["params"][key] for key in ("message", "data") if key in one["params"]} for one in messages
            ]
            assert said == told
            assert messages[0]["params"]["progress"] == 1


async def test_a_large_result_is_searched_as_a_small_one(start: Start) -> None:
    """Beside the event loop, which is not seen from here."""
    text = "x" * AT_ONCE_BYTES + f" {EMAIL}"
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(NO_MAIL, refusing("arguments"))))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            call = {"name": "s__echo", "arguments": {"text": text}}
            assert (await agent.modern("tools/call", call)).error["code"] == -31007
            await hub.hub.configure(config(at("s", server.url), guards=(NO_MAIL,)))
            assert (await agent.modern("tools/call", call)).result["structuredContent"]["text"].endswith(GONE)


# -- what is kept back


@pytest.mark.parametrize("kind", ERAS)
async def test_a_result_with_what_may_not_pass_is_kept_back_and_the_caller_knows_that_it_ran(
    start: Start, kind: Any
) -> None:
    async with ScriptedHttpServer(kind()) as server:
        hub = await start(config(at("s", server.url), guards=(refusing("result"),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for reply in (await agent.modern("tools/call", CALL), await legacy(agent, "tools/call", CALL)):
                error = reply.error
                assert (reply.status, error["code"]) == (200, -31009)
                assert (error["data"]["outcome"], error["data"]["retryable"]) == ("failed", False)
                assert error["message"].startswith("The tool ran, but the guard 'no mail at all' keeps back its result")
                assert EMAIL not in json.dumps(reply.message)
        assert acts(hub) == {("no mail at all", "withheld"): 2}


async def test_arguments_with_what_may_not_pass_reach_no_server(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(refusing("arguments"),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            refused = await agent.modern("tools/call", CALL)
            assert (refused.status, refused.error["code"]) == (403, -31007)
            assert refused.error["data"]["outcome"] == "not_sent"
            assert "email" in refused.error["message"]
            assert not server.hits("tools/call")
            fine = {**CALL, "arguments": {"text": "ask nobody"}}
            assert (await agent.modern("tools/call", fine)).status == 200


async def test_what_is_only_noted_passes_as_it_is(start: Start) -> None:
    guard = Guard("watch", redaction=Redaction(("email",), ("arguments", "result"), "note"))
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(guard,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            result = (await agent.modern("tools/call", CALL)).result
        assert result["structuredContent"]["text"] == f"ask {EMAIL}"
        assert result["_meta"]["dev.concento/notices"] == [
            "The guard 'watch' found something in the arguments: email",
            "The guard 'watch' found something in the result: email",
        ]


@pytest.mark.parametrize(
    ("limits", "content", "why"),
    [
        (
            ResultLimits(100),
            [{"type": "text", "text": "x" * 200}],
            "bytes, more than the 100 that may pass; ask for less",
        ),
        (
            ResultLimits(types=("text",)),
            [{"type": "image", "data": "QQ==", "mimeType": "image/png"}],
            "of the type 'image'",
        ),
        (ResultLimits(types=("text",)), [{"type": "hologram"}], "of the type 'hologram', and only text may pass"),
        (ResultLimits(types=("image",)), ["no object"], "of the type 'unknown'"),
    ],
)
async def test_a_result_that_is_too_large_or_of_another_type_is_kept_back(
    start: Start, limits: ResultLimits, content: Any, why: str
) -> None:
    async def answer(exchange: Exchange) -> Any:
        return {"content": content}

    async with ScriptedHttpServer(modern_mcp(on_call=answer)) as server:
        hub = await start(config(at("s", server.url), guards=(Guard("small", result=limits),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            error = (await agent.modern("tools/call", CALL)).error
        assert (error["code"], error["data"]["outcome"]) == (-31009, "failed")
        assert why in error["message"]
        assert len(server.hits("tools/call")) == 1


async def test_an_error_may_be_no_larger_than_a_result(start: Start) -> None:
    async def fails(exchange: Exchange) -> None:
        await exchange.error(-32000, "x" * 200)

    async with ScriptedHttpServer(modern_mcp(on_call=fails)) as server:
        hub = await start(config(at("s", server.url), guards=(Guard("small", result=ResultLimits(100, ("text",))),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL)).error["code"] == -31009


async def test_a_result_within_its_limits_passes_as_the_very_bytes(start: Start) -> None:
    written = (
        b'{"resultType":"complete",  "content":[{"type":"text","text":"1e2 is 100.0"}],"structuredContent":{"n":1e2}}'
    )

    async def answer(exchange: Exchange) -> None:
        await exchange.send(b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (int(exchange.id), written), last=True)

    guards = (
        Guard("small", result=ResultLimits(1000, ("text", "structured"))),
        Guard("none", redaction=Redaction(("jwt", "email", "github-token"))),
    )
    async with ScriptedHttpServer(modern_mcp(on_call=answer)) as server:
        hub = await start(config(at("s", server.url), guards=guards))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert written in (await agent.modern("tools/call", CALL)).body


async def test_a_resource_that_is_no_text_has_a_type_of_its_own(start: Start) -> None:
    async def read(exchange: Exchange) -> Any:
        return {"contents": [{"uri": exchange.name, "blob": "QQ==", "mimeType": "application/zip"}]}

    upstream = modern_mcp(
        lists={"resources/list": [{"uri": "s://x/r", "name": "r"}]},
        capabilities={"tools": {}, "resources": {}},
        on={"resources/read": read},
    )
    async with ScriptedHttpServer(upstream) as server:
        for types, code in ((("text",), -31009), (("text", "blob"), None)):
            hub = await start(config(at("s", server.url), guards=(Guard("g", result=ResultLimits(types=types)),)))  # type: ignore[arg-type]
            await hub.ready("s")
            async with RawAgent(hub.mcp) as agent:
                told = (await agent.modern("resources/read", {"uri": "s://s!x/r"})).message
            assert told.get("error", {}).get("code") == code


# -- for whom they hold


async def test_a_guard_holds_under_its_conditions_and_in_doubt(start: Start) -> None:
    when = Conditions(arguments=(("to", Test("eq", "outside")),))
    guard = replace(refusing("arguments"), when=when, unless=Conditions(roles=("trusted",)))
    async with ScriptedHttpServer(modern_mcp()) as server:
        roles = MappingProxyType({"trusted": Role("trusted", ("*",)), "other": Role("other", ("*",))})
        hub = await start(config(at("s", server.url), guards=(guard,), auth=Auth(), roles=roles))
        await hub.ready("s")
        for role, to, status in (
            *(("other", "outside", 403), ("other", "inside", 200)),
            *(("other", ["outside"], 403), ("trusted", "outside", 200)),
        ):
            _, key = await hub.hub.keys.create("alice", roles=(role,))
            async with RawAgent(hub.mcp, bearer=key) as agent:
                call = {"name": "s__echo", "arguments": {"to": to, "text": EMAIL}}
                assert (await agent.modern("tools/call", call)).status == status, (role, to)


async def test_a_tenants_guards_hold_for_its_users_beside_the_operators(start: Start) -> None:
    acme = Tenant("acme", share=("s.*",), guards=(Guard("acme", redaction=Redaction(("us-ssn",))),))
    ssn = "219-09-" + "9999"
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(
            config(at("s", server.url), guards=(NO_MAIL,), auth=Auth(), tenants=MappingProxyType({"acme": acme}))
        )
        await hub.ready("s")
        for tenant, left in (("default", f"{GONE} {ssn}"), ("acme", f"{GONE} [redacted: us-ssn]")):
            _, key = await hub.hub.keys.create("alice", tenant=tenant)
            async with RawAgent(hub.mcp, bearer=key) as agent:
                call = {"name": "s__echo", "arguments": {"text": f"{EMAIL} {ssn}"}}
                assert (await agent.modern("tools/call", call)).result["structuredContent"]["text"] == left


async def test_other_servers_are_not_guarded(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        guard = replace(NO_MAIL, patterns=("s.*",))
        hub = await start(config(at("s", server.url), at("t", server.url), guards=(guard,)))
        await hub.ready("s", "t")
        async with RawAgent(hub.mcp) as agent:
            told = (await agent.modern("tools/call", {**CALL, "name": "t__echo"})).result
        assert told["structuredContent"]["text"] == f"ask {EMAIL}"
        assert hub.hub.current.snapshot.guards["default"].reaches("t") is False


# -- changed arguments are judged again


async def test_arguments_that_were_changed_still_have_to_satisfy_the_policy(start: Start) -> None:
    when = Conditions(arguments=(("text", Test("eq", f"ask {EMAIL}")),))
    rule = Rule("only alice", "allow", ("s.*",), when=when)
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(IN_ARGUMENTS,), policies=(rule,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            refused = await agent.modern("tools/call", CALL)
        assert (refused.error["code"], refused.error["data"]["outcome"]) == (-31007, "not_sent")
        assert not server.hits("tools/call")


async def test_arguments_that_were_changed_still_have_to_fit_the_schema(start: Start) -> None:
    schema = {"type": "object", "properties": {"text": {"type": "string", "maxLength": 12}}}
    async with ScriptedHttpServer(modern_mcp(tools=[{**ECHO_TOOL, "inputSchema": schema}])) as server:
        long = Guard("no numbers", redaction=Redaction(("us-ssn",), ("arguments",)))
        hub = await start(config(at("s", server.url), guards=(long,), validate="enforce"))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            call = {"name": "s__echo", "arguments": {"text": "219-09-" + "9999"}}
            assert (await agent.modern("tools/call", call)).result["isError"] is True
        assert not server.hits("tools/call")


# -- on every other way out


@pytest.mark.parametrize("kind", ERAS)
async def test_a_call_that_goes_on_as_a_task_is_guarded_as_one_that_does_not(start: Start, kind: Any) -> None:
    gate = Gate()
    async with slow(start, kind, gate, guards=(NO_MAIL,)) as (_, _, agent):
        id = await handle(agent, gate, arguments={"text": EMAIL})
        gate.open.set()
        done = await over(agent, id)
        assert done["result"]["structuredContent"] == {"text": GONE}


async def test_a_task_of_a_servers_own_is_guarded_wherever_it_is_asked_about(start: Start) -> None:
    times = {"createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttlMs": 60_000}

    async def begins(exchange: Exchange) -> Any:
        return {"resultType": "task", "taskId": "t1", "status": "working", "statusMessage": EMAIL, **times}

    async def ends(exchange: Exchange) -> Any:
        result = {"content": [{"type": "text", "text": EMAIL}]}
        return {"taskId": "t1", "status": "completed", "statusMessage": EMAIL, "result": result, **times}

    async def takes(exchange: Exchange) -> Any:
        return {}

    upstream = modern_mcp(
        on_call=begins,
        on={"tasks/get": ends, "tasks/update": takes},
        capabilities={"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}},
    )
    caps: dict[str, Any] = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
    both = Guard("both", redaction=Redaction(("email",), ("arguments", "result")))
    small = Guard("small", result=ResultLimits(100))
    async with ScriptedHttpServer(upstream) as server:
        hub = await start(config(at("s", server.url), guards=(both, small)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            begun = (await agent.modern("tools/call", CALL, caps=caps)).result
            assert (begun["status"], begun["statusMessage"]) == ("working", GONE)
            done = (await about(agent, "tasks/get", begun["taskId"])).result
            assert (done["statusMessage"], done["result"]["content"][0]["text"]) == (GONE, GONE)
            await about(agent, "tasks/update", begun["taskId"], inputResponses={"q": {"content": {"mail": EMAIL}}})
            assert server.hits("tasks/update")[0].message["params"]["inputResponses"]["q"]["content"]["mail"] == GONE
            listen = modern_request(
                "subscriptions/listen", {"notifications": {"taskIds": [begun["taskId"]]}}, caps=caps
            )
            async with agent.stream("POST", None, listen[1], listen[0]) as stream:
                honoured = (await stream.next_message())["params"]["notifications"]
            assert not honoured.get("taskIds"), "what may be kept back is asked for, not told"


@pytest.mark.parametrize("kind", ERAS)
async def test_questions_and_their_answers_are_searched(start: Start, kind: Any) -> None:
    form = {"message": f"Is it {EMAIL}?", "requestedSchema": {"type": "object", "properties": {}}}

    async def asks_modern(exchange: Exchange) -> Any:
        if "inputResponses" not in exchange.params:
            question = {"method": "elicitation/create", "params": {"mode": "form", **form}}
            return {"resultType": "input_required", "inputRequests": {"q": question}, "requestState": EMAIL}
        assert exchange.params["requestState"] == EMAIL
        return {"content": [{"type": "text", "text": json.dumps(exchange.params["inputResponses"]["q"])}]}

    async def asks_legacy(exchange: Exchange) -> Any:
        answer = await exchange.ask("elicitation/create", form)
        return {"content": [{"type": "text", "text": json.dumps(answer["result"])}]}

    both = Guard("both", redaction=Redaction(("email",), ("arguments", "result")))
    hook = asks_modern if kind is modern_mcp else asks_legacy
    async with ScriptedHttpServer(kind(on_call=hook, streamed=True)) as server:
        hub = await start(config(at("s", server.url), guards=(both,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            call = {"name": "s__echo", "arguments": {"for": EMAIL}}
            asked = await first_round(agent, call=call)
            (question,) = asked["inputRequests"].values()
            assert question["params"]["message"] == f"Is it {GONE}?"
            said = {"action": "accept", "content": {"mail": "bob@example.com"}}
            told = (await retry(agent, asked, call, said)).result
            assert json.loads(told["content"][0]["text"])["content"] == {"mail": GONE}
            assert told["_meta"]["dev.concento/notices"] == ["The guard 'both' redacted the arguments: email"]


async def test_a_question_that_is_kept_back_is_given_up_at_its_server(start: Start) -> None:
    form = {"message": f"Is it {EMAIL}?", "requestedSchema": {"type": "object", "properties": {}}}

    async def asks(exchange: Exchange) -> Any:
        await exchange.ask("elicitation/create", form)

    async with ScriptedHttpServer(legacy_mcp(on_call=asks, streamed=True)) as server:
        hub = await start(config(at("s", server.url), guards=(refusing("result"),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            reply = await agent.modern("tools/call", CALL, caps={"elicitation": {}})
        assert reply.error["code"] == -31009
        assert len(hub.hub.means.parking) == 0


async def test_a_result_that_was_kept_back_is_kept_back_again_and_the_call_runs_once(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(refusing("result"),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(2):
                reply = await agent.modern("tools/call", CALL, meta={"dev.concento/idempotencyKey": "k"})
                assert reply.error["code"] == -31009
        assert len(server.hits("tools/call")) == 1


async def test_a_repeated_key_is_answered_with_what_was_guarded(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(NO_MAIL,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for _ in range(2):
                result = (await agent.modern("tools/call", CALL, meta={"dev.concento/idempotencyKey": "k"})).result
                assert result["structuredContent"]["text"] == f"ask {GONE}"
        assert len(server.hits("tools/call")) == 1


async def test_a_logical_tool_is_guarded_where_its_servers_are(start: Start, stack: AsyncExitStack) -> None:
    async def mail(exchange: Exchange) -> Any:
        return {"content": [{"type": "text", "text": f"{exchange.arguments['query']} {EMAIL}"}]}

    ways: list[tuple[str, dict[str, Any]]] = [("failover", {}), ("fanout", {"fanout": Fanout()})]
    for strategy, options in ways:
        one = logical("a.search", "b.search", strategy=strategy, **options)
        servers = [serving(on_call=mail), serving(on_call=mail)]
        guard = replace(NO_MAIL, patterns=("a.*",))
        at_home = await house(start, stack, servers, one, guards=(guard,))
        told = (await at_home.call()).result
        texts = [part["text"] for part in told["content"]]
        assert texts == ([f"x {GONE}"] if strategy == "failover" else [f"x {GONE}", f"x {EMAIL}"])
        assert acts(at_home.hub) == {("no mail", "redacted"): 1}


async def test_a_result_that_is_kept_back_is_not_asked_of_another_server(start: Start, stack: AsyncExitStack) -> None:
    """The tool ran: to ask the next one would run it twice."""
    one = logical("a.search", "b.search", repeatable=True)
    at_home = await house(
        start, stack, [serving(), serving()], one, guards=(replace(refusing("result"), patterns=("a.*",)),)
    )
    assert (await at_home.call({"query": EMAIL})).error["code"] == -31009
    assert at_home.executed() == [1, 0]


async def test_the_endpoint_of_one_server_is_guarded_too(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(NO_MAIL,)))
        await hub.ready("s")
        async with RawAgent(f"{hub.url}/servers/s/mcp") as agent:
            told = (await agent.modern("tools/call", {**CALL, "name": "echo"})).result
        assert told["structuredContent"]["text"] == f"ask {GONE}"


# -- who knows of it


async def test_the_audit_record_says_what_guards_did_and_never_what_they_found(start: Start, tmp_path: Path) -> None:
    guards = (IN_ARGUMENTS, NO_MAIL, Guard("small", result=ResultLimits(300)))
    async with ScriptedHttpServer(modern_mcp()) as server:
        audit = Audit(path=tmp_path / "audit.db")
        hub = await Hub.create(config(at("s", server.url), guards=guards, audit=audit), keep=False, audit=True)
        running = Running(hub, await hub.listen(Address("127.0.0.1", 0)))
        await running.ready("s")
        async with RawAgent(running.mcp) as agent:
            await agent.modern("tools/call", {**CALL, "arguments": {"text": f"{EMAIL} {EMAIL}"}})
            await agent.modern("tools/call", {**CALL, "arguments": {"text": "x" * 500}})
        await hub.close(drain_s=1.0)
    first, second = entries(tmp_path / "audit.db", "call")
    assert [(act.guard, act.did, act.where, act.found) for act in first.guards] == [
        ("no mail in", "redacted", "arguments", {"email": 2})
    ]
    assert (second.decision, second.rule, second.outcome, second.code) == ("withheld", "small", "refused", -31009)
    assert [(act.guard, act.did) for act in second.guards] == [("small", "withheld")]
    assert EMAIL.encode() not in (tmp_path / "audit.db").read_bytes()


async def test_explain_says_which_guards_hold_and_what_they_do(start: Start) -> None:
    guards = (
        replace(NO_MAIL, when=Conditions(subjects=("alice",))),
        Guard("small", result=ResultLimits(1000, ("text",))),
        Guard("outside", redaction=Redaction(("email",)), when=Conditions(arguments=(("to", Test("eq", "x")),))),
        Guard("elsewhere", ("t.*",), redaction=Redaction(("email",))),
        Guard("sure", confirm="destructive"),
    )
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=guards))
        await hub.ready("s")
        async with operated(hub.hub, "local") as url, RawAgent(url, bearer="local") as operator:
            told = (await operator.get("/api/v1/explain?tool=s__echo&subject=alice")).json()["guards"]
            assert told == [
                "no mail: takes out email in the result",
                "small: lets results of up to 1,000 bytes pass; lets results of text pass",
                "outside: does not hold here, by arguments.to of the call",
                "sure: has the user agree before it is called",
            ]
            bob = (await operator.get("/api/v1/explain?tool=s__echo&subject=bob")).json()["guards"]
            assert bob[0] == "no mail: does not hold here"


async def test_guards_that_change_with_a_reload_hold_from_the_next_call_on(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        before = config(at("s", server.url))
        hub = await start(before)
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert EMAIL in (await agent.modern("tools/call", CALL)).body.decode()
            await hub.hub.configure(replace(before, guards=(NO_MAIL,)))
            assert EMAIL not in (await agent.modern("tools/call", CALL)).body.decode()
