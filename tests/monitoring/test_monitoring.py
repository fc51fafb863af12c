"""What is shipped for Prometheus and Grafana: a real Prometheus runs every query against a live hub under calls."""

import asyncio
import json
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from scripts import dashboard
from tests.hub.conftest import Running, at, child, config, free_port

from concento.admin.listener import AdminListener
from concento.app import Hub
from concento.model.auditing import Audit
from concento.model.config import Address
from concento.model.limiting import LimitRule
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import Exchange, modern_mcp
from concento.testing.raw_agent import RawAgent, legacy_request
from concento.testing.stdio_child import child_command

FOLDER = dashboard.FILE.parent
RULES = FOLDER / "prometheus-rules.yaml"
WAIT_S = 20.0
_NAME = re.compile(r"(?<![:\w])(?:concento|mcp|process)_[a-z_]+(?![:\w=])")
"""A metric of the hub's own, not one that a rule records."""

EMPTY = {
    "Tenants and policy: What guards did": "the hub of this test has no guards",
    **{
        f"alert {name}": "nothing is wrong with the hub of this test; the rules' own tests have each fire"
        for name in (
            *("ConcentoDown", "ConcentoServerDown", "ConcentoErrorsFast", "ConcentoErrorsSlow", "ConcentoSlow"),
            *("ConcentoBreakerOpen", "ConcentoServerFull", "ConcentoAuditGap", "ConcentoLoopLag", "ConcentoOpenFiles"),
            *("ConcentoReloadRefused", "ConcentoTracesLost"),
        )
    },
}
"""Queries that may find nothing, and why. An alert's metrics have to be there all the same."""


def queries() -> dict[str, str]:
    """All queries of both files by what they are for, with the dashboard's variables filled in."""
    found = dashboard.queries()
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            found[f"alert {rule['alert']}" if "alert" in rule else f"record {rule['record']}"] = rule["expr"]
    filled = {"$__rate_interval": "1m", "$job": ".*", "$server": ".*", "$tenant": ".*"}
    for name, query in found.items():
        for variable, value in filled.items():
            found[name] = query = query.replace(variable, value)
        assert "$" not in query, name
    return found


class Prometheus:
    """A Prometheus that scrapes one hub."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session

    async def query(self, query: str) -> list[Any]:
        """What an instant query finds. Errors: AssertionError with what is wrong with the query."""
        async with self._session.get(f"{self._url}/api/v1/query", params={"query": query}) as reply:
            told = await reply.json()
        assert told["status"] == "success", (query, told)
        result = told["data"]["result"]
        assert isinstance(result, list)
        return result


async def _calls(hub: Running) -> None:
    """Calls of several kinds, over and over: results, errors of tools and servers, refusals, lists, both eras."""
    async with RawAgent(hub.mcp) as agent:
        session = await agent.begin()
        for number in range(10_000):
            for text in ("ok", "tool error", "error"):
                await agent.modern("tools/call", {"name": "s__echo", "arguments": {"text": text}})
            await agent.modern("tools/list")
            headers, body = legacy_request("tools/call", {"name": "c__echo", "arguments": {}}, session=session)
            await agent.post(None, body, headers)
            await agent.modern("tools/call", {"name": "s__limited", "arguments": {}}, id=number)
            await agent.get("/nowhere")
            await asyncio.sleep(0.02)


async def _unsteady(exchange: Exchange) -> Any:
    text = exchange.arguments.get("text")
    if text == "error":
        return await exchange.error(-32603, "no")
    return {"content": [], "isError": text == "tool error"}


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Prometheus]:
    """A hub that is called all the time, and a Prometheus with the shipped rules that scrapes it often."""
    async with AsyncExitStack() as stack:
        tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("echo", "limited")]
        server = await stack.enter_async_context(ScriptedHttpServer(modern_mcp(tools=tools, on_call=_unsteady)))
        configuration = config(
            *(at("s", server.url), child("c", *child_command()[1:])),
            limits=(LimitRule("few", patterns=("s.limited",), day=1),),
            audit=Audit(path=tmp_path / "audit.db"),
        )
        hub = await Hub.create(configuration, keep=False, audit=True)
        stack.push_async_callback(hub.close, 1.0)
        running = Running(hub, await hub.listen(Address("127.0.0.1", 0)))
        admin = AdminListener(hub)
        stack.push_async_callback(admin.close)
        address = await admin.start(Address("127.0.0.1", 0))
        await running.ready("s", "c")
        calling = asyncio.create_task(_calls(running))  # noqa: TID251 - ended below
        stack.callback(calling.cancel)
        scrape = {"job_name": "concento", "static_configs": [{"targets": [str(address)]}]}
        settings = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [str(RULES)],
            "scrape_configs": [scrape],
        }
        (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        url = f"127.0.0.1:{free_port()}"
        process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={tmp_path}/prometheus.yaml", f"--storage.tsdb.path={tmp_path}/data"),
                *(f"--web.listen-address={url}", "--log.level=error"),
            ]
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Prometheus(f"http://{url}", session)


async def test_every_query_of_rules_and_dashboard_finds_what_it_is_for_in_a_live_hub(live: Prometheus) -> None:
    wanted = queries()
    missing = dict(wanted)
    loop = asyncio.get_running_loop()
    until_s = loop.time() + WAIT_S
    while missing.keys() - EMPTY.keys() and loop.time() < until_s:
        await asyncio.sleep(0.3)
        try:
            missing = {name: query for name, query in missing.items() if not await live.query(query)}
        except aiohttp.ClientConnectionError:
            continue  # it is just starting
    assert missing.keys() <= EMPTY.keys(), {name: missing[name] for name in missing.keys() - EMPTY.keys()}
    named = {name for query in wanted.values() for name in _NAME.findall(query)}
    assert len(named) > 30
    unknown = {"concento_guard_acts_total", "concento_spans_", "concento_"}
    for name in named - unknown:
        assert await live.query(name), name
    firing = await live.query('ALERTS{alertstate="firing"}')
    assert firing == []


def test_promtool_finds_nothing_wrong_and_every_alert_fires_for_what_it_is_about() -> None:
    for command in (["check", "rules", "--lint-fatal", RULES.name], ["test", "rules", "prometheus-rules.test.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_what_the_table_of_panels_says() -> None:
    assert dashboard.FILE.read_text() == dashboard.text(), "run: python -m scripts.dashboard"
    panels = json.loads(dashboard.FILE.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(panel["gridPos"]["x"] + panel["gridPos"]["w"], panel["gridPos"]["y"]) for panel in panels]
    assert all(right <= dashboard.WIDTH for right, _ in places)


def test_what_may_be_empty_is_a_query_that_there_is() -> None:
    assert EMPTY.keys() <= queries().keys()
