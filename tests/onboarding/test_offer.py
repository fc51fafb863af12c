"""From a registry's `server.json` to entries: packages of every kind, remotes, inputs, and what is not taken."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concento.model.config import Server
from concento.onboarding.disguise import Answer, disguise, in_full, open_needs, with_defaults
from concento.onboarding.gather import server_of
from concento.onboarding.offer import Way, choose, ways
from concento.onboarding.registry import best, nearest_names, shipped, short_name

STDIO = {"type": "stdio"}


def package(kind: str, identifier: str, **more: Any) -> dict[str, Any]:
    return {"registryType": kind, "identifier": identifier, "transport": STDIO, **more}


def fixed(value: str, flag: str | None = None) -> dict[str, Any]:
    return {"value": value, **({"type": "named", "name": flag} if flag else {"type": "positional"})}


def only(content: dict[str, Any], *named: str) -> Way:
    (way,) = ways(content, named)
    return way


@pytest.mark.parametrize(
    ("one", "command"),
    [
        (package("npm", "@a/b", version="1.2.3"), ["npx", "-y", "@a/b@1.2.3"]),
        (package("npm", "b", runtimeArguments=[{"type": "positional", "value": "-y"}]), ["npx", "-y", "b"]),
        (package("pypi", "mcp-server-x", version="0.0.1a8"), ["uvx", "mcp-server-x==0.0.1a8"]),
        (package("oci", "ghcr.io/a/b", version="1.0"), ["docker", "run", "-i", "--rm", "ghcr.io/a/b:1.0"]),
        (package("oci", "localhost:5000/a/b:2"), ["docker", "run", "-i", "--rm", "localhost:5000/a/b:2"]),
        (package("nuget", "A.B", version="1.0"), ["dnx", "A.B@1.0", "--yes"]),
        (
            package("pypi", "x", packageArguments=[fixed("stdio"), fixed("2", "--level")]),
            ["uvx", "x", "stdio", "--level", "2"],
        ),
    ],
)
def test_a_package_becomes_the_command_of_its_launcher(one: dict[str, Any], command: list[str]) -> None:
    assert only({"packages": [one]}).entry.keys["command"] == command


@pytest.mark.parametrize(
    "one",
    [
        package("mcpb", "https://example.com/x.mcpb"),
        package("npm", "--eval=process.exit"),
        package("npm", "git+https://example.com/x"),
        package("npm", "~"),
        package("npm", "@acme/\u0435cho"),  # a letter that only looks like an e
        package("pypi", "acm\u0435"),
        package("pypi", "x; rm -rf /"),
        package("pypi", "../x"),
        package("npm", "x", version="1 --eval"),
        package("oci", "-v/:/host"),
        {
            "registryType": "npm",
            "identifier": "x",
            "transport": {"type": "streamable-http", "url": "http://localhost/"},
        },
        {"registryType": "npm"},
        "x",
    ],
)
def test_what_is_no_package_of_a_launcher_is_left_out(one: Any) -> None:
    assert list(ways({"packages": [one]})) == []


def test_inputs_are_fixed_needed_or_left_to_the_server() -> None:
    env = [
        {"name": "FIXED", "value": "a ${b} {who}", "variables": {"who": {"value": "me"}}},
        {"name": "API_KEY", "description": "A key", "isRequired": True, "isSecret": True},
        {"name": "REGION", "isRequired": True, "default": "eu", "choices": ["eu", "us"]},
        {"name": "LEVEL", "default": "info"},
    ]
    content = {"packages": [package("npm", "x", environmentVariables=env)]}
    way = only(content)
    assert [need.name for need in way.entry.needs] == ["API_KEY", "REGION"]
    assert [need.name for need in way.optional] == ["LEVEL"]
    assert [need.name for need in open_needs(way.entry, {})] == ["API_KEY"]
    answers = with_defaults(way.entry, {"API_KEY": Answer("canary")})
    assert in_full(way.entry, answers)["env"] == {"FIXED": "a $${b} me", "API_KEY": "canary", "REGION": "eu"}
    hidden = disguise(way.entry, "x", answers)
    assert hidden.keys["env"]["API_KEY"] == "${file:concento.secrets/x.API_KEY}"
    assert hidden.secrets == {"x.API_KEY": "canary"}
    by_reference = disguise(way.entry, "x", answers | {"API_KEY": Answer("${env:MINE}")})
    assert by_reference.keys["env"]["API_KEY"] == "${env:MINE}"
    assert [need.name for need in only(content, "LEVEL").entry.needs] == ["API_KEY", "REGION", "LEVEL"]


@pytest.mark.parametrize("text", ["${env:HOME}", "${file:/etc/hostname}", "{d}{e}", "$${env:HOME}", "{d}${env:HOME}"])
def test_a_registry_can_t_reach_into_files_and_variables_of_ours(text: str) -> None:
    """What it says is text, put together from whatever parts."""
    one = {"value": text, "variables": {"d": {"value": "$"}, "e": {"value": "{env:HOME}"}}}
    arguments = [{"type": "positional", **one}, {"type": "named", "name": text, **one}]
    program = package("npm", "x", packageArguments=arguments, environmentVariables=[{"name": "X", **one}])
    remote = {"type": "streamable-http", "url": "http://x/", "headers": [{"name": "X", **one}]}
    offered = list(ways({"packages": [program], "remotes": [remote]}))
    assert len(offered) == 2
    for way in offered:
        server = server_of("x", in_full(way.entry, {}), Path("/x/concento.yaml"), {"HOME": "canary"})
        assert isinstance(server, Server)
        (replica,) = server.replicas
        shown = str([getattr(replica, name, "") for name in ("command", "env", "headers")])
        assert "canary" not in shown
        assert "{env:HOME}" in shown or "{file:" in shown


def test_a_remote_becomes_a_url_with_its_credentials() -> None:
    secret = {"token": {"isRequired": True, "isSecret": True}}
    remote = {
        "type": "sse",
        "url": "https://{tenant}.example.com/sse",
        "variables": {"tenant": {"default": "acme"}},
        "headers": [{"name": "Authorization", "value": "Bearer {token}", "variables": secret}],
    }
    way = only({"remotes": [remote, {"type": "websocket", "url": "wss://x"}, {"type": "sse", "url": "file:///etc"}]})
    answers = with_defaults(way.entry, {"token": Answer("canary")})
    assert in_full(way.entry, answers) == {
        "url": "https://acme.example.com/sse",
        "transport": "sse",
        "credentials": {"bearer": "canary"},
    }
    assert "canary" not in str(disguise(way.entry, "x", answers).keys)


def test_the_way_taken_is_one_whose_launcher_is_here() -> None:
    remote = {"type": "streamable-http", "url": "https://x/mcp"}
    offered = list(ways({"packages": [package("oci", "a/b"), package("npm", "b")], "remotes": [remote]}))
    assert [way.kind for way in offered] == ["oci", "npm", "remote"]
    for here, kind in (({"docker", "npx"}, "oci"), ({"npx"}, "npm"), (set[str](), "remote")):
        way = choose(offered, here.__contains__)
        assert way is not None
        assert way.kind == kind
    assert choose(offered, lambda _: False, "npm") is offered[1]
    assert choose(offered, lambda _: True, "nuget") is None
    assert choose([], lambda _: True) is None


def test_every_shipped_server_can_be_run_and_its_name_is_found() -> None:
    everything = shipped()
    assert len(everything) >= 30
    assert len({one.short for one in everything}) == len(everything)
    for one in everything:
        assert best(one.short, everything)[0] is one
        assert best(one.name, everything) == [one]
        for way in ways(one.content):
            answers = {need.name: Answer(f"x{number}") for number, need in enumerate(way.entry.needs)}
            server = server_of("x", in_full(way.entry, answers), Path("/x/concento.yaml"), {"HOME": "/x"})
            assert isinstance(server, Server), f"{one.name}: {server}"
        assert list(ways(one.content)), one.name


def test_shipped_servers_have_the_shape_of_the_registry() -> None:
    package = {"type": "object", "required": ["registryType", "identifier", "transport"]}
    remote = {"type": "object", "required": ["type", "url"]}
    schema = {
        "type": "object",
        "required": ["name", "description", "version"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", "maxLength": 200},
            "description": {"type": "string", "minLength": 1, "maxLength": 100},
            "version": {"type": "string", "minLength": 1},
            "packages": {"type": "array", "items": package},
            "remotes": {"type": "array", "items": remote},
        },
    }
    for one in shipped():
        jsonschema.validate(one.content, schema)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("io.github.github/github-mcp-server", "github"),
        ("mcp-server-time", "time"),
        ("@modelcontextprotocol/server-filesystem", "filesystem"),
        ("com.notion/mcp", "mcp"),
        ("x/mcp-server-", "x/mcp-server-"),
    ],
)
def test_short_names(name: str, short: str) -> None:
    assert short_name(name) == short


def test_a_misspelt_name_has_near_ones() -> None:
    assert "filesystem" in nearest_names("filesytem", shipped())


WORDS = st.sampled_from(["npm", "oci", "stdio", "named", "positional", "sse", "{a}", "${b}", "https://x/{a}"])
NAMES = st.sampled_from(
    [
        *("registryType", "identifier", "transport", "type", "name", "value", "variables", "isRequired", "default"),
        *("packageArguments", "runtimeArguments", "environmentVariables", "headers", "url", "choices", "valueHint"),
    ]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=25,
)


@given(packages=ANY, remotes=ANY)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_registry_says_is_read_without_harm(packages: Any, remotes: Any) -> None:
    content = json.loads(json.dumps({"packages": [packages], "remotes": [remotes]}))
    for way in ways(content):
        answers = {need.name: Answer("x") for need in way.entry.needs}
        server = server_of("x", in_full(way.entry, answers), Path("/x/concento.yaml"), {"HOME": "/x"})
        assert isinstance(server, Server | str)
