"""The client that the conformance suite runs: a hub whose only server is the suite's, and an agent before it.

    python -m tests.conformance.client URL

The agent, on the official SDK and of the era under test, uses all that it is shown: it reads every resource, gets every
prompt and calls every tool. It says `finished` at the end; any error on the way ends it with exit code 1.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any, Literal

import mcp_types as types
import msgspec
import uvloop
from mcp import Client
from mcp.shared.exceptions import MCPError
from tests.conformance.runs import ALIAS, hub_before
from tests.conformance.suite import FINISHED
from tests.hub.browser import Browser
from tests.hub.conftest import Running, at, config, running

from concento.credentials.challenge import NO_CHALLENGE
from concento.credentials.discovery import discover_issuer, discover_resource
from concento.model.inventory import Health
from concento.model.outbound import PUBLIC
from concento.model.principal import Principal
from concento.model.secret import Secret
from concento.model.showing import ClientMethod, OAuthClient, TokenExchange, UserOAuth
from concento.testing.waiting import until

SAMPLES: Mapping[str, Any] = {"string": "text", "number": 5, "integer": 5, "boolean": True, "array": [], "object": {}}
ECHO = "json_schema_echo"
LISTED_ONLY = frozenset({"json-schema-ref-no-deref"})
"""Scenarios whose servers list tools and can't call them."""


