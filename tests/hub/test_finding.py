"""Tools found and called by what an agent needs, through a whole hub."""

import json
from contextlib import AsyncExitStack
from types import MappingProxyType
from typing import Any

import pytest
from msgspec import Raw
from tests.embedding.test_sentence_model import MODEL
from tests.hub.bound import logical, serving, tool, with_tools
from tests.hub.conftest import Running, Start, at, config

from concento.model.auth import Auth
from concento.model.call import ALL, NO_ABILITIES, Call
from concento.model.config import ToolOverride, View
from concento.model.limiting import LimitRule
from concento.model.policy import Conditions, Role, Rule
from concento.model.policy import Test as ValueTest
from concento.model.principal import ANONYMOUS
from concento.model.search import Embeddings, Search
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import ScriptedMcp, asks, legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent, RawReply, legacy_request, modern_request
from concento.testing.waiting import until

READS = {"annotations": {"readOnlyHint": True}}
BLAME = tool(
    "blame", "path", description="Show the author of the last change of each line of a file", title="Blame", **READS
)
BLAME["inputSchema"]["required"] = ["path"]
PUSH = tool("push", "branch", description="Send commits of a branch to the remote repository")
WEATHER = tool("forecast", "city", description="The weather forecast of a city: temperature and rain", **READS)
SAYS = "show the author of the last change of each line of a file"
PERSON = {"message": "?", "requestedSchema": {"type": "object", "properties": {"x": {"type": "string"}}}}
SURE = Search(fits=0.15, sure=0.5)
UNSURE = Search(fits=0.15, sure=1.0)


def git(**options: Any) -> ScriptedHttpServer:
    return ScriptedHttpServer(modern_mcp(tools=[BLAME, PUSH], **options))


def weather(**options: Any) -> ScriptedHttpServer:
    return ScriptedHttpServer(modern_mcp(tools=[WEATHER], **options))


async def hub_of(
    start: Start, stack: AsyncExitStack, servers: dict[str, ScriptedHttpServer], **options: Any
) -> tuple[Running, RawAgent]:
    of_server = options.pop("server", {"trust_hints": True})
    known = [at(alias, (await stack.enter_async_context(one)).url, **of_server) for alias, one in servers.items()]
    hub = await start(config(*known, **{"expose": "search", "search": SURE, **options}))
    await hub.ready(*servers)
    return hub, await stack.enter_async_context(RawAgent(hub.mcp))


async def call(agent: RawAgent, name: str, arguments: dict[str, Any], **options: Any) -> RawReply:
    return await agent.modern(
        "tools/call", {"name": name, "arguments": arguments, **options.pop("more", {})}, **options
    )


async def find(agent: RawAgent, query: str, **more: Any) -> dict[str, Any]:
    return dict((await call(agent, "find_tools", {"query": query, **more})).result)


async def use(agent: RawAgent, **arguments: Any) -> dict[str, Any]:
    return dict((await call(agent, "use_capability", arguments)).result)


def names(found: dict[str, Any]) -> list[str]:
    return [one["name"] for one in found["structuredContent"]["tools"]]


# -- what is shown


@pytest.mark.parametrize(
    ("expose", "listed"),
    [
        ("all", ["git__blame", "git__push"]),
        ("search", ["find_tools", "use_capability"]),
        ("both", ["find_tools", "use_capability", "git__blame", "git__push"]),
    ],
)
async def test_an_endpoint_lists_what_it_is_told_to(
    start: Start, stack: AsyncExitStack, expose: str, listed: list[str]
) -> None:
    hub, agent = await hub_of(start, stack, {"git": git()}, expose=expose)
    assert [one["name"] for one in (await agent.modern("tools/list")).result["tools"]] == listed
    unlisted = await call(agent, "git__blame", {"path": "x"})
    assert unlisted.result["content"]
    async with RawAgent(f"{hub.url}/servers/git/mcp") as direct:
        own = (await direct.modern("tools/list")).result["tools"]
        assert [one["name"] for one in own] == ["blame", "push"]
    instructions = (await agent.modern("server/discover")).result.get("instructions", "")
    assert ("find_tools" in instructions) is (expose == "search")
    meta_tool = await call(agent, "find_tools", {"query": SAYS})
    assert ("error" in meta_tool.message) is (expose == "all")
    assert hub.hub.current.snapshot.config.expose == expose


