"""Every method, asked by everybody, about everything: who may not use a thing can't tell it from one that is not there.

A method without a row fails the test. Source: hardening T4, T5, T6.
"""

import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.hub.conftest import Start, at, config
from tests.hub.guarded import PEOPLE, TASKS, Guarded, guarded, server

from concento.front import legacy_tasks, session
from concento.gateway.call import TELL
from concento.gateway.resolve import RESOLVE
from concento.gateway.task_refs import ABOUT_TASKS
from concento.model.extensions import SKILLS_METHODS
from concento.model.policy import Rule
from concento.testing.raw_agent import RawAgent, RawReply, legacy_request, modern_request

CAPS: dict[str, Any] = {"extensions": {TASKS: {}}, "elicitation": {"form": {}}}
OK = "ok"
Answer = tuple[str, Any]
Ask = Callable[[RawAgent, str], Awaitable[Answer]]


def told(reply: RawReply) -> Answer:
    """What came back: a result, or the whole error with its status."""
    if "error" in reply.message:
        return f"{reply.status}", reply.message["error"]
    return OK, reply.result


async def modern(agent: RawAgent, method: str, params: dict[str, Any] | None = None) -> Answer:
    headers, body = modern_request(method, params, caps=CAPS)
    if method.startswith("tasks/"):
        headers["Mcp-Name"] = str((params or {})["taskId"])
    return told(await agent.post(None, body, headers))


def of_one(method: str, params: Callable[[str], dict[str, Any]]) -> Ask:
    async def ask(agent: RawAgent, name: str) -> Answer:
        return await modern(agent, method, params(name))

    return ask


def of_list(method: str, member: str, key: str, shown: Callable[[str], str]) -> Ask:
    async def ask(agent: RawAgent, name: str) -> Answer:
        outcome, result = await modern(agent, method)
        assert outcome == OK, result
        return (OK, None) if shown(name) in [item[key] for item in result[member]] else ("absent", None)

    return ask


async def discover(agent: RawAgent, name: str) -> Answer:
    """What it says is of no single thing; nothing of it may be of another tenant's."""
    outcome, result = await modern(agent, "server/discover")
    return outcome, result.get("instructions")


async def listen(agent: RawAgent, name: str) -> Answer:
    wanted = {"notifications": {"resourceSubscriptions": [f"s://s!x/{name}"]}}
    headers, body = modern_request("subscriptions/listen", wanted, caps=CAPS)
    async with agent.stream("POST", None, body, headers) as stream:
        first = await stream.next_message()
    honoured = first["params"]["notifications"].get("resourceSubscriptions", [])
    return (OK, None) if honoured else ("absent", None)


def in_session(method: str, params: Callable[[str], dict[str, Any]]) -> Ask:
    async def ask(agent: RawAgent, name: str) -> Answer:
        headers, body = legacy_request(method, params(name), session=await agent.begin())
        return told(await agent.post(None, body, headers))

    return ask


async def initialize(agent: RawAgent, name: str) -> Answer:
    return (OK, None) if await agent.begin() else ("refused", None)


def nothing(name: str) -> dict[str, Any]:
    return {}


ROWS: dict[str, Ask] = {
    "tools/call": of_one("tools/call", lambda name: {"name": f"s__{name}", "arguments": {}}),
    "prompts/get": of_one("prompts/get", lambda name: {"name": f"s__{name}"}),
    "resources/read": of_one("resources/read", lambda name: {"uri": f"s://s!x/{name}"}),
    "completion/complete": of_one(
        "completion/complete",
        lambda name: {"ref": {"type": "ref/prompt", "name": f"s__{name}"}, "argument": {"name": "a", "value": "v"}},
    ),
    "tools/list": of_list("tools/list", "tools", "name", lambda name: f"s__{name}"),
    "prompts/list": of_list("prompts/list", "prompts", "name", lambda name: f"s__{name}"),
    "resources/list": of_list("resources/list", "resources", "uri", lambda name: f"s://s!x/{name}"),
    "resources/templates/list": of_list(
        "resources/templates/list", "resourceTemplates", "uriTemplate", lambda name: f"s://s!x/{name}/{{id}}"
    ),
    "skills/list": of_list("skills/list", "skills", "uri", lambda name: f"skill://s!/{name}/SKILL.md"),
    "skills/get": of_one("skills/get", lambda name: {"uri": f"skill://s!/{name}/SKILL.md"}),
    "resources/directory/read": of_one("resources/directory/read", lambda name: {"uri": f"skill://s!/{name}"}),
    "server/discover": discover,
    "subscriptions/listen": listen,
    "initialize": initialize,
    "ping": in_session("ping", nothing),
    "logging/setLevel": in_session("logging/setLevel", lambda name: {"level": "info"}),
    "resources/subscribe": in_session("resources/subscribe", lambda name: {"uri": f"s://s!x/{name}"}),
    "resources/unsubscribe": in_session("resources/unsubscribe", lambda name: {"uri": f"s://s!x/{name}"}),
    "tasks/list": in_session("tasks/list", nothing),
}
"""How each method is asked about a thing, by its name at the server `s`."""

