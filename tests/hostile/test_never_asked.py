"""URLs that servers and endpoints name and the hub never asks: redirects, references of schemas, icons. T19, T3."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from tests.hostile.outside import Listener, redirects
from tests.hub.conftest import at, config, running
from tests.upstream.test_client_credentials import TokenEndpoint, client, endpoint, failing

from concento.model.config import Server, UrlReplica
from concento.model.showing import OAuthClient
from concento.testing import RawAgent, ScriptedHttpServer, legacy_mcp, legacy_sse, modern_mcp, status
from concento.testing.waiting import until

__all__ = ["endpoint"]

REDIRECTS = [301, 302, 303, 307, 308]
CALL = {"name": "s__echo", "arguments": {"text": "hello"}}


@pytest.fixture
async def canary() -> AsyncIterator[Listener]:
    async with Listener().listening() as canary:
        yield canary


@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.parametrize("transport", ["auto", "http", "sse"])
async def test_a_server_that_redirects_is_not_followed(canary: Listener, status: int, transport: Any) -> None:
    async with ScriptedHttpServer(redirects(status, f"http://127.0.0.1:{canary.port}/mcp")) as upstream:
        replica = UrlReplica(upstream.url, {"Authorization": "Bearer canary"}, transport)
        async with running(config(Server("s", (replica,)))) as hub:
            slices = hub.hub.current
            await until(lambda: slices.snapshot.slices["s"].health.state == "failing", "it fails")
            assert upstream.hits()
    assert await canary.connects() == 0


@pytest.mark.parametrize("code", REDIRECTS)
@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp])
async def test_a_call_that_is_answered_with_a_redirect_has_failed(canary: Listener, code: int, kind: Any) -> None:
    moved = status(code, headers=[("Location", f"http://127.0.0.1:{canary.port}/mcp")])
    async with ScriptedHttpServer(kind(on_call=moved)) as upstream, running(config(at("s", upstream.url))) as hub:
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL)).error["code"] == -31001
        assert len(upstream.hits("tools/call")) == 1
    assert await canary.connects() == 0


@pytest.mark.parametrize("code", REDIRECTS)
async def test_a_token_endpoint_that_redirects_gets_the_secret_and_nobody_else(
    canary: Listener, endpoint: TokenEndpoint, code: int
) -> None:
    endpoint.answer = web.Response(status=code, headers={"Location": f"http://127.0.0.1:{canary.port}/token"})
    one = client(endpoint)
    assert f"status {code}" in await failing(one)
    await one.close()
    assert len(endpoint.forms) == 1
    assert await canary.connects() == 0


@pytest.mark.parametrize(
    "place",
    [
        *("http://127.0.0.1:{port}/messages", "//127.0.0.1:{port}/messages", "http://localhost:{port}/?session_id=1"),
        *("https://127.0.0.1:{port}/", "http://{own}@127.0.0.1:{port}/", "http://{own}.127.0.0.1:{port}/", "file:///x"),
        *(" //127.0.0.1:{port}/", "/\t/127.0.0.1:{port}/"),
    ],
)
async def test_an_event_stream_does_not_name_another_place_to_post_to(canary: Listener, place: str) -> None:
    async with ScriptedHttpServer(redirects(404, "/")) as upstream:
        upstream.handler = legacy_sse(endpoint=place.format(port=canary.port, own=upstream.origin[7:]))
        async with running(config(Server("s", (UrlReplica(upstream.url, transport="sse"),)))) as hub:
            slices = hub.hub.current
            await until(lambda: slices.snapshot.slices["s"].health.state == "failing", "it fails")
            assert {hit.method for hit in upstream.hits()} == {"GET"}, "nothing was sent, here neither"
    assert await canary.connects() == 0


# -- what definitions and results name

REFERENCES: list[dict[str, Any]] = [
    {"$ref": "{url}"},
    {"properties": {"text": {"$ref": "{url}#/$defs/a"}}},
    {"$schema": "{url}", "type": "object"},
    {"$id": "{url}", "properties": {"text": {"$ref": "other.json"}}},
    {"$dynamicRef": "{url}#a"},
    {"$recursiveRef": "{url}"},
    {"allOf": [{"$ref": "{url}"}], "$schema": "http://json-schema.org/draft-07/schema#"},
    {"properties": {"text": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "{url}"}}},
    {"$schema": "http://json-schema.org/draft-04/schema#", "id": "{url}", "items": {"$ref": "a"}},
    {"$ref": "file:///etc/passwd"},
]


def filled(value: Any, url: str) -> Any:
    """A value with a URL in the places for it."""
    if isinstance(value, dict):
        return {key: filled(one, url) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, url) for one in value]
    return value.replace("{url}", url) if isinstance(value, str) else value


async def test_no_reference_of_a_schema_is_fetched(canary: Listener) -> None:
    """`enforce` is how the hub reads schemas at all; what it can't check it lets through."""
    url = f"http://127.0.0.1:{canary.port}/schema.json"
    schemas = [{"type": "object", **filled(schema, url)} for schema in REFERENCES]
    tools = [
        {"name": f"echo{number}", "inputSchema": schema, "outputSchema": schema}
        for number, schema in enumerate(schemas)
    ]
    checked = {"name": "checked", "inputSchema": {"type": "object", "required": ["text"]}}
    async with ScriptedHttpServer(modern_mcp(tools=[*tools, checked])) as upstream:
        async with running(config(at("s", upstream.url), validate="enforce")) as hub:
            await hub.ready("s")
            async with RawAgent(hub.mcp) as agent:
                told = (await agent.modern("tools/call", {"name": "s__checked", "arguments": {}})).result
                assert told["isError"], "schemas are read"
                for tool in tools:
                    params = {"name": f"s__{tool['name']}", "arguments": {"text": "hello"}}
                    assert (await agent.modern("tools/call", params)).result["content"]
        assert len(upstream.hits("tools/call")) == len(tools)
    assert await canary.connects() == 0