async def test_each_view_says_for_itself(start: Start, stack: AsyncExitStack) -> None:
    views = (View("few", ("git.*",), expose="search"), View("whole", ("*",)))
    hub, _ = await hub_of(start, stack, {"git": git(), "weather": weather()}, views=views, expose="all")
    async with RawAgent(f"{hub.url}/views/few/mcp") as agent:
        assert [one["name"] for one in (await agent.modern("tools/list")).result["tools"]] == [
            "find_tools",
            "use_capability",
        ]
        assert "weather__forecast" not in names(await find(agent, "weather forecast of a city"))
    async with RawAgent(f"{hub.url}/views/whole/mcp") as agent:
        assert len((await agent.modern("tools/list")).result["tools"]) == 3


async def test_a_server_can_not_take_the_names_of_the_hubs_own_tools(start: Start, stack: AsyncExitStack) -> None:
    impostor = serving(definition=tool("find_tools"))
    _, agent = await hub_of(start, stack, {"s": impostor}, expose="both", server={"prefix": "never"})
    listed = [one["name"] for one in (await agent.modern("tools/list")).result["tools"]]
    assert listed[:2] == ["find_tools", "use_capability"]
    assert listed[2].startswith("find_tools_")
    await find(agent, "anything")
    assert impostor.hits("tools/call") == []


async def test_a_session_of_the_older_era_finds_and_calls(start: Start, stack: AsyncExitStack) -> None:
    _, agent = await hub_of(start, stack, {"git": git()})
    session = await agent.begin()

    async def said(name: str, arguments: dict[str, Any]) -> Any:
        headers, body = legacy_request("tools/call", {"name": name, "arguments": arguments}, session=session)
        return (await agent.post(None, body, headers)).result

    found = await said("find_tools", {"query": SAYS})
    assert names(found)[0] == "git__blame"
    assert (await said("use_capability", {"tool": "git__blame", "arguments": {"path": "x"}}))["content"]


# -- find_tools


async def test_the_right_tool_comes_first_with_its_schema(start: Start, stack: AsyncExitStack) -> None:
    _, agent = await hub_of(start, stack, {"git": git(), "weather": weather()})
    found = await find(agent, SAYS)
    best = found["structuredContent"]["tools"][0]
    assert found["structuredContent"]["fits"] is True
    assert best["name"] == "git__blame"
    assert best["inputSchema"] == BLAME["inputSchema"]
    assert json.loads(found["content"][0]["text"]) == found["structuredContent"]
    about = found["_meta"]["dev.concento/search"]
    assert 0 < about["likely"] <= 1
    assert about["tokensOfAll"] > 50
    assert len(about["scores"]) == len(found["structuredContent"]["tools"])


async def test_the_budget_cuts_schemas_then_tools(start: Start, stack: AsyncExitStack) -> None:
    wide = [
        tool(f"read_{number}", *(f"argument_{n}" for n in range(40)), description=f"Read the file number {number}")
        for number in range(8)
    ]
    _, agent = await hub_of(start, stack, {"s": ScriptedHttpServer(modern_mcp(tools=wide))})
    whole = await find(agent, "read the file", limit=8, max_tokens=100_000)
    assert all("inputSchema" in one for one in whole["structuredContent"]["tools"])
    cut = await find(agent, "read the file", limit=8, max_tokens=500)
    assert len(json.dumps(cut["structuredContent"]["tools"])) < 500 * 4 + 200
    assert "inputSchema" in cut["structuredContent"]["tools"][0]
    assert "inputSchema" not in cut["structuredContent"]["tools"][-1]
    least = await find(agent, "read the file", limit=8, max_tokens=100)
    assert least["structuredContent"]["omitted"] > 0
    assert len(least["structuredContent"]["tools"]) + least["structuredContent"]["omitted"] == 8


async def test_where_nothing_fits_it_is_said_with_the_nearest(start: Start, stack: AsyncExitStack) -> None:
    _, agent = await hub_of(start, stack, {"git": git(), "weather": weather()}, search=Search(fits=0.6))
    found = (await find(agent, "order a taxi to the station and pay with the city card"))["structuredContent"]
    assert found["fits"] is False
    assert found["message"].startswith("Nothing fits.")
    assert all("inputSchema" not in one for one in found["tools"])
    nothing = (await find(agent, "zzz qqq"))["structuredContent"]
    assert nothing == {"fits": False, "message": "Nothing fits.", "tools": []}