OF_NO_THING = frozenset(
    {"server/discover", "initialize", "ping", "logging/setLevel", "resources/unsubscribe", "tasks/list"}
)
"""What they answer is the same whatever the name."""

OF_TASKS = frozenset({"tasks/get", "tasks/update", "tasks/cancel", "tasks/result"})
"""Asked about tasks, below."""

SEES = {"dev": {"open"}, "narrowed": {"open"}, "boss": {"open", "secret"}, "gina": {"theirs"}}
NAMES = ("open", "secret", "theirs", "absent")


@pytest.fixture
async def house(start: Start) -> AsyncIterator[Guarded]:
    async with server("open", "secret") as acme, server("theirs") as globex:
        yield await guarded(start, acme, globex)


def test_every_method_has_a_row() -> None:
    known = {*RESOLVE, *TELL, *ABOUT_TASKS, *SKILLS_METHODS, "subscriptions/listen"}
    known |= {*session._OWN, *legacy_tasks.ABOUT_TASKS}
    assert {*ROWS, *OF_TASKS} == known


async def test_everybody_gets_what_they_see_and_nothing_else(house: Guarded) -> None:
    for who, (method, ask), name in itertools.product(PEOPLE, ROWS.items(), NAMES):
        async with house.agent(who) as agent:
            before = house.hits
            outcome, detail = await ask(agent, name)
            where = f"{who}: {method} of {name}: {outcome} {detail}"
            if method in OF_NO_THING or name in SEES[who]:
                assert outcome == OK, where
            else:
                assert outcome != OK, where
                assert "secret" not in str(detail) or name == "secret" or "secret" in SEES[who], where
                assert house.hits == before, f"{where}: it reached a server"


def plainly(answer: Answer) -> str:
    """Without the nearest names, which depend on the name that was asked for."""
    return re.sub(r"\. Nearest: [\w, -]+", "", str(answer))


async def test_a_hidden_thing_and_one_that_is_nowhere_are_answered_alike(house: Guarded, start: Start) -> None:
    """T4: to the byte, but for the name that was asked for."""
    for who, (method, ask) in itertools.product(("dev", "narrowed"), ROWS.items()):
        async with house.agent(who) as agent:
            hidden, nowhere = await ask(agent, "secret"), await ask(agent, "absent")
            assert plainly(hidden).replace("secret", "absent") == plainly(nowhere), f"{who}: {method}"
    async with server("open") as plain:  # and where it never was, and nobody has a policy
        bare = await start(config(at("s", plain.url)))
        await bare.ready("s")
        for method in ("tools/call", "prompts/get", "completion/complete"):
            async with RawAgent(bare.mcp) as anybody, house.agent("dev") as dev:
                assert await ROWS[method](dev, "secret") == await ROWS[method](anybody, "secret"), method


