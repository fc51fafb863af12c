"""Calls that their user has to agree to, before any server sees them: both eras of agents, both of servers.
Source: hardening T18, T34; specification 2026-07-28, basic/patterns/mrtr."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import mcp_types as types
import msgspec
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from msgspec import UnsetType
from tests.hub.asked import Person
from tests.hub.bound import house, logical, serving, tool
from tests.hub.conftest import Running, Start, at, config
from tests.hub.test_eras import AGENTS
from tests.hub.test_guards import acts
from tests.hub.test_inputs import retry
from tests.observe.audit_kit import entries

from concento.app import Hub
from concento.model.auditing import Audit
from concento.model.call import ALL, Call, Profile
from concento.model.config import Address
from concento.model.guards import Guard, Redaction
from concento.model.limits import CONFIRM_CHARS_MAX
from concento.model.principal import ANONYMOUS
from concento.protocol.jsonrpc import raw
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import ECHO_TOOL, Exchange, asks, legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent
from concento.testing.waiting import until

SURE = Guard("sure", confirm="destructive")
CAPS: dict[str, Any] = {"elicitation": {}}
CALL = {"name": "s__echo", "arguments": {"text": "all of it"}}
ERAS = [modern_mcp, legacy_mcp]


class Decided(Person):
    """Answers every form in the same way."""

    def __init__(self, action: Any, content: Any = None) -> None:
        super().__init__()
        self.said = types.ElicitResult(action=action, content=content)

    async def elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        self.asked.append(params)
        return self.said


def hinted(**hints: bool) -> dict[str, Any]:
    return {**ECHO_TOOL, "annotations": hints}


async def first(agent: RawAgent, call: Any = CALL) -> Any:
    """What a caller that can ask its user gets first."""
    return (await agent.modern("tools/call", call, caps=CAPS)).result


@pytest.mark.parametrize("mode", AGENTS)
@pytest.mark.parametrize("kind", ERAS)
async def test_the_user_is_asked_and_the_call_goes_on_with_their_word(start: Start, mode: str, kind: Any) -> None:
    person = Decided("accept", {"confirm": True})
    async with ScriptedHttpServer(kind()) as server:
        hub = await start(config(at("s", server.url), guards=(SURE,)))
        await hub.ready("s")
        async with person.client(hub.mcp, mode) as client:
            result = await client.call_tool("s__echo", {"text": "all of it"})
        assert result.structured_content == {"text": "all of it"}
        (question,) = person.asked
        assert question.message == (
            "Call 'echo' of 's', which may change or delete something? It gets " + json.dumps({"text": "all of it"})
        )
        assert len(server.hits("tools/call")) == 1
        assert acts(hub) == {("sure", "asked"): 1, ("sure", "confirmed"): 1}


@pytest.mark.parametrize("mode", AGENTS)
@pytest.mark.parametrize(
    ("action", "content"), [("decline", None), ("cancel", None), ("accept", {"confirm": False}), ("accept", {})]
)
async def test_without_their_word_nothing_reaches_the_server(
    start: Start, mode: str, action: Any, content: Any
) -> None:
    person = Decided(action, content)
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(SURE,)))
        await hub.ready("s")
        async with person.client(hub.mcp, mode) as client:
            with pytest.raises(MCPError, match="did not agree"):
                await client.call_tool("s__echo", {"text": "x"})
        assert len(person.asked) == 1
        assert not server.hits("tools/call")
        assert acts(hub) == {("sure", "asked"): 1}


@pytest.mark.parametrize("mode", AGENTS)
async def test_a_client_that_can_not_ask_is_refused_with_a_remedy(start: Start, mode: str) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(SURE,)))
        await hub.ready("s")
        async with Client(hub.mcp, mode=mode) as client:
            with pytest.raises(MCPError, match="did not say that it can ask"):
                await client.call_tool("s__echo", {"text": "x"})
        assert not server.hits("tools/call")


@pytest.mark.parametrize(
    ("hints", "trusted", "asked"),
    [
        ({}, True, True),
        ({"readOnlyHint": True}, True, False),
        ({"destructiveHint": False}, True, False),
        ({"destructiveHint": True}, True, True),
        ({"readOnlyHint": True}, False, True),
        ({"destructiveHint": False}, False, True),
    ],
)
async def test_what_a_tool_says_of_itself_counts_where_its_server_is_trusted(
    start: Start, hints: dict[str, bool], trusted: bool, asked: bool
) -> None:
    """T18: a tool that lies about itself is asked about all the same."""
    async with ScriptedHttpServer(modern_mcp(tools=[hinted(**hints)])) as server:
        hub = await start(config(at("s", server.url, trust_hints=trusted), guards=(SURE,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert ((await first(agent))["resultType"] == "input_required") is asked
        assert len(server.hits("tools/call")) == (0 if asked else 1)


async def test_always_asks_of_tools_that_only_read_too(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp(tools=[hinted(readOnlyHint=True)])) as server:
        hub = await start(config(at("s", server.url, trust_hints=True), guards=(Guard("sure", confirm="always"),)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await first(agent))["resultType"] == "input_required"
        assert not server.hits("tools/call")


async def test_what_is_shown_is_short_and_hides_nothing(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(SURE,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            text = "a\u202eb\u200bc\x1b[31m\n\U000e0041d" + "x" * 5000
            asked = await first(agent, {"name": "s__echo", "arguments": {"text": text}})
        (question,) = asked["inputRequests"].values()
        message = question["params"]["message"]
        assert message.isprintable()
        assert 'It gets {"text": "abc' in message
        assert "characters more" in message
        assert len(message) < CONFIRM_CHARS_MAX + 200
        assert question["params"]["_meta"] == {"dev.concento/server": "s"}


async def test_the_word_is_given_for_these_arguments_of_this_tool_only(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), at("t", server.url), guards=(SURE,)))
        await hub.ready("s", "t")
        async with RawAgent(hub.mcp) as agent:
            asked = await first(agent)
            said = {"action": "accept", "content": {"confirm": True}}
            for call in ({**CALL, "arguments": {"text": "something else"}}, {**CALL, "name": "t__echo"}):
                assert (await retry(agent, asked, call, said)).error["code"] == -32602
            assert (await retry(agent, asked, CALL, said, requestState=asked["requestState"][:-4] + "AAAA")).error
            assert not server.hits("tools/call")
            assert (await retry(agent, asked, CALL, said)).result["structuredContent"] == CALL["arguments"]


async def test_what_the_user_declined_is_on_record_as_that(start: Start, tmp_path: Path) -> None:
    async with ScriptedHttpServer(modern_mcp()) as server:
        audit = Audit(path=tmp_path / "audit.db")
        hub = await Hub.create(config(at("s", server.url), guards=(SURE,), audit=audit), keep=False, audit=True)
        running = Running(hub, await hub.listen(Address("127.0.0.1", 0)))
        await running.ready("s")
        async with RawAgent(running.mcp) as agent:
            await retry(agent, await first(agent), CALL, {"action": "decline"})
        await hub.close(drain_s=1.0)
    told = [(one.decision, one.rule, [act.did for act in one.guards]) for one in entries(tmp_path / "audit.db", "call")]
    assert told == [("allow", "", ["asked"]), ("forbidden", "confirm", [])]


@pytest.mark.parametrize("kind", ERAS)
async def test_a_servers_own_question_comes_after_the_users_word_and_asks_for_it_no_second_time(
    start: Start, kind: Any
) -> None:
    form = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {"x": {"type": "string"}}}}

    async def asks_modern(exchange: Exchange) -> Any:
        if "inputResponses" in exchange.params:
            return {"content": [{"type": "text", "text": json.dumps(exchange.params["inputResponses"])}]}
        question = {"method": "elicitation/create", "params": {"mode": "form", **form}}
        return {"resultType": "input_required", "inputRequests": {"q": question}, "requestState": "s"}

    hook = asks_modern if kind is modern_mcp else asks("elicitation/create", form)
    async with ScriptedHttpServer(kind(on_call=hook, streamed=True)) as server:
        hub = await start(config(at("s", server.url), guards=(SURE,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            asked = await first(agent)
            assert not server.hits("tools/call")
            asked = (await retry(agent, asked, CALL, {"action": "accept", "content": {"confirm": True}})).result
            (question,) = asked["inputRequests"].values()
            assert question["params"]["message"] == "Which?"
            done = (await retry(agent, asked, CALL, {"action": "accept", "content": {"x": "blue"}})).result
            assert "blue" in done["content"][0]["text"]
            assert "confirm" not in done["content"][0]["text"], "what the hub asked is not the server's to know"


async def test_a_call_that_is_a_task_from_the_start_shows_the_question_in_it(start: Start) -> None:
    """As agents of 2025-11-25 make them."""
    params = {name: raw(value) for name, value in CALL.items()}
    asks_form = Profile(abilities=frozenset({"elicitation"}))
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(SURE,)))
        await hub.ready("s")
        tasks = hub.hub.gateway.tasks
        begun = await tasks.start(Call("tools/call", params, {}, "s__echo", ALL, ANONYMOUS, asks_form))
        asked = await tasks.result(begun.id, ANONYMOUS)
        assert (asked.status, server.hits("tools/call")) == ("input_required", [])
        assert not isinstance(asked.questions, UnsetType)
        said = {
            key: raw({"action": "accept", "content": {"confirm": True}}) for key in msgspec.json.decode(asked.questions)
        }
        await tasks.update(begun.id, ANONYMOUS, said)
        done = await tasks.settled(begun.id, ANONYMOUS)
        assert not isinstance(done.result, UnsetType)
        assert msgspec.json.decode(done.result)["structuredContent"] == CALL["arguments"]
        assert len(server.hits("tools/call")) == 1


async def test_arguments_are_searched_after_the_user_has_seen_them(start: Start) -> None:
    guard = Guard("all", confirm="always", redaction=Redaction(("email",), ("arguments",)))
    call = {"name": "s__echo", "arguments": {"text": "alice@example.com"}}
    async with ScriptedHttpServer(modern_mcp()) as server:
        hub = await start(config(at("s", server.url), guards=(guard,)))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            asked = await first(agent, call)
            assert "alice@example.com" in json.dumps(asked["inputRequests"])
            done = await retry(agent, asked, call, {"action": "accept", "content": {"confirm": True}})
            assert done.result["structuredContent"] == {"text": "[redacted: email]"}


async def test_a_logical_tool_asks_about_the_server_that_answers(start: Start, stack: AsyncExitStack) -> None:
    servers = [serving(definition=tool()), serving(definition=tool())]
    at_home = await house(start, stack, servers, logical("a.search", "b.search"), guards=(SURE,))
    call = {"name": "web_search", "arguments": {"query": "x"}}
    asked = await first(at_home.agent, call)
    (question,) = asked["inputRequests"].values()
    assert question["params"]["message"].startswith("Call 'search' of 'a'")
    assert at_home.executed() == [0, 0]
    said = {"action": "accept", "content": {"confirm": True}}
    assert "result" in (await retry(at_home.agent, asked, call, said)).message
    assert at_home.executed() == [1, 0]
    asked = await first(at_home.agent, call)
    assert (await retry(at_home.agent, asked, call, {"action": "decline"})).error["code"] == -31007
    assert at_home.executed() == [1, 0]


async def test_what_asks_several_servers_at_once_can_ask_nobody(start: Start, stack: AsyncExitStack) -> None:
    one = logical("a.search", "b.search", strategy="fanout")
    at_home = await house(start, stack, [serving(), serving()], one, guards=(SURE,))
    refused = await at_home.agent.modern("tools/call", {"name": "web_search", "arguments": {"query": "x"}}, caps=CAPS)
    assert refused.error["code"] == -31007
    assert at_home.executed() == [0, 0]


async def test_a_copy_is_not_sent_where_a_user_would_have_to_agree(start: Start, stack: AsyncExitStack) -> None:
    one = logical("a.search", "b.search", strategy="shadow")
    guard = Guard("sure", ("b.*",), confirm="always")
    at_home = await house(start, stack, [serving(), serving()], one, guards=(guard,))
    assert "result" in (await at_home.agent.modern("tools/call", {"name": "web_search", "arguments": {}})).message
    gateway = at_home.hub.hub.gateway
    await until(lambda: acts(at_home.hub) == {("sure", "refused"): 1}, "the copy is refused")
    assert (at_home.executed(), len(gateway.shadows.tasks)) == ([1, 0], 0)