async def test_what_the_operator_says_a_tool_is_for_is_found(start: Start, stack: AsyncExitStack) -> None:
    override = {"push": ToolOverride(capability="publish my work for colleagues", tags=("deploy",))}
    known = {"trust_hints": True, "tools": MappingProxyType(override)}
    _, agent = await hub_of(start, stack, {"git": git()}, server=known)
    assert names(await find(agent, "publish my work"))[0] == "git__push"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"query": ""},
        {"query": 1},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": 51},
        {"query": "x", "max_tokens": 5},
        {"query": "x", "more": True},
        {"query": "x" * 2001},
    ],
)
async def test_wrong_arguments_are_told_to_whoever_gave_them(
    start: Start, stack: AsyncExitStack, arguments: dict[str, Any]
) -> None:
    _, agent = await hub_of(start, stack, {"git": git()})
    result = (await call(agent, "find_tools", arguments)).result
    assert result["isError"] is True
    assert "find_tools" in result["content"][0]["text"]


# -- use_capability


async def test_a_clear_and_harmless_choice_is_called(start: Start, stack: AsyncExitStack) -> None:
    server = git()
    _, agent = await hub_of(start, stack, {"git": server, "weather": weather()})
    result = await use(agent, capability=SAYS, arguments={"path": "a.py"})
    (hit,) = server.hits("tools/call")
    assert hit.message["params"]["name"] == "blame"
    assert hit.message["params"]["arguments"] == {"path": "a.py"}
    about = result["_meta"]["dev.concento/capability"]
    assert about["tool"] == "git__blame"
    assert about["likely"] >= 0.5
    assert about["candidates"][0]["tool"] == "git__blame"


@pytest.mark.parametrize(
    ("options", "capability", "why"),
    [
        ({"search": UNSURE}, SAYS, "no tool is clearly"),
        ({"server": {"trust_hints": False}}, SAYS, "may change something"),
        ({}, "send commits of a branch to the remote repository", "may change something"),
    ],
    ids=["not sure", "hints that nobody vouches for", "not read-only"],
)
async def test_else_nothing_is_called_and_the_agent_chooses(
    start: Start, stack: AsyncExitStack, options: dict[str, Any], capability: str, why: str
) -> None:
    server = git()
    _, agent = await hub_of(start, stack, {"git": server, "weather": weather()}, **options)
    arguments = {"branch": "main"} if "branch" in capability else {"path": "a.py"}
    result = await use(agent, capability=capability, arguments=arguments)
    told = result["structuredContent"]
    assert told["called"] is False
    assert why in told["message"]
    assert server.hits("tools/call") == []
    chosen = told["candidates"][0]
    assert chosen["inputSchema"]["properties"].keys() == arguments.keys()
    done = await use(agent, tool=chosen["name"], arguments=arguments)
    assert done["content"]
    assert len(server.hits("tools/call")) == 1


async def test_what_the_arguments_do_not_fit_is_not_called(start: Start, stack: AsyncExitStack) -> None:
    server = git()
    _, agent = await hub_of(start, stack, {"git": server})
    told = (await use(agent, capability=SAYS, arguments={}))["structuredContent"]
    assert told["called"] is False
    problems = {one["name"]: one.get("problem") for one in told["candidates"]}
    assert problems["git__blame"] == "it needs 'path'"
    assert server.hits("tools/call") == []


async def test_a_tool_whose_server_is_gone_is_not_chosen(start: Start, stack: AsyncExitStack) -> None:
    first, second = git(), git()
    hub, agent = await hub_of(start, stack, {"one": first, "two": second}, search=Search(sure=0.3))
    await first.stop()
    for _ in range(6):  # until it counts as not well
        await call(agent, "one__blame", {"path": "x"})
    upstream = hub.hub.upstreams.get("one")
    assert not upstream.is_well
    result = await use(agent, capability=SAYS, arguments={"path": "x"})
    assert result["_meta"]["dev.concento/capability"]["tool"] == "two__blame"
    told = {one["tool"]: one["problem"] for one in result["_meta"]["dev.concento/capability"]["candidates"]}
    assert told["one__blame"] == "its server is not well"