async def test_nobody_comes_in_without_a_key(house: Guarded) -> None:
    """T1: on every route, before any body is read; and nothing is said of what is there."""
    routes = [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/sse"), ("POST", "/messages?session=x")]
    routes += [
        ("POST", path) for path in ("/views/coding/mcp", "/views/nothing/mcp", "/servers/s/mcp", "/servers/z/mcp")
    ]
    async with house.agent(None) as agent:
        for verb, path in routes:
            for extra in (
                {},
                {"Authorization": "Bearer concento_abcdefghij_" + "A" * 48},
                {"Authorization": "Basic YTpi"},
            ):
                headers, body = modern_request("tools/list")
                reply = await agent.request(verb, path, body if verb == "POST" else b"", {**headers, **extra})
                assert reply.status == 401, (verb, path, extra)
                assert (reply.header("www-authenticate") or "").startswith('Bearer realm="concento"')
                assert reply.json()["id"] is None
        assert (await agent.get("/health/live")).status == 200
    assert house.hits == 0


async def test_endpoints_of_another_tenant_are_not_there(house: Guarded) -> None:
    for who, path, status in (
        ("dev", "/views/coding/mcp", 200),
        ("gina", "/views/coding/mcp", 404),
        ("gina", "/views/other/mcp", 200),
        ("dev", "/views/other/mcp", 404),
        ("dev", "/servers/s/mcp", 200),
        ("gina", "/servers/s/mcp", 200),
        ("gina", "/servers/z/mcp", 404),
    ):
        async with house.agent(who, path) as agent:
            headers, body = modern_request("tools/list")
            reply = await agent.post(None, body, headers)
            assert reply.status == status, (who, path)
            if status == 200:
                names = {tool["name"] for tool in reply.result["tools"]}
                assert ("theirs" in str(names)) is (who == "gina")


# -- what is made for one is no other's


async def test_a_task_is_its_owners_alone(house: Guarded) -> None:
    async with house.agent("dev") as dev:
        outcome, made = await modern(dev, "tools/call", {"name": "s__open-slow", "arguments": {}})
        assert (outcome, made["resultType"]) == (OK, "task")
        id = made["taskId"]
        assert (await modern(dev, "tasks/get", {"taskId": id}))[0] == OK
    for who in ("boss", "gina", "narrowed"):
        async with house.agent(who) as agent:
            before = house.hits
            for method in ("tasks/get", "tasks/cancel", "tasks/update"):
                params = {"taskId": id, **({"inputResponses": {}} if method == "tasks/update" else {})}
                foreign = await modern(agent, method, params)
                unknown = await modern(agent, method, {**params, "taskId": "A" * len(id)})
                assert foreign == unknown
                assert foreign[0] != OK
            assert house.hits == before
            listed = {"notifications": {"taskIds": [id]}}
            headers, body = modern_request("subscriptions/listen", listed, caps=CAPS)
            async with agent.stream("POST", None, body, headers) as stream:
                first = await stream.next_message()
            assert first["params"]["notifications"].get("taskIds", []) == []


async def test_a_task_of_a_tool_that_is_hidden_meanwhile_is_gone(house: Guarded) -> None:
    """T5: who may not call a tool any more may not ask for its task."""
    async with house.agent("boss") as boss:
        _, made = await modern(boss, "tools/call", {"name": "s__open-slow", "arguments": {}})
        assert (await modern(boss, "tasks/get", {"taskId": made["taskId"]}))[0] == OK
        hub = house.hub.hub
        before = hub.current.snapshot.config
        await hub.configure(replace(before, policies=(Rule("no slow", "deny", ("s.open-slow",)),)))
        assert (await modern(boss, "tasks/get", {"taskId": made["taskId"]}))[0] != OK


async def test_a_state_to_go_on_with_is_its_owners_alone(house: Guarded) -> None:
    """T13."""
    call = {"name": "s__open-ask", "arguments": {}}
    async with house.agent("dev") as dev:
        _, asked = await modern(dev, "tools/call", call)
        assert asked["resultType"] == "input_required"
        again = {
            **call,
            "requestState": asked["requestState"],
            "inputResponses": {"q": {"action": "accept", "content": {}}},
        }
        for who in ("boss", "gina", "narrowed"):
            async with house.agent(who) as agent:
                before = house.hits
                assert (await modern(agent, "tools/call", again))[0] != OK, who
                assert house.hits == before
        other = {**again, "name": "s__open"}
        assert (await modern(dev, "tools/call", other))[0] != OK
        assert (await modern(dev, "tools/call", again))[0] == OK


async def test_a_cursor_is_its_owners_alone(start: Start) -> None:
    async with server("open", "secret") as acme, server("theirs") as globex:
        house = await guarded(start, acme, globex, page_items_max=1)
        async with house.agent("boss") as boss:
            _, first = await modern(boss, "tools/list")
            cursor = first["nextCursor"]
            assert (await modern(boss, "tools/list", {"cursor": cursor}))[0] == OK
        for who in ("dev", "gina"):
            async with house.agent(who) as agent:
                assert (await modern(agent, "tools/list", {"cursor": cursor}))[0] != OK


async def test_a_session_is_its_owners_alone(house: Guarded) -> None:
    """T7: of another tenant, of the same team, of a delegate, on another route, of a client's own choosing."""
    async with house.agent("boss") as boss:
        id = await boss.begin()
        headers, body = legacy_request("tools/list", session=id)
        assert (await boss.post(None, body, headers)).status == 200
        for who, path in (("dev", "/mcp"), ("gina", "/mcp"), ("narrowed", "/mcp"), ("boss", "/views/coding/mcp")):
            async with house.agent(who, path) as agent:
                assert (await agent.post(None, body, headers)).status == 404, (who, path)
                stream = {"Accept": "text/event-stream", "Mcp-Session-Id": id}
                assert (await agent.get(None, stream)).status == 404
                assert (await agent.request("DELETE", None, b"", {"Mcp-Session-Id": id})).status == 404
                headers_, body_ = legacy_request("tools/list", session="mine-0123456789")
                assert (await agent.post(None, body_, headers_)).status == 404
        assert (await boss.post(None, body, headers)).status == 200
        assert len(id) >= 32
