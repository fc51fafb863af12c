"""Calls that wait for input: whose they are, how many, how long, and what becomes of them. Source: hardening R31, R32,
R34, T6, T13, T14."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.hub.conftest import Start, at, config

from concento.app import Hub
from concento.model.config import Address, ChildReplica, Server
from concento.model.limits import INPUT_WAIT_S, QUESTIONS_MAX
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, ScriptedMcp, asks, legacy_mcp, legacy_sse, modern_mcp
from concento.testing.raw_agent import RawAgent, RawReply, legacy_request
from concento.testing.stdio_child import child_command, recorded
from concento.testing.waiting import until

FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {"x": {"type": "string"}}}}
CALL = {"name": "s__echo", "arguments": {"text": "hello", "n": 1}}
CAPS: dict[str, Any] = {"elicitation": {}, "sampling": {}, "roots": {}}
LEGACY = [legacy_mcp, legacy_sse]


def answer(nonce: str = "n") -> dict[str, Any]:
    return {"action": "accept", "content": {"x": nonce}}


async def first_round(agent: RawAgent, **options: Any) -> dict[str, Any]:
    """A call that is asked something: its questions and state."""
    reply = await agent.modern("tools/call", options.pop("call", CALL), caps=options.pop("caps", CAPS), **options)
    assert reply.result["resultType"] == "input_required"
    return dict(reply.result)


async def retry(agent: RawAgent, asked: dict[str, Any], call: Any = CALL, said: Any = None, **changes: Any) -> RawReply:
    """The same call again, with answers and the state that was given."""
    answers = {key: said or answer() for key in asked["inputRequests"]}
    params = {**call, "inputResponses": answers, "requestState": asked["requestState"], **changes}
    return await agent.modern("tools/call", params, caps=CAPS, id=2)


def cancelled(server: ScriptedHttpServer) -> list[Any]:
    """What the server was told to give up."""
    assert isinstance(server.handler, ScriptedMcp)
    return server.handler.cancelled


@pytest.fixture
async def asking(start: Start) -> Any:
    """A hub in front of a legacy server that asks for a form before it answers, and an agent."""
    async with ScriptedHttpServer(legacy_mcp(on_call=asks("elicitation/create", FORM), streamed=True)) as server:
        hub = await start(config(at("s", server.url), at("other", server.url)))
        await hub.ready("s", "other")
        async with RawAgent(hub.mcp) as agent:
            yield hub, server, agent


async def test_a_parked_call_goes_on_with_the_answers_and_runs_once(asking: Any) -> None:
    hub, server, agent = asking
    asked = await first_round(agent)
    (question,) = asked["inputRequests"].values()
    assert question["method"] == "elicitation/create"
    assert question["params"].pop("_meta") == {"dev.concento/server": "s"}
    assert question["params"] == FORM
    assert len(hub.hub.means.parking) == 1

    said = json.loads((await retry(agent, asked, said=answer("blue"))).result["content"][0]["text"])
    assert said["result"] == answer("blue")
    assert len(server.hits("tools/call")) == 1
    assert len(hub.hub.means.parking) == 0


SWAPS: dict[str, dict[str, Any]] = {
    "other arguments": {"call": {**CALL, "arguments": {"text": "other", "n": 1}}},
    "another tool": {"call": {**CALL, "name": "other__echo"}},
    "one more parameter": {"call": {**CALL, "x": 1}},
    "no state": {"requestState": None},
    "a state of nobody's": {"requestState": "AAAA" * 20},
    "an empty state": {"requestState": ""},
    "a state that is no string": {"requestState": 7},
}


@pytest.mark.parametrize("swap", SWAPS)
async def test_a_state_opens_for_the_request_it_was_given_for_alone(asking: Any, swap: str) -> None:
    """T13: the call stays parked for its owner, and nothing reaches a server."""
    _, server, agent = asking
    asked = await first_round(agent)
    changes = dict(SWAPS[swap])
    refused = await retry(agent, asked, changes.pop("call", CALL), **changes)
    assert (refused.status, refused.error["code"]) == (400, -32602)
    assert len(server.hits("tools/call")) == 1
    assert (await retry(agent, asked)).result["resultType"] == "complete"


async def test_every_flipped_character_of_a_state_is_refused(asking: Any) -> None:
    """T13."""
    _, server, agent = asking
    asked = await first_round(agent)
    state = asked["requestState"]
    for place in range(len(state)):
        flipped = state[:place] + ("A" if state[place] != "A" else "B") + state[place + 1 :]
        refused = await retry(agent, asked, requestState=flipped)
        # the last character may carry bits that stand for nothing: then the state is the same
        assert refused.status == 400 or place == len(state) - 1
    assert len(server.hits("tools/call")) == 1


async def test_arguments_written_in_another_order_are_the_same_arguments(asking: Any) -> None:
    _, _, agent = asking
    asked = await first_round(agent)
    again = {"arguments": {"n": 1, "text": "hello"}, "name": "s__echo"}
    assert (await retry(agent, asked, again)).result["resultType"] == "complete"


async def test_another_endpoint_does_not_take_the_state(asking: Any) -> None:
    hub, server, agent = asking
    asked = await first_round(agent)
    async with RawAgent(hub.url + "/servers/s/mcp") as other:
        refused = await retry(other, asked, {**CALL, "name": "echo"})
    assert refused.error["code"] == -32602
    assert len(server.hits("tools/call")) == 1


async def test_a_state_is_good_for_one_retry(asking: Any) -> None:
    """R32: a replay never runs anything."""
    _, server, agent = asking
    asked = await first_round(agent)
    assert (await retry(agent, asked)).result["resultType"] == "complete"
    replayed = await retry(agent, asked)
    assert replayed.error["code"] == -32602
    assert "no longer awaited" in replayed.error["message"]
    assert replayed.error["data"] == {"outcome": "unknown", "retryable": False}
    assert len(server.hits("tools/call")) == 1


async def test_a_call_nobody_comes_back_for_is_given_up_at_its_server(asking: Any) -> None:
    """R31: an agent that never comes back."""
    hub, server, agent = asking
    asked = await first_round(agent)
    parking = hub.hub.means.parking
    later = parking.now() + INPUT_WAIT_S + 1
    parking.now = lambda: later
    parking.sweep()
    assert len(parking) == 0
    await until(lambda: cancelled(server), "the server was told")
    assert (await retry(agent, asked)).error["data"]["outcome"] == "unknown"
    assert len(server.hits("tools/call")) == 1


async def test_an_expired_state_is_refused(asking: Any) -> None:
    hub, _, agent = asking
    asked = await first_round(agent)
    wall = hub.hub.gateway.wall
    hub.hub.gateway.wall = lambda: wall() + INPUT_WAIT_S + 1
    refused = await retry(agent, asked)
    assert refused.error["code"] == -32602
    assert "expired" in refused.error["message"]


async def test_parked_calls_are_counted_exactly(asking: Any) -> None:
    """R31: one more is refused, none is evicted, and a place that was given back is a place again."""
    hub, server, agent = asking
    hub.hub.means.parking.per_owner_max = 3
    asked = [await first_round(agent) for _ in range(3)]
    one_more = await agent.modern("tools/call", CALL, caps=CAPS)
    assert one_more.error["code"] == -31004
    assert one_more.error["data"]["outcome"] == "not_sent"
    assert len(hub.hub.means.parking) == 3
    assert len(server.hits("tools/call")) == 3
    assert (await retry(agent, asked[0])).result["resultType"] == "complete"
    assert (await first_round(agent))["requestState"]
    for waiting in asked[1:]:
        assert (await retry(agent, waiting)).result["resultType"] == "complete"


async def test_a_lost_park_is_told_and_never_run_again(tmp_path: Path) -> None:
    """R32: the hub is started anew between question and answer, with the same key and the same state."""
    record = tmp_path / "record"
    command = tuple(child_command("asks_sampling", era="legacy", record=record))
    configuration = config(Server("s", (ChildReplica(command),)), state_db=tmp_path / "state.db")

    async def hub_and_agent() -> tuple[Hub, RawAgent]:
        hub = await Hub.create(configuration)
        agent = RawAgent(f"http://{await hub.listen(Address('127.0.0.1', 0))}/mcp")
        await until(lambda: hub.is_ready() and hub.current.snapshot.slices["s"].health.state == "ready", "ready")
        return hub, agent

    hub, agent = await hub_and_agent()
    asked = await first_round(agent)
    await hub.close(drain_s=0)
    agent.close()
    hub, agent = await hub_and_agent()
    try:
        refused = await retry(agent, asked)
        assert refused.error["code"] == -32602
        assert refused.error["data"]["outcome"] == "unknown"
        assert len(recorded(record, "tools/call")) == 1
    finally:
        agent.close()
        await hub.close(drain_s=0)


@pytest.mark.parametrize("kind", LEGACY)
async def test_questions_one_after_the_other_and_two_at_a_time(start: Start, kind: type[ScriptedMcp]) -> None:
    async def curious(exchange: Exchange) -> dict[str, Any]:
        first = await exchange.ask("elicitation/create", FORM)
        both = await asyncio.gather(exchange.ask("elicitation/create", FORM), exchange.ask("roots/list"))
        said = [first["result"], *(one["result"] for one in both)]
        return {"content": [{"type": "text", "text": json.dumps(said)}]}

    async with ScriptedHttpServer(kind(on_call=curious, streamed=True)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            asked = await first_round(agent)
            assert len(asked["inputRequests"]) == 1
            reply = await retry(agent, asked)
            seen = 0
            while reply.result["resultType"] == "input_required":
                seen += len(reply.result["inputRequests"])

                answers = {
                    key: {"roots": []} if question["method"] == "roots/list" else answer()
                    for key, question in reply.result["inputRequests"].items()
                }
                reply = await retry(agent, reply.result, inputResponses=answers)
            assert seen == 2
        assert json.loads(reply.result["content"][0]["text"]) == [answer(), answer(), {"roots": []}]
        assert len(server.hits("tools/call")) == 1


async def test_what_was_not_answered_is_asked_again(asking: Any) -> None:
    _, server, agent = asking
    asked = await first_round(agent)
    again = await retry(agent, asked, inputResponses={})
    assert again.result["inputRequests"] == asked["inputRequests"]
    assert again.result["requestState"] != asked["requestState"]
    assert (await retry(agent, again.result)).result["resultType"] == "complete"
    assert len(server.hits("tools/call")) == 1


@pytest.mark.parametrize("agents", [12])
@pytest.mark.parametrize("kind", ["stdio", "sse", "http"])
async def test_every_answer_reaches_the_call_it_was_asked_for(start: Start, kind: str, agents: int) -> None:
    """T6: many agents at once at one server; on stdio and HTTP+SSE nothing says which call a question is for."""
    async with ScriptedHttpServer(
        (legacy_sse if kind == "sse" else legacy_mcp)(on_call=asks("elicitation/create", FORM), streamed=True)
    ) as scripted:
        command = tuple(child_command("asks_sampling", era="legacy"))
        server = Server("s", (ChildReplica(command),)) if kind == "stdio" else at("s", scripted.url)
        hub = await start(config(server))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as warm:  # the server's first question shows that it asks
            await retry(warm, await first_round(warm))

        async def converse(number: int) -> None:
            call = {**CALL, "arguments": {"text": f"t{number}"}}
            async with RawAgent(hub.mcp) as agent:
                for turn in range(3):
                    asked = await first_round(agent, call=call)
                    reply = await retry(agent, asked, call, answer(f"{number}-{turn}"))
                    assert json.loads(reply.result["content"][0]["text"])["result"] == answer(f"{number}-{turn}")

        await asyncio.gather(*(converse(number) for number in range(agents)))
        assert len(hub.hub.means.parking) == 0


@pytest.mark.parametrize("kind", LEGACY)
async def test_a_question_among_several_calls_is_for_the_one_that_does_not_end(
    start: Start, kind: type[ScriptedMcp]
) -> None:
    release = asyncio.Event()

    async def some_ask(exchange: Exchange) -> dict[str, Any]:
        if exchange.arguments["text"] == "asker":
            said = (await exchange.ask("elicitation/create", FORM))["result"]
        else:
            await release.wait()
            said = None
        return {"content": [{"type": "text", "text": json.dumps(said)}]}

    async with ScriptedHttpServer(kind(on_call=some_ask, streamed=True)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            others = [
                asyncio.ensure_future(agent.modern("tools/call", CALL, caps=CAPS))  # noqa: TID251 - awaited below
                for _ in range(3)
            ]
            await until(lambda: len(server.hits("tools/call")) == 3, "three calls run")
            call = {**CALL, "arguments": {"text": "asker"}}
            asking = asyncio.ensure_future(first_round(agent, call=call))  # noqa: TID251 - awaited below
            await until(lambda: len(server.hits("tools/call")) == 4, "and one that is asked")
            release.set()
            for reply in await asyncio.gather(*others):
                assert json.loads(reply.result["content"][0]["text"]) is None
            reply = await retry(agent, await asking, call)
        assert json.loads(reply.result["content"][0]["text"]) == answer()


@pytest.mark.parametrize("kind", LEGACY)
async def test_a_legacy_agent_that_cancels_while_it_is_asked_cancels_at_the_server(
    start: Start, kind: type[ScriptedMcp]
) -> None:
    """R14."""
    async with ScriptedHttpServer(kind(on_call=asks("elicitation/create", FORM), streamed=True)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin(caps={"elicitation": {}})
            headers, body = legacy_request("tools/call", CALL, id=7, session=session)
            async with agent.stream("POST", None, body, headers) as stream:
                question = await stream.next_message()
                assert question["method"] == "elicitation/create"
                headers, body = legacy_request("notifications/cancelled", {"requestId": 7}, id=None, session=session)
                await agent.post(None, body, headers)
                await until(lambda: cancelled(server), "the server was told")
        assert len(hub.hub.means.parking) == 0


async def test_an_error_of_a_legacy_agent_reaches_the_legacy_server_as_it_is(asking: Any) -> None:
    _, _, agent = asking
    session = await agent.begin(caps={"elicitation": {}})
    headers, body = legacy_request("tools/call", CALL, id=7, session=session)
    async with agent.stream("POST", None, body, headers) as stream:
        question = await stream.next_message()
        refusal = {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "User rejected"}}
        headers, _ = legacy_request("x", session=session)
        assert (await agent.post(None, refusal, headers)).status == 202
        said = json.loads((await stream.next_message())["result"]["content"][0]["text"])
    assert said["error"] == {"code": -1, "message": "User rejected"}


async def test_an_agent_that_leaves_no_way_to_ask_it_is_told_so(asking: Any) -> None:
    _, server, agent = asking
    session = await agent.begin(caps={"elicitation": {}})
    headers, body = legacy_request("tools/call", CALL, id=7, session=session)
    reply = await agent.post(None, body, {**headers, "Accept": "application/json"})
    assert "text/event-stream" in reply.error["message"]
    await until(lambda: cancelled(server), "the call was ended at its server")


# -- modern servers

BAD_QUESTIONS: dict[str, dict[str, Any]] = {
    "undeclared": {"inputRequests": {"a": {"method": "sampling/createMessage", "params": {}}}},
    "a page, undeclared": {"inputRequests": {"a": {"method": "elicitation/create", "params": {"mode": "url"}}}},
    "no method of the protocol": {"inputRequests": {"a": {"method": "tools/call", "params": {}}}},
    "no object": {"inputRequests": {"a": 1}},
    "no questions and no state": {},
    "a state that is no string": {"requestState": 1},
    "questions in a list": {"inputRequests": [1]},
    "too many": {
        "inputRequests": {str(number): {"method": "elicitation/create"} for number in range(QUESTIONS_MAX + 1)}
    },
    "a state too long": {"requestState": "x" * 70_000},
}


@pytest.mark.parametrize("bad", BAD_QUESTIONS)
async def test_questions_that_nobody_may_be_asked_end_the_call(start: Start, bad: str) -> None:
    """R34, T14: the caller never sees them."""

    async def asks_badly(exchange: Exchange) -> dict[str, Any]:
        return {"resultType": "input_required", **BAD_QUESTIONS[bad]}

    async with ScriptedHttpServer(modern_mcp(on_call=asks_badly)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            reply = await agent.modern("tools/call", CALL, caps={"elicitation": {}})
        assert reply.error["code"] == -31006
        assert len(reply.messages) == 1


PAGES = {
    "https://example.com/connect": True,
    "http://127.0.0.1:8000/": True,
    "http://example.com/": False,
    "javascript:alert(1)": False,
    "file:///etc/passwd": False,
    "https://": False,
    "": False,
}


@pytest.mark.parametrize("url", PAGES)
async def test_only_safe_pages_are_shown_to_people(start: Start, url: str) -> None:
    """T14."""
    page = {"mode": "url", "message": "Connect", "url": url}

    async def asks_for_a_page(exchange: Exchange) -> dict[str, Any]:
        return {
            "resultType": "input_required",
            "inputRequests": {"a": {"method": "elicitation/create", "params": page}},
        }

    async with ScriptedHttpServer(modern_mcp(on_call=asks_for_a_page)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            reply = await agent.modern("tools/call", CALL, caps={"elicitation": {"url": {}}})
        assert ("result" in reply.message) == PAGES[url]


async def test_a_modern_servers_state_goes_back_to_it_as_it_was(start: Start) -> None:
    async def asks_once(exchange: Exchange) -> dict[str, Any]:
        if "requestState" not in exchange.params:
            form = {"method": "elicitation/create", "params": FORM}
            return {"resultType": "input_required", "inputRequests": {"a": form}, "requestState": "mine: \u00e9 {}"}
        said = {key: exchange.params[key] for key in ("requestState", "inputResponses")}
        return {"content": [{"type": "text", "text": json.dumps(said)}]}

    async with ScriptedHttpServer(modern_mcp(on_call=asks_once)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            asked = await first_round(agent)
            assert "mine" not in asked["requestState"]
            reply = await retry(agent, asked)
        said = json.loads(reply.result["content"][0]["text"])
        assert said == {"requestState": "mine: \u00e9 {}", "inputResponses": {"a": answer()}}


async def test_a_server_that_only_asks_for_patience_is_called_again_for_a_legacy_agent(start: Start) -> None:
    async def patience(exchange: Exchange) -> dict[str, Any]:
        if "requestState" not in exchange.params:
            return {"resultType": "input_required", "requestState": "later"}
        return {"content": [{"type": "text", "text": exchange.params["requestState"]}]}

    async with ScriptedHttpServer(modern_mcp(on_call=patience)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin()
            headers, body = legacy_request("tools/call", CALL, id=7, session=session)
            reply = await agent.post(None, body, headers)
        assert reply.result["content"][0]["text"] == "later"


async def test_a_legacy_error_that_wants_pages_opened_becomes_questions(start: Start) -> None:
    page = {"mode": "url", "message": "Connect", "url": "https://example.com/c", "elicitationId": "e1"}
    opened = False

    async def wants_a_page(exchange: Exchange) -> dict[str, Any] | None:
        if not opened:
            await exchange.error(-32042, "Open these", {"elicitations": [page]})
            return None
        return {"content": [{"type": "text", "text": "connected"}]}

    async with ScriptedHttpServer(legacy_mcp(on_call=wants_a_page)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            caps: dict[str, Any] = {"elicitation": {"url": {}}}
            asked = await first_round(agent, caps=caps)
            (question,) = asked["inputRequests"].values()
            assert question["params"]["url"] == page["url"]
            assert "elicitationId" not in question["params"]
            opened = True
            reply = await retry(agent, asked, said={"action": "accept"})
            assert reply.result["content"][0]["text"] == "connected"
            # who can't open pages is told what is missing
            opened = False
            refused = await agent.modern("tools/call", CALL, caps={"elicitation": {}})
            assert refused.error["code"] == -31006
            assert "elicitation" in refused.error["message"]


async def test_a_legacy_agent_hears_when_the_page_it_opened_was_done_with(start: Start) -> None:
    page = {"mode": "url", "message": "Connect", "url": "https://example.com/c"}

    async def asks_for_a_page(exchange: Exchange) -> dict[str, Any]:
        if "inputResponses" not in exchange.params:
            asked = {"a": {"method": "elicitation/create", "params": page}}
            return {"resultType": "input_required", "inputRequests": asked}
        return {"content": [{"type": "text", "text": json.dumps(exchange.params["inputResponses"])}]}

    async with ScriptedHttpServer(modern_mcp(on_call=asks_for_a_page)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin(caps={"elicitation": {"url": {}}})
            headers, body = legacy_request("tools/call", CALL, id=7, session=session)
            async with agent.stream("POST", None, body, headers) as stream:
                question = await stream.next_message()
                accepted = {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept"}}
                headers, _ = legacy_request("x", session=session)
                await agent.post(None, accepted, headers)
                done = await stream.next_message()
                result = await stream.next_message()
        assert done["method"] == "notifications/elicitation/complete"
        assert done["params"]["elicitationId"] == question["params"]["elicitationId"]
        assert json.loads(result["result"]["content"][0]["text"]) == {"a": {"action": "accept"}}


# -- what a careful reader found


@pytest.mark.parametrize("status", [404, 400, 503])
async def test_a_stream_that_is_not_gone_on_with_is_no_reason_to_call_again(start: Start, status: int) -> None:
    """R12: whatever the server answers then, the call may have run."""

    async def lets_go(exchange: Exchange) -> None:
        await exchange.conn.start_events()
        await exchange.conn.chunk(b"id: e1\nretry: 10\ndata: \n\n")
        await exchange.conn.end_events()

    class Forgetful(legacy_mcp):
        async def __call__(self, hit: Any, conn: Any) -> None:
            if hit.method == "GET" and hit.header("Last-Event-ID"):
                await conn.respond(status)
            else:
                await super().__call__(hit, conn)

    async with ScriptedHttpServer(Forgetful(on_call=lets_go)) as server:
        hub = await start(config(at("s", server.url, server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            failed = await agent.modern("tools/call", CALL)
        assert failed.error["code"] == -31006
        assert failed.error["data"]["outcome"] == "unknown"
        assert len(server.hits("tools/call")) == 1


async def test_a_question_that_can_not_be_put_gives_the_call_up(start: Start) -> None:
    """R34: nothing stays parked for a caller that never hears of it."""
    page = {"mode": "url", "message": "Connect", "url": "http://example.com/", "elicitationId": "1"}
    async with ScriptedHttpServer(legacy_mcp(on_call=asks("elicitation/create", page), streamed=True)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            refused = await agent.modern("tools/call", CALL, caps={"elicitation": {"url": {}}})
        assert refused.error["code"] == -31006
        assert len(hub.hub.means.parking) == 0
        await until(lambda: cancelled(server), "the server was told")


async def test_an_error_for_an_answer_ends_the_call_where_a_modern_server_asked(start: Start) -> None:
    async def asks_for_roots(exchange: Exchange) -> dict[str, Any]:
        return {"resultType": "input_required", "inputRequests": {"a": {"method": "roots/list"}}}

    async with ScriptedHttpServer(modern_mcp(on_call=asks_for_roots)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            session = await agent.begin(caps={"roots": {}})
            headers, body = legacy_request("tools/call", CALL, id=7, session=session)
            async with agent.stream("POST", None, body, headers) as stream:
                question = await stream.next_message()
                headers, _ = legacy_request("x", session=session)
                error = {"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "no"}}
                await agent.post(None, error, headers)
                assert (await stream.next_message())["error"]["code"] == -32602
        assert len(server.hits("tools/call")) == 1


async def test_pages_wanted_after_a_question_become_questions_too(start: Start) -> None:
    page = {"mode": "url", "message": "Connect", "url": "https://example.com/c", "elicitationId": "e1"}

    async def asks_and_wants_a_page(exchange: Exchange) -> None:
        await exchange.ask("elicitation/create", FORM)
        await exchange.error(-32042, "Open these", {"elicitations": [page]})

    async with ScriptedHttpServer(legacy_mcp(on_call=asks_and_wants_a_page, streamed=True)) as server:
        hub = await start(config(at("s", server.url)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            caps: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}}
            asked = await first_round(agent, caps=caps)
            answers = {key: answer() for key in asked["inputRequests"]}
            params = {**CALL, "inputResponses": answers, "requestState": asked["requestState"]}
            again = await agent.modern("tools/call", params, caps=caps)
        assert again.result["resultType"] == "input_required"


async def test_a_slow_reader_of_few_places_still_gets_its_answers_through(start: Start) -> None:
    """Parked calls hold their connections; the answers need one more."""
    async with ScriptedHttpServer(legacy_mcp(on_call=asks("elicitation/create", FORM), streamed=True)) as server:
        hub = await start(config(at("s", server.url, concurrency_max=1)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            asked = [await first_round(agent) for _ in range(20)]
            for one in asked:
                assert (await retry(agent, one)).result["resultType"] == "complete"