async def test_a_logical_tool_is_found_as_one(start: Start, stack: AsyncExitStack) -> None:
    servers = [await stack.enter_async_context(git()) for _ in range(2)]
    known = [at(alias, server.url, trust_hints=True) for alias, server in zip("ab", servers, strict=True)]
    one = logical("a.blame", "b.blame", name="who_wrote", description="Find out who wrote each line of a file")
    hub = await start(with_tools(config(*known, expose="search", search=Search(sure=0.2)), one))
    await hub.ready("a", "b")
    async with RawAgent(hub.mcp) as agent:
        result = await use(agent, capability="find out who wrote each line of a file", arguments={"path": "x"})
        assert result["_meta"]["dev.concento/capability"]["tool"] == "who_wrote"
    assert [len(server.hits("tools/call")) for server in servers] == [1, 0]


async def test_an_unknown_choice_is_answered_as_an_unknown_tool(start: Start, stack: AsyncExitStack) -> None:
    _, agent = await hub_of(start, stack, {"git": git()})
    for name in ("git__blam", "use_capability"):
        direct = await call(agent, name + "x", {})
        chosen = await call(agent, "use_capability", {"tool": name + "x"})
        assert chosen.error["code"] == direct.error["code"] == -32602
        assert chosen.error["message"] == direct.error["message"]


async def test_a_call_that_asks_its_agent_goes_on_where_it_was(start: Start, stack: AsyncExitStack) -> None:
    server = ScriptedHttpServer(
        legacy_mcp(tools=[BLAME, PUSH], on_call=asks("elicitation/create", PERSON), streamed=True)
    )
    _, agent = await hub_of(start, stack, {"git": server})
    arguments = {"capability": SAYS, "arguments": {"path": "x"}}
    caps: dict[str, Any] = {"elicitation": {}}
    asked = (await call(agent, "use_capability", arguments, caps=caps)).result
    assert asked["resultType"] == "input_required"
    answers = {key: {"action": "accept", "content": {"x": "me"}} for key in asked["inputRequests"]}
    again = {"inputResponses": answers, "requestState": asked["requestState"]}
    done = await call(agent, "use_capability", arguments, caps=caps, more=again, id=2)
    assert '"me"' in done.result["content"][0]["text"]
    assert len(server.hits("tools/call")) == 1
    forged = await call(agent, "use_capability", {**arguments, "arguments": {"path": "y"}}, caps=caps, more=again, id=3)
    assert forged.error["code"] == -32602


async def test_a_key_of_the_agents_own_has_the_chosen_tool_run_once(start: Start, stack: AsyncExitStack) -> None:
    server = git()
    _, agent = await hub_of(start, stack, {"git": server})
    for _ in range(3):
        arguments = {"capability": SAYS, "arguments": {"path": "x"}}
        reply = await call(agent, "use_capability", arguments, meta={"dev.concento/idempotencyKey": "k"})
        assert reply.result["content"]
    assert len(server.hits("tools/call")) == 1


async def test_arguments_named_twice_are_refused(start: Start, stack: AsyncExitStack) -> None:
    server = git()
    _, agent = await hub_of(start, stack, {"git": server})
    headers, body = modern_request("tools/call", {"name": "use_capability", "arguments": {"tool": "git__blame"}})
    twice = body.replace(b'"tool": "git__blame"', b'"tool": "git__blame", "arguments": {"path": "a", "path": "b"}')
    assert (await agent.post(None, twice, headers)).error["code"] == -32600
    assert server.hits("tools/call") == []


# -- who sees what


async def guarded_hub(start: Start, stack: AsyncExitStack, server: ScriptedHttpServer, **options: Any) -> Running:
    await stack.enter_async_context(server)
    configuration = config(
        at("git", server.url, trust_hints=True),
        expose="search",
        search=SURE,
        auth=Auth(),
        roles=MappingProxyType({"reader": Role("reader", ("git.blame",)), "all": Role("all", ("*",))}),
        **options,
    )
    hub = await start(configuration)
    await hub.ready("git")
    return hub


