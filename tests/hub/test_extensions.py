"""Extensions through the hub: skills of several servers in one list, user interfaces of tools, and what is refused.

Source: SEP-2640 (ext-skills, specification/stable/skills); the Apps extension; docs/decisions/0004.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.hub.conftest import Running, Start, at, child, config
from tests.hub.skills import SKILLS, SkillServer
from tests.peers import fast_command, fast_http_server

from concento.model.config import View
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import ECHO_TOOL, Exchange, Hook, hang, legacy_mcp, modern_mcp
from concento.testing.raw_agent import RawAgent, legacy_initialize, legacy_request

UI = "io.modelcontextprotocol/ui"
EVENTS = "io.modelcontextprotocol/events"
CALLER = {"extensions": {SKILLS: {}, "com.example/own": {"mark": 1}}}


def skill(name: str, description: str, more: str = "") -> bytes:
    return f"---\nname: {name}\ndescription: {description}\n{more}---\n\nSee `references/`.\n".encode()


A_FILES = {
    "skill://refunds/SKILL.md": skill("refunds", "By policy", "metadata: {see: 'skill://refunds/x', odd: 1.0}\n"),
    "skill://refunds/references/policy.md": b"Thirty days.\n",
    "skill://acme/billing/invoice/SKILL.md": skill("invoice", "Invoices"),
}
B_FILES = {
    "skill://refunds/SKILL.md": skill("refunds", "Another server's"),
    "shop://eu/refunds/returns/SKILL.md": skill("returns", "Back"),
}
A = SkillServer(A_FILES, {"directoryRead": True})
B = SkillServer(B_FILES, {}, ttlMs=3000, cacheScope="private")


@asynccontextmanager
async def hub_of(start: Start, *handlers: Any, views: tuple[View, ...] = (), **options: Any) -> AsyncIterator[Running]:
    """A hub in front of servers named a, b, c …"""
    servers = [ScriptedHttpServer(handler) for handler in handlers]
    aliases = "abcdefgh"[: len(servers)]
    try:
        for server in servers:
            await server.start()
        ready = [at(alias, server.url, **options) for alias, server in zip(aliases, servers, strict=True)]
        hub = await start(config(*ready, views=views))
        await hub.ready(*aliases)
        yield hub
    finally:
        for server in servers:
            await server.stop()


def two(start: Start, **options: Any) -> Any:
    return hub_of(start, modern_mcp(**A.options()), modern_mcp(**B.options()), **options)


async def ask(hub: Running, method: str, path: str = "/mcp", **params: Any) -> Any:
    """The answer to one request of a modern agent, result or error."""
    async with RawAgent(hub.url + path) as agent:
        message = (await agent.modern(method, params, caps=CALLER)).message
        return message.get("result", message.get("error"))


async def capabilities(hub: Running, path: str = "/mcp") -> Any:
    return (await ask(hub, "server/discover", path))["capabilities"]


# -- skills


async def test_skills_of_two_servers_are_one_list_in_which_no_name_hides_another(start: Start) -> None:
    async with two(start) as hub:
        listed = await ask(hub, "skills/list")
        assert [skill["uri"] for skill in listed["skills"]] == [
            "skill://a!/refunds/SKILL.md",
            "skill://a!/acme/billing/invoice/SKILL.md",
            "skill://b!/refunds/SKILL.md",
            "shop://b!eu/refunds/returns/SKILL.md",
        ]
        assert (listed["ttlMs"], listed["cacheScope"], listed["resultType"]) == (3000, "private", "complete")
        assert "nextCursor" not in listed
        assert "dev.concento/servers" not in listed["_meta"]
        for skill in listed["skills"]:
            assert skill["uri"].split("/")[-2] == skill["frontmatter"]["name"], "the path ends in the skill's name"
            root = skill["uri"].removesuffix("SKILL.md")
            assert all(file["uri"].startswith(root) for file in skill["resources"])


async def test_an_entry_differs_from_the_servers_own_in_its_uris_alone(start: Start) -> None:
    async with two(start) as hub:
        own = A.entry("skill://refunds/SKILL.md")
        skill = (await ask(hub, "skills/list"))["skills"][0]
        public = [file["uri"] for file in skill["resources"]]
        assert public == ["skill://a!/refunds/SKILL.md", "skill://a!/refunds/references/policy.md"]
        files = [{**file, "uri": uri} for file, uri in zip(own["resources"], public, strict=True)]
        assert skill == {**own, "uri": public[0], "resources": files}
        got = await ask(hub, "skills/get", uri=public[0])
        assert got["skill"] == skill
        assert (got["ttlMs"], got["cacheScope"], got["x-more"]) == (7, "public", True)


async def test_every_listed_file_reads_as_the_bytes_its_digest_is_of(start: Start) -> None:
    async with two(start) as hub:
        count = 0
        for skill in (await ask(hub, "skills/list"))["skills"]:
            for file in skill["resources"]:
                (content,) = (await ask(hub, "resources/read", uri=file["uri"]))["contents"]
                data = content["text"].encode()
                assert content["uri"] == file["uri"]
                assert file["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
                assert file["size"] == len(data)
                count += 1
        assert count == len(A_FILES) + len(B_FILES)


async def test_a_server_is_told_what_this_caller_declares_and_no_mirrored_name(start: Start) -> None:
    heard: list[Exchange] = []

    async def lists(exchange: Exchange) -> dict[str, Any]:
        heard.append(exchange)
        return await A.enumerate(exchange)

    async def gets(exchange: Exchange) -> dict[str, Any] | None:
        heard.append(exchange)
        return await A.get(exchange)

    async with hub_of(start, modern_mcp(**A.options(skills_list=lists, skills_get=gets))) as hub:
        await ask(hub, "skills/list")
        await ask(hub, "skills/get", uri="skill://a!/refunds/SKILL.md")
        for exchange in heard:
            assert exchange.meta["io.modelcontextprotocol/clientCapabilities"] == CALLER
            assert exchange.hit.header("Mcp-Name") is None
        assert [exchange.params.get("uri") for exchange in heard] == [None, "skill://refunds/SKILL.md"]


async def test_directories_are_walked_by_public_uris(start: Start) -> None:
    async with two(start) as hub:
        first = await ask(hub, "resources/directory/read", uri="skill://a!/refunds")
        assert [child["uri"] for child in first["resources"]] == [
            "skill://a!/refunds/SKILL.md",
            "skill://a!/refunds/references",
        ]
        below = await ask(hub, "resources/directory/read", uri=first["resources"][1]["uri"], cursor=first["nextCursor"])
        assert below["resources"] == [
            {"uri": "skill://a!/refunds/references/policy.md", "name": "policy.md", "mimeType": "text/markdown"}
        ]
        assert "nextCursor" not in below
        refused = await ask(hub, "resources/directory/read", uri="skill://b!/refunds")
        assert refused["code"] == -32602
        assert "'b'" in refused["message"]
        assert "directoryRead" in refused["message"]


async def test_a_legacy_server_that_declares_skills_is_bridged_like_any(start: Start) -> None:
    async with hub_of(start, legacy_mcp(**A.options()), modern_mcp(**B.options())) as hub:
        listed = await ask(hub, "skills/list")
        assert [skill["uri"].split("!")[0] for skill in listed["skills"]] == ["skill://a"] * 2 + [
            "skill://b",
            "shop://b",
        ]
        got = await ask(hub, "skills/get", uri="skill://a!/refunds/SKILL.md")
        assert got["skill"] == listed["skills"][0]
        assert got["resultType"] == "complete"


async def test_one_servers_endpoint_has_its_own_uris(start: Start) -> None:
    async with two(start) as hub:
        path = "/servers/a/mcp"
        assert (await ask(hub, "skills/list", path))["skills"] == A.entries
        uri = "skill://refunds/SKILL.md"
        assert (await ask(hub, "skills/get", path, uri=uri))["skill"] == A.entry(uri)
        children = (await ask(hub, "resources/directory/read", path, uri="skill://refunds"))["resources"]
        assert [child["uri"] for child in children] == [uri, "skill://refunds/references"]
        assert (await capabilities(hub, path))["extensions"][SKILLS] == {"directoryRead": True}
        assert (await capabilities(hub, "/servers/b/mcp"))["extensions"][SKILLS] == {}
        refused = await ask(hub, "resources/directory/read", "/servers/b/mcp", uri="skill://refunds")
        assert refused["code"] == -32601


async def test_directories_are_announced_where_every_server_with_skills_lists_them(start: Start) -> None:
    servers = (legacy_mcp(), modern_mcp(**A.options()), modern_mcp(**B.options()), modern_mcp(**A.options()))
    views = (View("able", exclude=("c.*",)),)
    async with hub_of(start, *servers, views=views) as hub:
        assert (await capabilities(hub))["extensions"][SKILLS] == {}
        assert (await capabilities(hub, "/views/able/mcp"))["extensions"][SKILLS] == {"directoryRead": True}


async def test_a_view_shows_the_skills_whose_files_it_all_shows(start: Start) -> None:
    views = (
        View("some", include=("a.*", "b.shop://*"), exclude=("a.skill://refunds/references*",)),
        View("none", include=("a.echo",)),
    )
    async with two(start, views=views) as hub:
        listed = await ask(hub, "skills/list", "/views/some/mcp")
        shown = [skill["uri"] for skill in listed["skills"]]
        assert shown == ["skill://a!/acme/billing/invoice/SKILL.md", "shop://b!eu/refunds/returns/SKILL.md"]
        assert listed["cacheScope"] == "private"
        assert "skill" in await ask(hub, "skills/get", "/views/some/mcp", uri=shown[0])
        hidden = await ask(hub, "skills/get", "/views/some/mcp", uri="skill://a!/refunds/SKILL.md")
        unknown = await ask(hub, "skills/get", "/views/some/mcp", uri="skill://b!/refunds/SKILL.md")
        assert hidden["code"] == unknown["code"] == -32602
        children = await ask(hub, "resources/directory/read", "/views/some/mcp", uri="skill://a!/refunds")
        assert [child["name"] for child in children["resources"]] == ["SKILL.md"]
        assert (await ask(hub, "skills/list", "/views/none/mcp"))["skills"] == []


async def test_the_pages_of_two_servers_are_turned_together(start: Start) -> None:
    def paged(source: SkillServer) -> Hook:
        async def hook(exchange: Exchange) -> dict[str, Any]:
            index = int(exchange.params.get("cursor", "0"))
            more = {"nextCursor": str(index + 1)} if index + 1 < len(source.entries) else {}
            return {"skills": source.entries[index : index + 1], **more}

        return hook

    three = SkillServer({**A_FILES, "skill://third/SKILL.md": skill("third", "3")}, {})
    servers = [modern_mcp(**source.options(skills_list=paged(source))) for source in (three, B)]
    async with hub_of(start, *servers, views=(View("other"),)) as hub:
        pages: list[list[str]] = []
        cursor: dict[str, str] = {}
        while True:
            page = await ask(hub, "skills/list", **cursor)
            pages.append([skill["uri"] for skill in page["skills"]])
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}
        assert pages == [
            ["skill://a!/refunds/SKILL.md", "skill://b!/refunds/SKILL.md"],
            ["skill://a!/acme/billing/invoice/SKILL.md", "shop://b!eu/refunds/returns/SKILL.md"],
            ["skill://a!/third/SKILL.md"],
        ]
        assert (await ask(hub, "skills/list", "/views/other/mcp", **cursor))["code"] == -32602
        assert (await ask(hub, "skills/list", cursor="1"))["code"] == -32602


async def failing(exchange: Exchange) -> None:
    await exchange.error(-32603, "the disk is full")


async def malformed(exchange: Exchange) -> dict[str, Any]:
    return {"skills": {}}


async def endless(exchange: Exchange) -> dict[str, Any]:
    return {"skills": [], "nextCursor": "x" * 5000}


@pytest.mark.parametrize("fault", [failing, malformed, endless, hang])
async def test_a_server_that_fails_costs_the_others_nothing(start: Start, fault: Hook) -> None:
    broken = modern_mcp(**B.options(skills_list=fault))
    async with hub_of(start, modern_mcp(**A.options()), broken, timeout_s=2.0) as hub:
        listed = await ask(hub, "skills/list")
        assert [skill["uri"] for skill in listed["skills"]] == [
            "skill://a!/refunds/SKILL.md",
            "skill://a!/acme/billing/invoice/SKILL.md",
        ]
        told = listed["_meta"]["dev.concento/servers"]
        assert list(told) == ["b"]
        assert told["b"]["state"] == "failing"
        assert told["b"]["error"]
        assert (listed["ttlMs"], listed["cacheScope"]) == (0, "private")
        alone = await ask(hub, "skills/list", "/servers/b/mcp")
        assert alone["code"] < 0, "a list that nobody could give is no empty list"


async def test_dynamic_skills_stay_dynamic_and_a_skill_without_uri_is_a_fault(start: Start) -> None:
    async def dynamic(exchange: Exchange) -> dict[str, Any]:
        return {"skills": [{"uri": "skill://d/SKILL.md", "frontmatter": {"name": "d"}, "resources": "dynamic"}]}

    async def nameless(exchange: Exchange) -> dict[str, Any]:
        return {"skills": [{"frontmatter": {"name": "d"}, "resources": []}]}

    servers = [modern_mcp(**A.options(skills_list=hook)) for hook in (dynamic, nameless)]
    async with hub_of(start, *servers) as hub:
        listed = await ask(hub, "skills/list")
        assert listed["skills"] == [
            {"uri": "skill://a!/d/SKILL.md", "frontmatter": {"name": "d"}, "resources": "dynamic"}
        ]
        assert "b" in listed["_meta"]["dev.concento/servers"]


@pytest.mark.parametrize("kind", ["http", "stdio"])
async def test_skills_of_fastmcp_servers_satisfy_the_fastmcp_client(start: Start, tmp_path: Path, kind: str) -> None:
    from fastmcp import Client
    from fastmcp.skills import SkillsClientExtension

    for alias, path in (("a", "refunds"), ("a", "acme/billing/invoice"), ("b", "refunds")):
        folder = tmp_path / alias / path
        (folder / "references").mkdir(parents=True)
        name = folder.name
        (folder / "SKILL.md").write_text(f"---\nname: {name}\ndescription: {name} of {alias}\n---\n\nDo it.\n")
        (folder / "references" / "more.md").write_text(f"More of {alias}'s {name}\n")
    async with AsyncExitStack() as stack:
        if kind == "http":
            servers = [
                at(alias, await stack.enter_async_context(fast_http_server("--skills", str(tmp_path / alias))))
                for alias in "ab"
            ]
        else:
            servers = [
                child(alias, *fast_command("--skills", str(tmp_path / alias), "--transport", "stdio")[1:])
                for alias in "ab"
            ]
        hub = await start(config(*servers))
        await hub.ready("a", "b")
        async with Client(hub.mcp, extensions=[SkillsClientExtension()]) as client:
            skills = await client.list_skills()
            assert sorted(str(skill.uri) for skill in skills) == [
                "skill://a!/acme/billing/invoice/SKILL.md",
                "skill://a!/refunds/SKILL.md",
                "skill://b!/refunds/SKILL.md",
            ]
            for skill in skills:
                assert (await client.get_skill(skill.uri)).resources == skill.resources
                assert len(skill.resources) == 2
                for file in skill.resources:
                    (content,) = await client.read_resource(file.uri)
                    data = content.text.encode()
                    assert (file.digest, file.size) == (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data))


# -- user interfaces


UI_META = {
    "ui": {"csp": {"connectDomains": ["https://x"]}, "permissions": {"camera": {}}, "domain": "d", "o": "ui://form/1"},
    "com.example/kept": [1.0, None],
}
APP = {
    **ECHO_TOOL,
    "name": "form",
    "_meta": {"ui": {"resourceUri": "ui://form/1", "visibility": ["app"]}, "x": "ui://form/1"},
}


async def page(exchange: Exchange) -> dict[str, Any] | None:
    uri = exchange.params["uri"]
    if not uri.startswith("ui://form/"):
        await exchange.error(-32602, "Unknown resource")
        return None
    text = f"<a href='{uri}'>{exchange.meta['io.modelcontextprotocol/clientCapabilities']}</a>"
    return {"contents": [{"uri": uri, "mimeType": "text/html;profile=mcp-app", "text": text, "_meta": UI_META}]}


def app_server(kind: Any, **options: Any) -> Any:
    listed = {"uri": "ui://form/1", "name": "form", "_meta": {"ui": {"prefersBorder": True}}}
    return kind(
        tools=[APP],
        on={"resources/read": page},
        lists={"resources/list": [listed]},
        capabilities={"tools": {}, "resources": {}, "extensions": {UI: {}}},
        **options,
    )


async def test_a_tools_page_is_read_through_with_its_meta_as_it_is(start: Start) -> None:
    ui = {"extensions": {UI: {"mimeTypes": ["text/html;profile=mcp-app"]}}}
    async with hub_of(start, app_server(modern_mcp), app_server(modern_mcp)) as hub, RawAgent(hub.mcp) as agent:
        assert (await capabilities(hub))["extensions"][UI] == {}
        tools = (await agent.modern("tools/list")).result["tools"]
        listed = (await agent.modern("resources/list")).result["resources"]
        for alias, tool, resource in zip("ab", tools, listed, strict=True):
            public = f"ui://{alias}!form/1"
            assert tool["_meta"] == {"ui": {"resourceUri": public, "visibility": ["app"]}, "x": "ui://form/1"}
            assert resource == {"uri": public, "name": "form", "_meta": {"ui": {"prefersBorder": True}}}
            for uri, own in ((public, "ui://form/1"), (f"ui://{alias}!form/unlisted", "ui://form/unlisted")):
                (content,) = (await agent.modern("resources/read", {"uri": uri}, caps=ui)).result["contents"]
                assert content == {
                    "uri": uri,
                    "mimeType": "text/html;profile=mcp-app",
                    "text": f"<a href='{own}'>{ui}</a>",
                    "_meta": UI_META,
                }


async def test_a_legacy_agent_reads_a_modern_servers_page_too(start: Start) -> None:
    async with hub_of(start, app_server(modern_mcp)) as hub, RawAgent(hub.mcp) as agent:
        (content,) = (await legacy(agent, "resources/read", {"uri": "ui://a!form/1"}))["result"]["contents"]
        assert content["_meta"] == UI_META
        (tool,) = (await legacy(agent, "tools/list"))["result"]["tools"]
        assert tool["_meta"]["ui"] == {"resourceUri": "ui://a!form/1", "visibility": ["app"]}


# -- what is refused


async def legacy(agent: RawAgent, method: str, params: Mapping[str, Any] | None = None) -> Any:
    """The answer to one request in a session of its own."""
    headers, body = legacy_initialize()
    session = (await agent.post(None, body, headers)).header("Mcp-Session-Id")
    headers, body = legacy_request(method, params, session=session)
    return (await agent.post(None, body, headers)).message


@pytest.mark.parametrize("method", ["skills/list", "skills/get", "resources/directory/read"])
async def test_a_legacy_agent_is_told_that_its_revision_has_no_skills(start: Start, method: str) -> None:
    heard: list[str] = []

    async def never(exchange: Exchange) -> dict[str, Any]:
        heard.append(exchange.method)
        return {}

    options = A.options()
    options["on"][method] = never
    async with hub_of(start, modern_mcp(**options)) as hub, RawAgent(hub.mcp) as agent:
        error = (await legacy(agent, method, {"uri": "skill://a!/refunds/SKILL.md"}))["error"]
        assert error["code"] == -32601
        assert "2025-11-25" in error["message"]
        assert method in error["message"]
        assert not heard


@pytest.mark.parametrize("method", ["skills/list", "skills/get", "resources/directory/read"])
async def test_a_modern_agent_is_told_which_servers_lack_the_extension(start: Start, method: str) -> None:
    async with hub_of(start, legacy_mcp(), modern_mcp()) as hub:
        assert SKILLS not in (await capabilities(hub))["extensions"]
        error = await ask(hub, method, uri="skill://a!/refunds/SKILL.md")
        assert error["code"] == -32601
        for part in (SKILLS, "a (2025-11-25)", "b (2026-07-28)"):
            assert part in error["message"]


async def test_a_skill_of_a_server_without_skills_is_unknown_and_says_whose_fault_it_is(start: Start) -> None:
    async with hub_of(start, modern_mcp(**A.options()), legacy_mcp()) as hub:
        for method in ("skills/get", "resources/directory/read"):
            error = await ask(hub, method, uri="skill://b!/refunds/SKILL.md")
            assert error["code"] == -32602
            assert f"'b' does not declare {SKILLS}" in error["message"]
            assert (await ask(hub, method, uri="skill://z!/refunds/SKILL.md"))["code"] == -32602
            assert (await ask(hub, method, uri="skill://refunds/SKILL.md"))["code"] == -32602
            assert (await ask(hub, method))["code"] == -32602


async def test_while_a_server_is_not_known_its_skills_are_not_denied(start: Start) -> None:
    async with ScriptedHttpServer(modern_mcp(on={"server/discover": hang})) as silent:
        hub = await start(config(at("s", silent.url), start_wait_s=0.05))
        error = await ask(hub, "skills/list")
        assert error["code"] == -31001
        assert "'s'" in error["message"]


async def test_methods_of_other_extensions_are_refused_by_name_and_reach_no_server(start: Start) -> None:
    heard: list[str] = []

    async def never(exchange: Exchange) -> dict[str, Any]:
        heard.append(exchange.method)
        return {}

    extensions: dict[str, Any] = {EVENTS: {}, "com.example/own": {"mark": 2}}
    server = modern_mcp(
        on={"events/list": never, "own/thing": never}, capabilities={"tools": {}, "extensions": extensions}
    )
    async with hub_of(start, server) as hub:
        announced = (await capabilities(hub))["extensions"]
        assert EVENTS not in announced, "what is refused is not announced"
        assert announced["com.example/own"] == {"mark": 2}
        events = await ask(hub, "events/list")
        assert events["code"] == -32601
        assert EVENTS in events["message"]
        assert "'a'" in events["message"]
        own = await ask(hub, "own/thing")
        assert own["code"] == -32601
        assert "com.example/own" in own["message"]
        assert not heard
