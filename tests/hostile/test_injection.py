"""Text of agents, servers, files and registries stays text: no command, option, variable or path is made of it. T22."""

import ast
import json
import os
import shlex
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from string import ascii_letters, digits
from typing import Any
from urllib.parse import quote

import pytest
from tests.hostile.commands import payloads
from tests.hostile.teller import teller
from tests.hub.conftest import Running, config, running
from tests.onboarding.conftest import Home, home
from tests.onboarding.registry_server import registry
from tests.upstream.test_client_credentials import TokenEndpoint, client, endpoint, failing

from concento.control.config import load
from concento.model.config import ChildReplica, Server
from concento.model.errors import ConfigError
from concento.onboarding.offer import LAUNCHERS, ways
from concento.testing import RawAgent, legacy_request, modern_request
from concento.transport.program import SpawnError
from concento.transport.stdio import Child
from concento.transport.watchdog import Watchdog

__all__ = ["endpoint", "home"]

SECRET = "canary-secret-4242"
SRC = Path(__file__).parents[2] / "src"


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that must not appear."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "canary"


@asynccontextmanager
async def told(replica: ChildReplica) -> AsyncIterator[tuple[Running, RawAgent]]:
    """A hub with one such server, `s`, and an agent."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running(config(Server("s", (replica,)))))
        await hub.ready("s")
        yield hub, await stack.enter_async_context(RawAgent(hub.mcp))


def facts(reply: Any) -> dict[str, Any]:
    """What the server told of itself and of the call."""
    value = json.loads(reply.result["content"][0]["text"])
    assert isinstance(value, dict)
    return value


CALL: dict[str, Any] = {"name": "s__echo", "arguments": {}}


def made(folder: Path) -> set[str]:
    """The names of all files below a folder."""
    return {path.name for path in folder.rglob("*")}


# -- what agents say


async def test_arguments_of_a_tool_reach_the_child_as_the_bytes_that_were_sent(canary: Path) -> None:
    async with told(ChildReplica(tuple(teller()), cwd=canary.parent)) as (_, agent):
        session = await agent.begin()
        for text in payloads(canary):
            sent = f'{{"text" : {json.dumps(text)},  {json.dumps(text)}: [{json.dumps(text, ensure_ascii=False)}] }}'
            for head, body in (modern_request("tools/call", CALL), legacy_request("tools/call", CALL, session=session)):
                body = body.replace(b'"arguments": {}', b'"arguments": ' + sent.encode())
                assert sent in facts(await agent.post(None, body, head))["line"]
    assert made(canary.parent) == set()


async def test_names_and_uris_of_agents_that_nothing_has_reach_no_child(canary: Path) -> None:
    async with told(ChildReplica(tuple(teller()), cwd=canary.parent)) as (_, agent):
        for text in payloads(canary):
            for method, params in (
                ("tools/call", {"name": text, "arguments": {}}),
                ("tools/call", {"name": f"s__{text}", "arguments": {}}),
                ("prompts/get", {"name": text}),
                ("prompts/get", {"name": f"s__{text}"}),
                ("resources/read", {"uri": text}),
                ("resources/read", {"uri": f"file://s!/{text}"}),
                ("completion/complete", {"ref": {"type": "ref/prompt", "name": text}, "argument": {"name": text}}),
            ):
                assert "error" in (await agent.modern(method, params)).message, (method, text)
        assert facts(await agent.modern("tools/call", CALL))["calls"] == ["echo"]
    assert made(canary.parent) == set()


async def test_fields_session_ids_and_paths_of_agents_name_nothing(canary: Path) -> None:
    fields = ("User-Agent", "Traceparent", "X-Forwarded-For", "X-Concento-Command", "Mcp-Session-Id", "Authorization")
    async with told(ChildReplica(tuple(teller()), cwd=canary.parent)) as (hub, agent):
        before = facts(await agent.modern("tools/call", CALL))["variables"]
        for text in payloads(canary):
            if not text.isascii() or not text.isprintable():
                continue
            head, body = modern_request("tools/call", CALL)
            given = dict.fromkeys(fields, text.strip())
            assert facts(await agent.post(None, body, {**head, **given}))["variables"] == before
            head, body = legacy_request("tools/call", CALL, session=text.strip() or "-")
            assert (await agent.post(None, body, head)).status == 404
            place = quote(text, safe="")
            for path in (f"/views/{place}/mcp", f"/servers/{place}/mcp", f"/messages?session_id={place}", f"/{place}"):
                assert (await agent.post(path, body, head)).status in (400, 404), path
        assert set(hub.hub.current.snapshot.slices) == {"s"}
    assert made(canary.parent) == set()


# -- what servers say


async def test_names_that_a_server_gives_its_tools_come_back_to_it_and_go_nowhere_else(canary: Path) -> None:
    """As they were listed, whatever agents call them."""
    shown = {"inputSchema": {"type": "object"}, "description": "x"}
    names = payloads(canary)
    listed = canary.parent / "tools"
    listed.write_text(json.dumps([{"name": name, **shown, "title": name} for name in names]))
    async with told(ChildReplica(tuple(teller()), {"TOOLS": str(listed)}, cwd=canary.parent)) as (_, agent):
        public = [tool["name"] for tool in (await agent.modern("tools/list")).result["tools"]]
        assert all(name.replace("_", "").replace("-", "").isalnum() for name in public)
        for name in public:
            calls = facts(await agent.modern("tools/call", {"name": name, "arguments": {}}))["calls"]
            assert calls[-1] in names
        assert sorted(facts(await agent.modern("tools/call", {"name": public[0]}))["calls"][1:]) == sorted(names)
    assert made(canary.parent) == {"tools"}


# -- what configurations, clients and registries say


async def test_a_command_of_the_configuration_meets_no_shell_and_its_variables_are_no_command(canary: Path) -> None:
    words = [text.replace("${", "$${") for text in payloads(canary)]
    env = {f"V{number}": text for number, text in enumerate(words)}
    file = canary.parent / "concento.yaml"
    file.write_text(json.dumps({"servers": {"s": {"command": [*teller(), *words], "env": env}}}))
    (replica,) = load(file, {}).servers["s"].replicas
    assert isinstance(replica, ChildReplica)
    async with told(replica) as (_, agent):
        child = facts(await agent.modern("tools/call", CALL))
    assert child["words"] == payloads(canary)
    assert {name: child["variables"][name] for name in env} == {f"V{n}": one for n, one in enumerate(payloads(canary))}
    assert made(canary.parent) == {"concento.yaml"}


async def test_a_command_that_names_no_program_is_none(canary: Path) -> None:
    watchdog = Watchdog()
    for text in payloads(canary):
        with pytest.raises(SpawnError):
            await Child.start(ChildReplica((text,), cwd=canary.parent), watchdog=watchdog, on_line=print, on_exit=print)
    watchdog.close()
    assert made(canary.parent) == set()


def test_the_servers_of_a_clients_file_are_taken_over_as_words_and_none_is_run(canary: Path, home: Home) -> None:
    texts = [text for text in payloads(canary) if "${" not in text]
    servers: dict[str, Any] = {text: {"command": text, "args": [text], "env": {"X": text}} for text in texts}
    for text in texts:
        servers[f"of files {text}"] = {"command": "x", "env": {"F": "${file:/etc/passwd}", f"{text}_TOKEN": SECRET}}
        servers[f"of the web {text}"] = {"url": f"https://x.example.com/{quote(text)}", "headers": {"X-Key": text}}
    file = canary.parent / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}))
    before = set(canary.parent.rglob("*"))
    done = home.concento("import", "--json", file)
    assert done.exit_code == 0, done.stderr
    children = [one for server in load(home.config, home.env()).servers.values() for one in server.replicas]
    commands = {child.command: child.env for child in children if isinstance(child, ChildReplica)}
    for text in texts:
        program = str(home.here / text) if "/" in text else text
        assert commands[program, text] == {"X": text}
    new = {path for path in set(canary.parent.rglob("*")) - before if path.is_file()}
    secrets = home.here / "concento.secrets"
    assert {path.parent for path in new} == {home.here, secrets}
    assert SECRET in {path.read_text() for path in secrets.iterdir()}
    assert "root:" not in str(commands) + done.output


@pytest.mark.parametrize("kind", LAUNCHERS)
def test_what_a_registry_calls_a_package_is_nothing_else_that_a_launcher_takes(canary: Path, kind: str) -> None:
    """Neither an option nor a file, a URL or a command."""
    stdio = {"registryType": kind, "transport": {"type": "stdio"}}
    for text in payloads(canary):
        assert not list(ways({"packages": [{**stdio, "identifier": text}]})), text
        for way in ways({"packages": [{**stdio, "identifier": "acme", "version": f"1{text}"}]}):
            assert set("".join(way.entry.keys["command"])) <= set("-@=.:_+" + ascii_letters + digits), text


def test_words_of_a_registry_reach_its_program_as_they_are(canary: Path, home: Home) -> None:
    """A launcher of our own in the place of docker tells what it gets."""
    texts = payloads(canary)
    launcher, told = canary.parent / "bin/docker", canary.parent / "told"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nTOLD={told} exec {shlex.join(teller())} "$@"\n')
    launcher.chmod(0o755)
    package = {
        "registryType": "oci",
        "identifier": "acme",
        "transport": {"type": "stdio"},
        "packageArguments": [{"type": "positional", "value": text} for text in texts],
        "environmentVariables": [{"name": f"V{number}", "value": text} for number, text in enumerate(texts)],
    }
    entry = {"name": "com.acme/words", "description": texts[0], "version": texts[1], "packages": [package]}
    with registry([entry]) as source, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(launcher.parent), prepend=os.pathsep)
        done = home.concento("add", "com.acme/words", "--registry", source, "--json")
    assert done.exit_code == 0, done.output
    given = json.loads(told.read_text())
    names = [f"V{number}" for number in range(len(texts))]
    assert given["words"] == [
        *("run", "-i", "--rm"),
        *(word for name in names for word in ("-e", name)),
        "acme",
        *texts,
    ]
    assert [given["variables"][name] for name in names] == texts
    assert not canary.exists()


# -- what is said of authorization servers

TOKEN_URLS = [
    *(
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/plain,x",
        "$(touch {})",
        "http://x.example/",
        "//x.example/",
    ),
    *(
        "https://$(touch {})/",
        "https://x.example/\nX: y",
        "ftp://x.example/",
        "https://",
        "ms-powershell:x",
        "| touch {}",
    ),
]


@pytest.mark.parametrize("url", TOKEN_URLS)
def test_a_token_endpoint_that_is_no_https_url_is_refused(canary: Path, url: str) -> None:
    oauth = {"token_url": url.replace("{}", str(canary)), "client_id": "hub", "client_secret": "x"}
    file = canary.parent / "concento.yaml"
    file.write_text(json.dumps({"servers": {"s": {"url": "https://x.example/", "credentials": {"oauth": oauth}}}}))
    with pytest.raises(ConfigError):
        load(file, {})


async def test_a_client_is_sent_to_the_letter(canary: Path, endpoint: TokenEndpoint) -> None:
    for text in payloads(canary):
        one = client(endpoint, secret=text, scope=text, resource=text, method="client_secret_post")
        await failing(one)
        await one.close()
        told = {name: endpoint.forms[-1][name] for name in ("client_secret", "scope", "resource")}
        assert set(told.values()) == {text}
    assert made(canary.parent) == set()


# -- the code itself


def test_no_line_of_the_package_asks_for_a_shell() -> None:
    """Nor hands text to Python as code."""
    banned = {"system", "popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "subprocess_shell"}
    for path in SRC.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert name not in banned, f"{path}:{node.lineno}"
                assert not (isinstance(node.func, ast.Name) and name in ("eval", "exec")), f"{path}:{node.lineno}"
                assert not any(word.arg == "shell" for word in node.keywords), f"{path}:{node.lineno}"