async def test_what_a_caller_can_not_see_is_neither_found_nor_weighed(start: Start, stack: AsyncExitStack) -> None:
    hub = await guarded_hub(start, stack, git())
    alone = ScriptedHttpServer(modern_mcp(tools=[BLAME]))
    other = await guarded_hub(start, stack, alone)
    replies = []
    for one in (hub, other):
        _, key = await one.hub.keys.create("alice", roles=("reader",))
        async with RawAgent(one.mcp, bearer=key) as agent:
            replies.append([await find(agent, query) for query in (SAYS, "send commits to the remote", "push")])
    assert replies[0] == replies[1], "a hidden tool leaves no trace, not even in scores"
    assert "push" not in json.dumps(replies[0]).replace('"push"', "")


async def test_a_rule_on_arguments_holds_for_what_is_chosen(start: Start, stack: AsyncExitStack) -> None:
    server = git()
    condition = Conditions(arguments=(("path", ValueTest("eq", "secret")),))
    rule = Rule("no secrets", "deny", ("git.*",), when=condition)
    hub = await guarded_hub(start, stack, server, policies=(rule,))
    _, key = await hub.hub.keys.create("alice", roles=("all",))
    async with RawAgent(hub.mcp, bearer=key) as agent:
        refused = await call(agent, "use_capability", {"tool": "git__blame", "arguments": {"path": "secret"}})
        assert refused.status == 403
        told = await use(agent, capability=SAYS, arguments={"path": "secret"})
        problems = {one["tool"]: one["problem"] for one in told["_meta"]["dev.concento/capability"]["candidates"]}
        assert problems["git__blame"] == "you may see it, but not call it so"
        assert server.hits("tools/call") == []
        assert (await use(agent, capability=SAYS, arguments={"path": "open"}))["content"]
    assert b'server="git",tenant="default",tool="blame"' in hub.hub.metrics.text(), (
        "what was called is recorded as the server's"
    )


