"""Objects of the configuration over real HTTP: put, seen by agents at once, kept over restarts, taken away."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.admin.conftest import Desk, desk, written

from concento.testing.http_server import ScriptedHttpServer
from concento.testing.raw_agent import RawAgent, modern_request

DOCS = "/api/v1/servers/docs"


@pytest.fixture
async def hub(tmp_path: Path, server: ScriptedHttpServer):
    text = f"servers:\n  time: {{url: {server.url}}}\npolicies:\n  - {{deny: ['*.drop_*']}}\n"
    async with desk(written(tmp_path, text)) as running:
        await running.listed("time__echo")
        yield running


async def test_a_server_that_is_registered_is_in_the_catalog_and_agents_are_notified(
    hub: Desk, server: ScriptedHttpServer
) -> None:
    headers, body = modern_request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    async with RawAgent(hub.mcp) as agent, agent.stream("POST", None, body, headers) as stream:
        await stream.next_message()
        made = await hub.ask("PUT", DOCS, {"url": server.url})
        assert (made.status, made.value["origin"], made.headers["Location"]) == (201, "api", DOCS)
        told = await asyncio.wait_for(stream.next_message(), 10)
        assert told["method"] == "notifications/tools/list_changed"
    await hub.listed("docs__echo", "time__echo")
    assert sorted(await hub.tools()) == ["docs__echo", "time__echo"]
    await hub.ask("DELETE", DOCS, If_Match=made.tag)
    await hub.listed("time__echo")


async def test_what_was_changed_is_there_after_a_restart(tmp_path: Path, server: ScriptedHttpServer) -> None:
    path = written(tmp_path, f"servers: {{time: {{url: {server.url}}}}}\n")
    async with desk(path) as hub:
        await hub.ask("PUT", DOCS, {"url": server.url, "timeout_s": 7})
        await hub.ask("PUT", "/api/v1/views/coding", {"include": ["docs.*"]})
    async with desk(path) as hub:
        await hub.listed("docs__echo", "time__echo")
        assert (await hub.get(DOCS))["config"]["timeout_s"] == 7
        assert "/views/coding/mcp" in [row["endpoint"] for row in (await hub.get("/api/v1/views"))["views"]]
    assert "docs" not in path.read_text()


async def test_an_object_replaces_the_files_and_its_deletion_brings_that_back(
    hub: Desk, server: ScriptedHttpServer
) -> None:
    path = "/api/v1/servers/time"
    before = await hub.ask("GET", path)
    assert (before.value["origin"], before.value["in_file"]) == ("file", True)
    refused = await hub.ask("DELETE", path, If_Match=before.tag)
    assert refused.status == 409
    put = await hub.put(path, {"url": server.url, "timeout_s": 3})
    assert (put.status, put.value["origin"]) == (200, "api")
    assert hub.hub.current.snapshot.config.servers["time"].timeout_s == 3
    assert (await hub.ask("DELETE", path, If_Match=put.tag)).value == {"now": "as in the file"}
    assert (await hub.ask("GET", path)).tag == before.tag


async def test_a_change_needs_the_tag_of_what_was_seen(hub: Desk, server: ScriptedHttpServer) -> None:
    body, other = {"url": server.url}, {"url": server.url, "timeout_s": 5}
    assert (await hub.ask("PUT", DOCS, body, If_Match='"of-another"')).status == 412
    made = await hub.ask("PUT", DOCS, body, If_None_Match="*")
    assert made.status == 201
    assert (await hub.ask("PUT", DOCS, other, If_None_Match="*")).status == 412
    assert (await hub.ask("PUT", DOCS, other)).status == 428
    assert (await hub.ask("DELETE", DOCS)).status == 428
    changed = await hub.ask("PUT", DOCS, other, If_Match=made.tag)
    assert (changed.status, changed.tag != made.tag) == (200, True)
    again = await hub.ask("PUT", DOCS, other, If_Match=made.tag)
    assert (again.status, again.tag) == (200, changed.tag), "what has succeeded already may be repeated"
    assert (await hub.ask("PUT", DOCS, body, If_Match=made.tag)).status == 412
    assert (await hub.ask("GET", DOCS, If_None_Match=changed.tag)).status == 304


@pytest.mark.parametrize(
    ("path", "body", "pointer", "said"),
    [
        (DOCS, {"urll": "https://x.example"}, "/urll", "did you mean 'url'?"),
        (DOCS, {"url": "https://x.example", "timeout_s": "long"}, "/timeout_s", "expected a number"),
        (DOCS, {}, "", "needs 'command', 'url' or 'replicas'"),
        (DOCS, [], "", "expected a mapping"),
        ("/api/v1/servers/Docs", {"url": "https://x.example"}, "", "can't be the name"),
        ("/api/v1/views/coding", {"include": ["nothing.*"]}, "/include/0", "unknown server 'nothing'"),
        ("/api/v1/logical-tools/find", {"bind": ["nothing.find"]}, "/bind/0", "unknown server"),
        ("/api/v1/limits/all", {}, "", "limits nothing"),
        ("/api/v1/policies/mine", {"deny": ["*.x"], "name": "other"}, "/name", "leave it out"),
        ("/api/v1/roles/dev", {"allow": ["[a].b"]}, "/allow/0", "a pattern knows"),
        ("/api/v1/tenants/default", {}, "", "the operator's own"),
        ("/api/v1/servers/docs", {"url": "https://x.example", "headers": {"<<": "x"}}, "/headers/<<", "is no key"),
    ],
)
async def test_what_would_not_load_is_refused_with_the_loaders_words_and_a_pointer(
    hub: Desk, path: str, body: Any, pointer: str, said: str
) -> None:
    before = hub.hub.current.snapshot.config
    told = await hub.ask("PUT", path, body)
    assert (told.status, told.headers["Content-Type"]) == (422, "application/problem+json")
    (error,) = told.value["errors"]
    assert (error["pointer"], said in error["detail"]) == (pointer, True), error
    assert hub.hub.current.snapshot.config is before
    assert (await hub.ask("GET", path)).status == 404


async def test_what_something_else_rests_on_is_not_taken_away(hub: Desk, server: ScriptedHttpServer) -> None:
    made = await hub.ask("PUT", DOCS, {"url": server.url})
    await hub.ask("PUT", "/api/v1/views/coding", {"include": ["docs.*"]})
    told = await hub.ask("DELETE", DOCS, If_Match=made.tag)
    assert told.status == 422
    assert told.value["errors"][0]["pointer"] == "api:/views/coding/include/0"


async def test_a_rule_of_the_file_is_replaced_in_its_place(hub: Desk) -> None:
    (rule,) = (await hub.get("/api/v1/policies"))["items"]
    assert rule["name"] == "deny 1"
    await hub.put("/api/v1/policies/deny 1", {"deny": ["*.delete_*"]})
    await hub.put("/api/v1/policies/second", {"deny": ["*.purge_*"]})
    rules = hub.hub.current.snapshot.config.policies
    assert [(rule.name, rule.patterns) for rule in rules] == [
        ("deny 1", ("*.delete_*",)),
        ("second", ("*.purge_*",)),
    ]


async def test_each_change_is_recorded_with_its_before_its_after_and_the_reason(
    hub: Desk, server: ScriptedHttpServer
) -> None:
    secret = {"url": server.url, "credentials": {"bearer": "canary-5d81"}}
    made = await hub.ask("PUT", DOCS, secret, Concento_Reason="ticket 7")
    await hub.ask("PUT", DOCS, {**secret, "timeout_s": 9}, If_Match=made.tag)
    last, first = entries = await hub.recorded(2)
    shown = {"url": server.url, "credentials": {"bearer": "***"}}
    assert (first["method"], first["name"], first["reason"]) == ("servers/put", "/servers/docs", "ticket 7")
    assert ("before" in first, first["after"], first["subject"]) == (False, shown, "operator")
    assert (last["before"], last["after"]) == (shown, {**shown, "timeout_s": 9})
    assert "canary" not in json.dumps(entries)


async def test_long_lists_come_in_pages(hub: Desk) -> None:
    limits = {f"limit {number}": {"rate": "1/s"} for number in range(5)}
    assert (await hub.ask("POST", "/api/v1/apply", {"limits": limits})).status == 200
    seen: list[str] = []
    cursor = ""
    while True:
        told = await hub.get(f"/api/v1/limits?limit=2{cursor}")
        seen += [item["name"] for item in told["items"]]
        if told["next"] is None:
            break
        cursor = f"&cursor={told['next']}"
    assert seen == list(limits)
    assert (await hub.ask("GET", "/api/v1/limits?cursor=bm90aGluZw")).status == 422


async def test_bodies_are_bounded_and_have_to_be_json(hub: Desk) -> None:
    assert (await hub.ask("PUT", DOCS, {"url": "x" * 300_000})).status == 413
    deep: Any = {}
    for _ in range(40):
        deep = {"url": deep}
    assert (await hub.ask("PUT", DOCS, deep)).status == 422
    session = hub._session
    for data, kind, status in (
        (b"{", "application/json", 400),
        (b'{"url": 1, "url": 2}', "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b"{}", "application/x-www-form-urlencoded", 415),
    ):
        async with session.put(hub.admin + DOCS, data=data, headers={"Content-Type": kind}) as reply:
            assert (reply.status, reply.content_type) == (status, "application/problem+json"), data


async def test_unknown_parameters_paths_and_methods_are_problems(hub: Desk) -> None:
    for method, path, status in (
        ("GET", "/api/v1/servers?sort=name", 422),
        ("GET", "/api/v1/servers?limit=2&limit=3", 422),
        ("GET", "/api/v1/nothing", 404),
        ("DELETE", "/api/v1/servers", 405),
    ):
        told = await hub.ask(method, path)
        assert (told.status, told.value["status"], told.value["instance"]) == (status, status, path.partition("?")[0])


async def test_changes_made_at_once_are_all_kept(hub: Desk) -> None:
    names = [f"/api/v1/limits/l{number}" for number in range(12)]
    told = await asyncio.gather(*(hub.ask("PUT", name, {"rate": "9/s"}) for name in names))
    assert {one.status for one in told} == {201}
    assert {limit.name for limit in hub.hub.current.snapshot.config.limits} == {f"l{n}" for n in range(12)}
    bodies = [{"rate": f"{number}/s"} for number in range(1, 9)]
    tag = (await hub.ask("GET", names[0])).tag
    raced = await asyncio.gather(*(hub.ask("PUT", names[0], body, If_Match=tag) for body in bodies))
    assert sorted(one.status for one in raced) == [200, *[412] * 7]
