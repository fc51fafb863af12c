"""What comes by the API starts no program, reads no secret and leads nowhere, but for what the file allows.

Source: hardening T19, T22.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.admin.conftest import Desk, desk, written
from tests.hostile.outside import PUBLIC_AT, outside
from tests.hostile.urls import URLS

from concento.testing.http_server import ScriptedHttpServer
from concento.testing.stdio_child import child_command

CHILD = "/api/v1/servers/child"


@pytest.fixture
async def hub(tmp_path: Path, server: ScriptedHttpServer) -> AsyncIterator[Desk]:
    text = f"""
admin: {{commands: [{sys.executable}], references: ["env:DOCS_*", "file:secrets/*"]}}
servers:
  time: {{url: {server.url}, headers: {{X-Key: "${{env:TIME_KEY}}"}}}}
  own: {{command: {json.dumps(child_command("plain"))}, env: {{PYTHONSAFEPATH: "1"}}}}
"""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "docs.key").write_text("canary-of-a-file")
    (tmp_path / "other.key").write_text("canary-of-another")
    env = {**os.environ, "TIME_KEY": "canary-time", "DOCS_KEY": "canary-docs", "HUB_KEY": "canary-hub"}
    async with desk(written(tmp_path, text), env) as running:
        running.hub.layers._env = env
        yield running


async def test_a_program_that_the_file_allows_is_started(hub: Desk) -> None:
    command = child_command("plain")
    assert command[0] == sys.executable
    assert (await hub.put(CHILD, {"command": command})).status == 201
    await hub.state("child", "ready")


@pytest.mark.parametrize(
    "body",
    [
        {"command": ["sh", "-c", "touch canary"]},
        {"command": ["/bin/sh", "-c", "touch canary"]},
        {"command": [f"{sys.executable}/../{Path(sys.executable).name}"]},
        {"command": [Path(sys.executable).name]},
        {"replicas": [{"command": [sys.executable]}, {"command": ["/bin/sh"]}]},
        {"command": [sys.executable], "sandbox": {"kind": "container", "command": ["/bin/sh", "-c"]}},
        {"command": [sys.executable], "env": {"LD_PRELOAD": "/tmp/x.so"}},
        {"command": [sys.executable], "env": {"PATH": "/tmp"}},
        {"command": [sys.executable], "env": {"PYTHONPATH": "/tmp"}},
        {"replicas": [{"command": [sys.executable], "env": {"NODE_OPTIONS": "--require=/tmp/x"}}]},
        {"command": [sys.executable], "env": {"GIT_SSH_COMMAND": "sh -c x"}},
    ],
)
async def test_another_program_or_what_it_would_load_is_refused(hub: Desk, body: dict[str, Any]) -> None:
    """T22."""
    told = await hub.put(CHILD, body)
    assert (told.status, told.value["errors"] != []) == (403, True)
    within = await hub.put("/api/v1/tenants/acme", {"servers": {"child": body}})
    assert within.status == 403
    applied = await hub.ask("POST", "/api/v1/apply", {"servers": {"child": body}})
    assert applied.status == 403


async def test_a_program_of_the_file_is_kept_when_something_else_is_changed(hub: Desk) -> None:
    seen = await hub.get("/api/v1/servers/own")
    config = seen["config"]
    assert (await hub.put("/api/v1/servers/own", {**config, "timeout_s": 9})).status == 200
    assert (await hub.put("/api/v1/servers/own", {**config, "args": ["-c", "x"]})).status == 200  # the same program
    assert (await hub.put("/api/v1/servers/own", {**config, "env": {"PYTHONPATH": "/tmp"}})).status == 403


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        ("${env:TIME_KEY}", 201),
        ("${env:DOCS_KEY}", 201),
        ("${file:secrets/docs.key}", 201),
        ("${env:HUB_KEY}", 422),
        ("${env:HUB_KEY:-x}", 422),
        ("${file:other.key}", 422),
        ("${file:/etc/passwd}", 422),
        ("${file:secrets/../other.key}", 422),
        ("x${env:HUB_KEY}${env:DOCS_KEY}", 422),
    ],
)
async def test_only_references_that_the_file_has_or_allows_are_taken(
    hub: Desk, server: ScriptedHttpServer, reference: str, status: int
) -> None:
    body = {"url": server.url, "credentials": {"bearer": reference}}
    told = await hub.put("/api/v1/servers/docs", body)
    assert told.status == status, told
    assert "canary" not in str(told.value)
    if status == 201:
        assert told.value["config"] == body, "a reference is shown as it was written"


async def test_a_url_that_leads_inside_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T19: in a server, in one of its replicas, in its credentials, and in a guard's webhook."""
    path = tmp_path / "concento.yaml"
    path.write_text("servers: {}\nstate: sqlite:///state.db\n")
    good = "https://elsewhere.test/"
    async with desk(path) as hub:
        await hub.get("/api/v1/servers")  # so that the connection is there
        async with outside(monkeypatch) as world:
            for form in URLS:
                url = form.format(port=world.canary.port)
                oauth = {"token_url": url, "client_id": "x", "client_secret": "canary-secret"}
                for at, body in (
                    ("servers/docs", {"url": url}),
                    ("servers/docs", {"replicas": [{"url": good}, {"url": url}]}),
                    ("servers/docs", {"url": good, "credentials": {"oauth": oauth}}),
                    ("guards/asked", {"webhook": {"url": url}}),
                ):
                    told = await hub.ask("PUT", f"/api/v1/{at}", body)
                    assert told.status == 422, (body, told)
            assert await world.canary.connects() == 0
        assert not hub.hub.current.snapshot.config.servers


async def test_where_a_url_leads_is_judged_again_when_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T19: a name that means a public address when it is registered, and this machine a moment later."""
    path = tmp_path / "concento.yaml"
    path.write_text("servers: {}\nstate: sqlite:///state.db\n")
    async with desk(path) as hub:
        await hub.get("/api/v1/servers")
        async with outside(monkeypatch) as world:
            world.names["rebinds.test"] = [(PUBLIC_AT,), ("127.0.0.1",)]
            url = f"https://rebinds.test:{world.canary.port}/mcp"
            assert (await hub.ask("PUT", "/api/v1/servers/docs", {"url": url})).status == 201
            await hub.state("docs", "failing")
            assert world.resolved.count("rebinds.test") >= 2
            assert await world.canary.connects() == 0


async def test_a_secret_is_never_shown_and_is_kept_when_its_mask_comes_back(
    hub: Desk, server: ScriptedHttpServer
) -> None:
    path = "/api/v1/servers/docs"
    made = await hub.put(path, {"url": server.url, "credentials": {"bearer": "canary-5d81-secret"}})
    config = made.value["config"]
    assert config["credentials"] == {"bearer": "***"}
    put = await hub.put(path, {**config, "timeout_s": 5})
    assert put.status == 200
    assert hub.hub.layers.now.kept.parts["/servers/docs"].value["credentials"]["bearer"] == "canary-5d81-secret"
    lost = await hub.put("/api/v1/servers/other", {**config, "timeout_s": 5})
    assert (lost.status, lost.value["errors"][0]["pointer"]) == (422, "/credentials/bearer")
    seen = [await hub.get(one) for one in (path, "/api/v1/config", "/api/v1/config?origin=1", "/api/v1/audit")]
    seen.append(await hub.ask("POST", "/api/v1/apply?dry_run=true", {"servers": {"docs": {**config, "timeout_s": 6}}}))
    assert "canary" not in str(seen)