async def test_searches_are_bounded(start: Start, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concento.gateway.search.WAITING_MAX", 0)
    _, agent = await hub_of(start, stack, {"git": git()})
    reply = await call(agent, "find_tools", {"query": "x"})
    assert (reply.status, reply.error["code"]) == (503, -31004)


async def test_an_index_goes_with_its_view(
    start: Start, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concento.gateway.search.INDEXES_MAX", 2)
    views = tuple(View(name, ("git.*",), expose="search") for name in ("one", "two", "three"))
    hub, _ = await hub_of(start, stack, {"git": git()}, views=views)
    for _ in range(2):
        for view in views:
            async with RawAgent(f"{hub.url}/views/{view.name}/mcp") as agent:
                assert names(await find(agent, SAYS))[0] == "git__blame"
    assert len(hub.hub.gateway.finder._indexes) == 2


async def test_a_list_that_changes_is_searched_anew(start: Start, stack: AsyncExitStack) -> None:
    server = git()
    hub, agent = await hub_of(start, stack, {"git": server})
    assert names(await find(agent, SAYS))[0] == "git__blame"
    assert isinstance(server.handler, ScriptedMcp)
    server.handler.tools = [tool("annotate", description=SAYS)]
    hub.hub.federation._changed("git", "tools")  # as the server would say itself
    view = hub.hub.current.snapshot
    await until(lambda: hub.hub.current.snapshot is not view, "the list was fetched again")
    assert names(await find(agent, SAYS)) == ["git__annotate"]


# -- by meaning


async def test_a_sentence_model_finds_what_shares_no_word(start: Start, stack: AsyncExitStack) -> None:
    others = [tool(f"{name}_it", description=f"{name.title()} a thing") for name in ("paint", "weld", "peel", "knit")]
    server = ScriptedHttpServer(
        modern_mcp(tools=[*others, tool("deploy_release", description="Roll out to production")])
    )
    hub, agent = await hub_of(
        start, stack, {"s": server}, search=Search(fits=0.0, embeddings=Embeddings(directory=MODEL))
    )
    need = "bring the new version live for all customers"
    await find(agent, need)  # has the vectors made; until they are there, words alone decide
    await hub.hub.gateway.finder.settle()
    found = await find(agent, need)
    assert names(found)[0] == "s__deploy_release"
    assert not hub.hub.notes


async def test_without_its_model_the_hub_finds_by_words_and_says_so(start: Start, stack: AsyncExitStack) -> None:
    where = Embeddings(url="http://127.0.0.1:9/v1/embeddings", model="small")
    hub, agent = await hub_of(start, stack, {"git": git()}, search=Search(embeddings=where))
    for _ in range(2):
        assert names(await find(agent, SAYS))[0] == "git__blame"
        await hub.hub.gateway.finder.settle()
    (note,) = hub.hub.notes
    assert note.startswith("tools are found by words alone: the embeddings endpoint can't be asked")


# -- what a review found


async def test_two_that_fit_alike_are_told_and_none_is_called(start: Start, stack: AsyncExitStack) -> None:
    one, other = git(), git()
    _, agent = await hub_of(start, stack, {"prod": one, "staging": other}, search=Search())
    told = (await use(agent, capability=SAYS, arguments={"path": "x"}))["structuredContent"]
    assert told["called"] is False
    assert {one["name"] for one in told["candidates"]} >= {"prod__blame", "staging__blame"}
    assert one.hits("tools/call") == other.hits("tools/call") == []


async def test_searches_count_against_limits_and_what_is_refused_searches_nothing(
    start: Start, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = LimitRule("each", rate=1.0, per_s=3600.0)
    hub, agent = await hub_of(start, stack, {"git": git()}, limits=(limit,), server={"trust_hints": False})
    found = 0
    find_in = hub.hub.gateway.finder.find

    async def counted(*given: Any) -> Any:
        nonlocal found
        found += 1
        return await find_in(*given)

    monkeypatch.setattr(hub.hub.gateway.finder, "find", counted)
    statuses = [(await call(agent, "use_capability", {"capability": SAYS})).status for _ in range(5)]
    assert statuses == [200, 429, 429, 429, 429]
    rubbish = {"requestState": "rubbish", "inputResponses": {}}
    await call(agent, "use_capability", {"capability": SAYS}, more=rubbish)
    assert found == 1


async def test_what_ends_wrong_gives_its_place_back(start: Start, stack: AsyncExitStack) -> None:
    limit = LimitRule("at once", per=("global",), concurrency=1)
    one = logical("a.search", "b.search", strategy="split", feedback=True)
    servers = [await stack.enter_async_context(serving()) for _ in range(2)]
    known = [at(alias, server.url) for alias, server in zip("ab", servers, strict=True)]
    hub = await start(with_tools(config(*known, limits=(limit,), expose="both"), one))
    await hub.ready("a", "b")
    async with RawAgent(hub.mcp) as agent:
        for name in ("feedback", "find_tools", "use_capability") * 3:
            wrong = await call(agent, name, {"tool": "nope", "useful": True} if name == "feedback" else {})
            assert wrong.status == 200, name
        assert (await call(agent, "web_search", {"query": "x"})).result["content"]


async def test_a_number_beyond_a_float_is_passed_on_as_it_came(start: Start, stack: AsyncExitStack) -> None:
    server = git()
    _, agent = await hub_of(start, stack, {"git": server})
    headers, body = modern_request(
        "tools/call", {"name": "use_capability", "arguments": {"capability": SAYS, "arguments": {"path": "HUGE"}}}
    )
    reply = await agent.post(None, body.replace(b'"HUGE"', b"1e400"), headers)
    assert reply.status == 200
    assert reply.result["structuredContent"]["called"] is False


async def test_a_call_that_is_given_up_while_it_waits_is_ended_at_its_server(
    start: Start, stack: AsyncExitStack
) -> None:
    server = ScriptedHttpServer(
        legacy_mcp(tools=[BLAME, PUSH], on_call=asks("elicitation/create", PERSON), streamed=True)
    )
    hub, agent = await hub_of(start, stack, {"git": server})
    caps: dict[str, Any] = {"elicitation": {}}
    for arguments in (
        {"capability": SAYS, "arguments": {"path": "x"}},
        {"tool": "git__blame", "arguments": {"path": "x"}},
    ):
        asked = await call(agent, "use_capability", arguments, caps=caps)
        given = Call(
            "tools/call",
            {"name": Raw(b'"use_capability"'), "arguments": Raw(json.dumps(arguments).encode())},
            {},
            "use_capability",
            ALL,
            ANONYMOUS,
            NO_ABILITIES,
            state=asked.result["requestState"],
        )
        assert len(hub.hub.upstreams.parking) == 1
        hub.hub.gateway.abandon(given)
        assert len(hub.hub.upstreams.parking) == 0
