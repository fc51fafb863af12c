"""The configuration as a whole: what is exported runs elsewhere; what is applied is applied as one, or only tried."""

import os
from pathlib import Path
from typing import Any

import pytest
from tests.admin.conftest import Desk, desk, written

from concento.control.config import load
from concento.control.config.document import parse
from concento.control.config.export import exported
from concento.control.config.parts import json_of
from concento.control.config.problems import Problems
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.raw_agent import RawAgent

APPLY = "/api/v1/apply"


@pytest.fixture
async def hub(tmp_path: Path, server: ScriptedHttpServer):
    text = f"""
servers: {{time: {{url: {server.url}, headers: {{X-Key: "${{env:TIME_KEY}}"}}}}}}
tenants: {{acme: {{share: ["time.*"], limits: {{plan: {{rate: 5/s}}}}}}}}
policies:
  - {{deny: ["*.drop_*"]}}
"""
    async with desk(written(tmp_path, text), {**os.environ, "TIME_KEY": "canary-time"}) as running:
        running.hub.layers._env = {"TIME_KEY": "canary-time"}
        await running.listed("time__echo")
        yield running


async def test_what_is_exported_is_what_runs(hub: Desk, server: ScriptedHttpServer, tmp_path: Path) -> None:
    objects = {
        "servers": {"docs": {"url": server.url, "timeout_s": 7}},
        "views": {"coding": {"include": ["docs.*"], "exclude": ["docs.x*"]}},
        "limits": {"night: 1": {"rate": "5/s", "subjects": ["1e3", "yes", "null", "0x1F", "#x", "- a", "ü\u2028"]}},
        "policies": {"no purge": {"deny": ["*.purge_*"], "unless": {"arguments": {"x": {"eq": 1.5}}}}},
        "tenants": {"globex": {}},
    }
    assert (await hub.ask("POST", APPLY, objects)).status == 200
    await hub.ask("PUT", "/api/v1/tenants/acme/views/own", {"include": ["time.*"]})
    for query in ("", "?origin=1"):
        text = await hub.get(f"/api/v1/config{query}")
        assert "canary" not in text
        assert ("# api: by 'operator'" in text) is bool(query)
        other = tmp_path / "exported.yaml"
        other.write_text(text)
        again = parse(text, Problems())
        assert again is not None
        assert json_of(again) == json_of(hub.hub.layers.now.merged)
        assert set(load(other, {"TIME_KEY": "canary-time"}).servers) == {"time", "docs"}


@pytest.mark.parametrize(
    "text",
    [
        "servers: {}\n",
        "servers: {a: {command: [x, 8080, '8080', yes, 'true', '1e3', '', ' ', '~', \"a\\nb\", '*x', '&y']}}\n",
        "servers: {a: {url: 'https://x.example/?a={b}&c=d', headers: {X: '${env:HOME}: #'}}}\n",
        "servers: {a: {command: [x]}}\ntenants: {acme: {}, globex: {servers: {b: {command: [y]}}}}\npolicies: []\n",
        "x: &x {command: [z]}\n".replace("x: &x", "servers: {a: &x") + "}\nroles: {r: {allow: ['*']}}\n",
    ],
)
def test_a_configuration_is_exported_as_the_same_values(text: str) -> None:
    problems = Problems()
    root = parse(text, problems)
    assert root is not None
    again = parse(exported(root, lambda value: value, lambda where: "a remark"), problems)
    assert again is not None
    assert not problems
    assert json_of(again) == json_of(root)


async def test_objects_are_applied_all_or_none(hub: Desk, server: ScriptedHttpServer) -> None:
    wrong = {"views": {"coding": {"include": ["docs.*"]}}, "servers": {"docs": {"url": server.url, "timeout": 3}}}
    told = await hub.ask("POST", APPLY, wrong)
    assert (told.status, told.value["errors"][0]["pointer"]) == (422, "/servers/docs/timeout")
    assert (await hub.ask("GET", "/api/v1/views/coding")).status == 404
    right = {"views": wrong["views"], "servers": {"docs": {"url": server.url}}}
    applied = await hub.ask("POST", APPLY, right, Concento_Reason="a new team")
    assert [one["what"] for one in applied.value["changes"]] == ["created", "created"]
    again = await hub.ask("POST", APPLY, right)
    assert [one["what"] for one in again.value["changes"]] == ["unchanged", "unchanged"]
    gone = await hub.ask("POST", APPLY, {"views": {"coding": None}, "servers": {"docs": None}})
    assert [one["what"] for one in gone.value["changes"]] == ["deleted", "deleted"]
    assert len(await hub.recorded(4)) == 4
    refused = await hub.ask("POST", APPLY, {"servers": {"time": None}})
    assert (refused.status, refused.value["errors"][0]["pointer"]) == (409, "/servers/time")


async def test_a_dry_run_changes_nothing_and_says_how_recorded_calls_would_fare(hub: Desk) -> None:
    async with RawAgent(hub.mcp) as agent:
        for _ in range(3):
            await agent.modern("tools/call", {"name": "time__echo", "arguments": {}})
    rule = {"policies": [{"name": "no echo", "deny": ["time.echo"]}]}
    while True:
        told = (await hub.ask("POST", f"{APPLY}?dry_run=true", rule)).value
        if told["replay"]["read"] == 3:
            break
    assert (told["dry_run"], [one["what"] for one in told["changes"]]) == (True, ["created"])
    (change,) = told["replay"]["changes"]
    assert (change["kind"], change["calls"], change["was"]) == ("refused", 3, "time.echo")
    assert (await hub.ask("GET", "/api/v1/policies/no echo")).status == 404
    assert await hub.tools() == ["time__echo"]
    assert (await hub.ask("POST", APPLY, rule)).value["replay"] is None
    assert await hub.tools() == []


async def test_a_body_that_is_no_configuration_is_refused_whole(hub: Desk) -> None:
    bodies: tuple[Any, ...] = (
        [],
        {"listen": "127.0.0.1:1"},
        {"auth": {}},
        {"servers": []},
        {"policies": [{"deny": ["*.x"]}]},
        {"policies": [{"name": "a", "deny": ["*.x"]}, {"name": "a", "deny": ["*.y"]}]},
        {"policies": {"a": {"name": "b", "deny": ["*.x"]}}},
    )
    for body in bodies:
        assert (await hub.ask("POST", APPLY, body)).status == 422, body
    many = {"limits": {f"l{number}": {"rate": "1/s"} for number in range(501)}}
    assert (await hub.ask("POST", APPLY, many)).status == 413
    assert (await hub.ask("POST", "/api/v1/tenants/nobody/apply", {})).status == 404