async def test_what_is_named_for_agents_is_theirs_to_fetch(canary: Listener) -> None:
    """Icons, sites, links and templates go on as they are."""
    url = f"http://127.0.0.1:{canary.port}/icon.svg"
    shown = {"icons": [{"src": url, "mimeType": "image/svg+xml"}], "websiteUrl": url, "title": url, "description": url}
    links = [{"type": "resource_link", "uri": url, "name": "a"}, {"type": "text", "text": url}]

    async def answers(exchange: Any) -> Any:
        return {"content": links, "_meta": {"icons": [{"src": url}]}}

    async def discover(exchange: Any) -> Any:
        return {
            "supportedVersions": ["2026-07-28"],
            "capabilities": {kind: {} for kind in ("tools", "prompts", "resources")},
            "instructions": url,
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "s", "version": "1", **shown}},
        }

    lists = {
        "prompts/list": [{"name": "p", **shown}],
        "resources/list": [{"name": "r", "uri": url, **shown}],
        "resources/templates/list": [{"name": "t", "uriTemplate": url + "{x}", **shown}],
    }
    tools = [{"name": "echo", "inputSchema": {"type": "object"}, **shown}]
    mcp = modern_mcp(tools=tools, on_call=answers, lists=lists, on={"server/discover": discover})
    async with ScriptedHttpServer(mcp) as upstream, running(config(at("s", upstream.url))) as hub:
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            for method in ("server/discover", "tools/list", *lists):
                reply = await agent.modern(method)
                assert reply.status == 200
                assert method == "server/discover" or url in reply.body.decode()
            assert (await agent.modern("tools/call", CALL)).result["content"][1]["text"] == url
    assert await canary.connects() == 0


async def test_a_challenge_does_not_send_a_client_of_the_operators_elsewhere(
    canary: Listener, endpoint: TokenEndpoint
) -> None:
    challenge = f'Bearer resource_metadata="http://127.0.0.1:{canary.port}/.well-known/oauth-protected-resource"'
    refuses = status(401, headers=[("WWW-Authenticate", challenge), ("Location", f"http://127.0.0.1:{canary.port}/")])
    oauth = OAuthClient(endpoint.url, "hub", secret="a secret/with+signs")
    async with ScriptedHttpServer(modern_mcp(on_call=refuses)) as upstream:
        replica = UrlReplica(upstream.url, oauth=oauth)
        async with running(config(Server("s", (replica,)))) as hub:
            await hub.ready("s")
            async with RawAgent(hub.mcp) as agent:
                assert "error" in (await agent.modern("tools/call", CALL)).message
    assert endpoint.forms
    assert await canary.connects() == 0