async def accept(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Fill in the form that is asked for: each field that has a default with that, and the one that confirms."""
    schema = params.requested_schema if isinstance(params, types.ElicitRequestFormParams) else {}
    fields: dict[str, Any] = schema.get("properties", {})
    content = {name: field["default"] for name, field in fields.items() if "default" in field}
    return types.ElicitResult(action="accept", content=content or {"confirmed": True})


async def use_all(agent: Client, told: Mapping[str, Any]) -> list[MCPError]:
    """Use everything that the server shows; returns the errors met."""
    errors: list[MCPError] = []
    tools = (await agent.list_tools()).tools
    for resource in (await agent.list_resources()).resources:
        await agent.read_resource(str(resource.uri))
    for prompt in (await agent.list_prompts()).prompts:
        await agent.get_prompt(prompt.name)
    calls = told.get("toolCalls") or [{"name": tool.name, "arguments": arguments(tool, tools)} for tool in tools]
    if os.environ["MCP_CONFORMANCE_SCENARIO"] in LISTED_ONLY:
        calls = []
    for call in calls:
        try:
            await agent.call_tool(call["name"], call["arguments"])
        except MCPError as error:
            errors.append(error)
    return errors


def arguments(tool: types.Tool, tools: list[types.Tool]) -> dict[str, Any]:
    """A value for each parameter; the tool that echoes a schema gets that of the first."""
    if tool.name == ECHO:
        return {"schema": tools[0].input_schema}
    properties: dict[str, dict[str, Any]] = tool.input_schema.get("properties", {})
    return {name: SAMPLES.get(field.get("type", "string")) for name, field in properties.items()}


# -- servers that want to know their users

AUTHORIZATION = "auth/"
CIMD_URL = "https://conformance-test.local/client-metadata.json"
"""What the suite takes for the URL of a client's metadata."""
NOT_CONNECTED = frozenset(
    f"{AUTHORIZATION}{name}"
    for name in (
        "resource-mismatch",
        "iss-supported-missing",
        "iss-wrong-issuer",
        "iss-unexpected",
        "iss-normalized",
        "metadata-issuer-mismatch",
    )
)
"""Scenarios whose authorization server must not be trusted: no account may be connected."""
REFUSES = frozenset({f"{AUTHORIZATION}scope-retry-limit"})
"""Scenarios whose server is never content."""


def users(told: Mapping[str, Any]) -> UserOAuth:
    """How the hub's users connect accounts in this scenario."""
    if os.environ["MCP_CONFORMANCE_SCENARIO"] == f"{AUTHORIZATION}basic-cimd":
        return UserOAuth(client_id=CIMD_URL)
    return UserOAuth(told.get("client_id", ""), told.get("client_secret", ""))


def health(hub: Running) -> Health:
    """How the one server is."""
    return hub.hub.current.snapshot.slices[ALIAS].health


def is_refused(hub: Running) -> bool:
    """Whether the server refuses the account that is connected."""
    return "refuses the account" in (health(hub).error or "")


async def use_account(agent: Client, hub: Running) -> list[str]:
    """Have an account connected, use the server's one tool, and say what is not as the scenario wants it."""
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    connected = await agent.call_tool("connect_account", {"server": ALIAS})
    if scenario in NOT_CONNECTED:
        return [] if connected.is_error else ["an account was connected"]
    if connected.is_error:
        return [str(connected.content)]
    if scenario in REFUSES:
        return []
    await until(lambda: health(hub).state == "ready" or is_refused(hub), "it has listed, or takes the account no more")
    if is_refused(hub):  # its authorization server is another now
        await agent.call_tool("connect_account", {"server": ALIAS})
    await hub.ready(ALIAS)
    tool, *_ = [tool for tool in (await agent.list_tools()).tools if tool.name.startswith(f"{ALIAS}__")]
    result = await agent.call_tool(tool.name, {})
    return [str(result.content)] if result.is_error else []


async def with_account(url: str, told: Mapping[str, Any], mode: Literal["legacy", "auto"]) -> int:
    """Serve a URL through a hub to an agent whose user opens every page."""

    async def open_page(context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestURLParams)
        async with Browser() as browser:
            await browser.connect(params.url)
        return types.ElicitResult(action="accept")

    server = at(ALIAS, url, users=users(told), isolation="principal")
    async with running(config(server)) as hub, Client(hub.mcp, mode=mode, elicitation_callback=open_page) as agent:
        try:
            problems = await use_account(agent, hub)
        except MCPError as error:
            problems = [] if os.environ["MCP_CONFORMANCE_SCENARIO"] in NOT_CONNECTED else [str(error)]
    print(*problems, sep="\n", file=sys.stderr)
    if not problems:
        print(FINISHED)
    return 1 if problems else 0


# -- servers that know the hub, or take its users' tokens for others


async def own_client(url: str, told: Mapping[str, Any]) -> OAuthClient:
    """The hub as the client that the scenario knows, at the server's authorization server."""
    found = await discover_resource(url, NO_CHALLENGE, PUBLIC.near(url))
    server = await discover_issuer(found.issuers[0], PUBLIC.near(url), has_pages=False)
    is_key = "private_key_pem" in told
    secret = told["private_key_pem"] if is_key else told["client_secret"]
    method: ClientMethod = "private_key_jwt" if is_key else "client_secret_basic"
    return OAuthClient(server.token_url, told["client_id"], method, secret, "", found.resource, server.issuer)


async def with_exchange(url: str, told: Mapping[str, Any]) -> int:
    """Serve a URL through a hub to an agent whose user has a token of the company's own.

    The suite's company publishes no keys, so the hub is told who calls.
    """
    client = OAuthClient(told["idp_token_endpoint"], told["idp_client_id"], "none")
    there = OAuthClient("", told["client_id"], "client_secret_basic", told["client_secret"])
    exchange = TokenExchange(client, subject="id_token", at=there)
    user = Principal(subject="user", proof="jwt", token=Secret(told["idp_id_token"]))
    async with running(config(at(ALIAS, url, exchange=exchange, isolation="principal"))) as hub:
        hub.hub.identity.judge = lambda head, peer: user  # type: ignore[method-assign]
        hub.hub.identity.is_alive = lambda principal, now_s: True  # type: ignore[method-assign]
        async with Client(hub.mcp) as agent:
            await agent.list_tools()
            await hub.ready(ALIAS)
            tool, *_ = [tool for tool in (await agent.list_tools()).tools if tool.name.startswith(f"{ALIAS}__")]
            result = await agent.call_tool(tool.name, {})
    if not result.is_error:
        print(FINISHED)
    return 1 if result.is_error else 0


async def main(url: str) -> int:
    """Serve the URL through a hub and use it."""
    told = msgspec.json.decode(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"), type=dict[str, Any])
    mode: Literal["legacy", "auto"]
    mode = "legacy" if os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"] < "2026" else "auto"
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    if scenario.startswith(f"{AUTHORIZATION}enterprise"):
        return await with_exchange(url, told)
    client = await own_client(url, told) if scenario.startswith(f"{AUTHORIZATION}client-credentials") else None
    if scenario.startswith(AUTHORIZATION) and client is None:
        return await with_account(url, told, mode)
    async with (
        hub_before(url, client) as hub,
        Client(f"{hub.url}/servers/{ALIAS}/mcp", mode=mode, elicitation_callback=accept) as agent,
    ):
        errors = await use_all(agent, told)
    for error in errors:
        print(error, file=sys.stderr)
    if not errors:
        print(FINISHED)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(uvloop.run(main(sys.argv[1])))
