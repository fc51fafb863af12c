"""Usage through a whole hub: who is charged for what, what callers are told, budgets, and one tenant beside another."""

import asyncio
import json
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.hub.bound import logical, serving, tool, with_tools
from tests.hub.conftest import Running, at, config, free_port
from tests.hub.guarded import configuration, server
from tests.observe.usage_kit import lost, rows

from concento.admin.listener import AdminListener
from concento.app import Hub
from concento.control.config import load
from concento.model.auditing import Audit
from concento.model.call import ALL, NO_ABILITIES, Call, Result
from concento.model.config import Address, Config
from concento.model.logical import Bound
from concento.model.prices import PARTS, Book, Budget, Charge, Price, Tier, text_of
from concento.model.principal import ANONYMOUS
from concento.model.usage import Metering, Row
from concento.observe.audit.entry import Entry, decode
from concento.protocol.jsonrpc import raw
from concento.testing.faults import fails
from concento.testing.http_server import ScriptedHttpServer
from concento.testing.mcp_server import modern_mcp, reset
from concento.testing.raw_agent import RawAgent, RawReply
from concento.testing.waiting import until

COST = "dev.concento/cost"
PRICE = Price("b@1970-01-01 * #1", "*", "EUR", (Charge("call", (Tier(2_000_000),)),))
BOOK = Book("b", 0, "EUR", (PRICE,))


@asynccontextmanager
async def metered(folder: Path, configuration: Config) -> AsyncIterator[Running]:
    """A hub that records and meters, as `concento serve` runs it."""
    hub = await Hub.create(configuration, keep=False, audit=True)
    try:
        yield Running(hub, await hub.listen(Address("127.0.0.1", 0)))
    finally:
        await hub.close(drain_s=2.0)


def kept(folder: Path, **more: Any) -> dict[str, Any]:
    paths = {"usage": Metering(path=folder / "usage.db"), "audit": Audit(path=folder / "audit.db")}
    return {**paths, "prices": (BOOK,), **more}


async def call(agent: RawAgent, name: str = "s__echo", about: dict[str, Any] | None = None) -> RawReply:
    params = {"name": name, "arguments": {"text": "x", "query": "x"}, "_meta": about or {}}
    return await agent.modern("tools/call", params)


async def used(hub: Running, folder: Path, **wanted: str) -> list[Row]:
    assert hub.hub.usage is not None
    await hub.hub.usage.flush()
    return [
        row
        for row in rows(folder / "usage.db")
        if all(getattr(row.key, name) == value for name, value in wanted.items())
    ]


async def audited(hub: Running, folder: Path) -> list[Entry]:
    assert hub.hub.audit is not None
    await hub.hub.audit.written()
    with closing(sqlite3.connect(folder / "audit.db")) as database:
        found = [decode(bytes(body)) for (body,) in database.execute("SELECT body FROM entries ORDER BY seq")]
    return [entry for entry in found if entry.kind == "call"]


async def test_a_call_counts_once_and_its_cost_is_told_and_audited(tmp_path: Path) -> None:
    async with (
        ScriptedHttpServer(modern_mcp()) as one,
        metered(tmp_path, config(at("s", one.url), **kept(tmp_path))) as hub,
    ):
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            told = (await call(agent, about={COST: True})).result["_meta"][COST]
            assert COST not in (await call(agent)).result.get("_meta", {})
            assert COST not in (await call(agent, about={COST: "yes"})).result.get("_meta", {})
            assert (await agent.modern("tools/list", {})).result
            listed = await agent.modern("tools/list", {"_meta": {COST: True}})
            assert listed.result["_meta"][COST] == {"amount": "0"}
        assert told == {"amount": "0.002", "currency": "EUR", "price": PRICE.id}
        assert b'concento_usage_spent{currency="EUR",tenant="default"} 0.006' in hub.hub.metrics.text()
        (row,) = await used(hub, tmp_path, method="tools/call")
        assert (row.calls, row.attempts, row.cost) == (3, 3, 6 * PARTS // 1000)
        (lists,) = await used(hub, tmp_path, method="tools/list")
        assert (lists.calls, lists.cost, lists.key.server) == (2, 0, "")
        first = (await audited(hub, tmp_path))[0]
        assert (first.cost, first.price, first.metered) == ("0.002 EUR", PRICE.id, 1)


async def test_refusals_and_repetitions_do_not_count_and_what_nobody_saw_costs_nothing(tmp_path: Path) -> None:
    every = Book("b", 0, "EUR", (PRICE,), "all")
    async with (
        ScriptedHttpServer(modern_mcp(on_call=fails)) as one,
        metered(tmp_path, config(at("s", one.url), **kept(tmp_path, prices=(every,)))) as hub,
    ):
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await call(agent, "s__nope")).error["code"] == -32602
            for _ in range(3):
                assert (await call(agent, about={"dev.concento/idempotencyKey": "k"})).result["isError"]
            await one.stop()
            assert (await call(agent)).error["data"]["outcome"] == "not_sent"
        found = await used(hub, tmp_path, method="tools/call")
        assert [(row.key.outcome, row.key.part, row.calls, text_of(row.cost)) for row in found] == [
            ("error", "unsent", 1, "0"),
            ("tool_error", "", 1, "0.002"),
        ]


async def test_a_call_to_several_servers_counts_for_each_and_a_copy_costs_nothing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        kinds: tuple[Any, ...] = (None, None, reset)
        servers = [await stack.enter_async_context(serving(on_call=kind)) for kind in kinds]
        bound = with_tools(
            config(*(at(alias, one.url) for alias, one in zip("abc", servers, strict=True)), **kept(tmp_path)),
            logical("a.search", "b.search", "c.search", name="all", strategy="fanout"),
            logical("a.search", "b.search", name="tried", strategy="shadow", repeatable=True),
            logical(Bound("a", "search"), name="arms", strategy="split"),
        )
        hub = await stack.enter_async_context(metered(tmp_path, bound))
        await hub.ready("a", "b", "c")
        async with RawAgent(hub.mcp) as agent:
            told = (await call(agent, "all", {COST: True})).result["_meta"][COST]
            assert told["amount"] == "0.004"
            assert (await call(agent, "tried")).result
            assert (await call(agent, "arms")).result
        await until(lambda: not hub.hub.gateway.shadows.tasks, "the copy is answered")
        found = await used(hub, tmp_path, method="tools/call")
        assert [(row.key.server, row.key.arm, row.key.part, row.calls, text_of(row.cost)) for row in found] == [
            ("a", "", "", 1, "0.002"),
            ("a", "arms: a.search", "", 1, "0.002"),
            ("a", "tried: a.search", "", 1, "0.002"),
            ("b", "", "", 1, "0.002"),
            ("b", "tried: b.search", "copy", 1, "0"),
            ("c", "", "", 1, "0"),
        ]
        fanned = next(entry for entry in await audited(hub, tmp_path) if entry.name == "all")
        assert sorted(one.outcome for one in fanned.branches) == ["error", "ok", "ok"]


async def test_a_spent_budget_refuses_before_any_server_is_asked(tmp_path: Path) -> None:
    budget = Budget("trial", 4 * PARTS // 1000, "EUR", "user", soft=0.5)
    async with (
        ScriptedHttpServer(modern_mcp(tools=[tool("echo"), tool("free")])) as one,
        ScriptedHttpServer(modern_mcp()) as other,
    ):
        priced = Price("b@1970-01-01 s.echo #1", "s.echo", "EUR", PRICE.charges)
        options = kept(tmp_path, prices=(Book("b", 0, "EUR", (priced,)),), budgets=(budget,))
        async with metered(tmp_path, config(at("s", one.url), at("o", other.url), **options)) as hub:
            await hub.ready("s", "o")
            async with RawAgent(hub.mcp) as agent:
                assert "dev.concento/notices" not in (await call(agent)).result.get("_meta", {})
                (notice,) = (await call(agent)).result["_meta"]["dev.concento/notices"]
                assert "0.002 of 0.004 EUR of this month are spent (budget 'trial')" in notice
                refused = await call(agent)
                assert (refused.status, refused.error["code"]) == (429, -31003)
                assert refused.error["data"]["budget"] == "trial"
                assert refused.error["data"]["outcome"] == "not_sent"
                assert refused.error["data"]["resetsAt"].endswith("-01T00:00:00Z")
                assert (await call(agent, "s__free")).result
                assert (await call(agent, "o__echo")).result
            assert len(one.hits("tools/call")) == 3
            assert (await audited(hub, tmp_path))[2].decision == "over_budget"
            assert hub.hub.usage is not None
            assert [crossing.kind for crossing in hub.hub.usage.budgets.crossings] == ["soft", "hard"]
            assert b'concento_budget_refused_total{budget="trial"} 1.0' in hub.hub.metrics.text()


async def test_tenants_have_usage_budgets_and_invoices_of_their_own(tmp_path: Path) -> None:
    budget = Budget("each", 4 * PARTS // 1000, "EUR")
    own = Book("own", 0, "USD", (Price("own@1970-01-01 s.* #1", "s.*", "USD", PRICE.charges),), tenants=("globex",))
    options = kept(tmp_path, prices=(BOOK, own), budgets=(budget,))
    async with (
        server("open1") as acme,
        server("theirs1") as globex,
        metered(tmp_path, configuration(acme, globex, **options)) as hub,
    ):
        await hub.ready("acme/s", "globex/s")
        make = hub.hub.keys.create
        _, dora = await make("dora", tenant="acme", roles=("dev",))
        _, gina = await make("dora", tenant="globex", roles=("boss",))
        async with RawAgent(hub.mcp, bearer=dora) as one, RawAgent(hub.mcp, bearer=gina) as other:
            for _ in range(2):
                assert (await call(one, "s__open1")).result
            assert (await call(one, "s__open1")).error["code"] == -31003
            for _ in range(3):
                assert (await call(other, "s__theirs1")).result
        _, admin = await make("ops", scopes=("concento:admin",))
        assert hub.hub.usage is not None
        listener = AdminListener(hub.hub)
        try:
            address = await listener.start(Address("127.0.0.1", 0))
            month = (await _get(f"http://{address}", admin, "/api/v1/usage?by=tenant,tool"))["period"]
            sums = (await _get(f"http://{address}", admin, "/api/v1/usage?by=tenant,tool"))["sums"]
            assert [(one["by"]["tenant"], one["by"]["tool"], one["calls"], one["cost"]) for one in sums] == [
                ("acme", "open1", 2, {"EUR": "0.004"}),
                ("globex", "theirs1", 3, {"USD": "0.006"}),
            ]
            alone = await _get(f"http://{address}", admin, "/api/v1/usage?tenant=acme&by=subject")
            assert alone["total"]["calls"] == 2
            (invoice,) = (await _get(f"http://{address}", admin, f"/api/v1/invoices/globex/{month}"))["invoices"]
            assert (invoice["currency"], invoice["calls"], invoice["total"]) == ("USD", 3, "0.01")
            assert [line["pattern"] for line in invoice["lines"]] == ["s.*"]
            for path, status in (
                ("/api/v1/usage?by=x", 422),
                ("/api/v1/usage?day=1", 422),
                ("/api/v1/invoices/a/b", 422),
            ):
                assert "detail" in await _get(f"http://{address}", admin, path, status)
            for path in ("/api/v1/usage", f"/api/v1/invoices/acme/{month}"):
                await _get(f"http://{address}", dora, path, 403)
        finally:  # a listener that is left open keeps the loop from closing
            await listener.close()


async def _get(base: str, key: str, path: str, status: int = 200) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(base, headers=headers) as session, session.get(path) as reply:
        assert reply.status == status, await reply.text()
        return json.loads(await reply.text())


async def test_a_reload_changes_prices_for_what_follows_alone(tmp_path: Path) -> None:
    async with ScriptedHttpServer(modern_mcp()) as one:
        before = config(at("s", one.url), **kept(tmp_path))
        dearer = Price("c@1970-01-01 * #2", "*", "EUR", (Charge("call", (Tier(5_000_000),)),))
        async with metered(tmp_path, before) as hub:
            await hub.ready("s")
            async with RawAgent(hub.mcp) as agent:
                await call(agent)
                await hub.hub.configure(
                    config(at("s", one.url), **kept(tmp_path, prices=(Book("c", 0, "EUR", (dearer,)),)))
                )
                await call(agent)
                await hub.hub.configure(config(at("s", one.url), **kept(tmp_path, prices=())))
                await call(agent)
            found = await used(hub, tmp_path, method="tools/call")
            assert [(row.key.price, text_of(row.cost)) for row in found] == [
                ("", "0"),
                (PRICE.id, "0.002"),
                (dearer.id, "0.005"),
            ]


async def test_without_usage_nothing_is_told_or_kept(tmp_path: Path) -> None:
    options = kept(tmp_path, usage=Metering("off"), prices=())
    async with ScriptedHttpServer(modern_mcp()) as one, metered(tmp_path, config(at("s", one.url), **options)) as hub:
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert COST not in (await call(agent, about={COST: True})).result.get("_meta", {})
    assert not (tmp_path / "usage.db").exists()


@pytest.mark.parametrize("mode", ["batched", "strict"])
async def test_calls_of_a_hub_that_lost_its_file_are_counted_again(tmp_path: Path, mode: Any) -> None:
    options = kept(tmp_path, audit=Audit(mode, tmp_path / "audit.db"))
    async with serving() as one, serving() as other:
        both = config(at("a", one.url), at("b", other.url), **options)
        bound = with_tools(both, logical("a.search", "b.search", name="all", strategy="fanout"))
        async with metered(tmp_path, bound) as hub:
            await hub.ready("a", "b")
            async with RawAgent(hub.mcp) as agent:
                for _ in range(2):
                    assert (await call(agent, "all")).result
                    assert (await call(agent, "a__search")).result
            before = await used(hub, tmp_path)
        for file in tmp_path.glob("usage.db*"):
            if not file.name.endswith("-count"):
                file.unlink()
        async with metered(tmp_path, bound):
            pass
        assert rows(tmp_path / "usage.db") == before
        assert sum(row.calls for row in before if row.cost) == 6


async def test_ten_thousand_calls_add_up_exactly(tmp_path: Path) -> None:
    """Through the whole data path but the agents' sockets, 64 at a time, with two reloads meanwhile."""
    tiers = (Tier(3_000_000, 1000), Tier(2_000_000, 5000), Tier(1_000_000))
    tiered = Book("t", 0, "EUR", (Price("t@1970-01-01 * #9", "*", "EUR", (Charge("call", tiers, 500),)),))
    async with ScriptedHttpServer(modern_mcp()) as one:
        configured = config(at("s", one.url), **kept(tmp_path, prices=(tiered,)))
        async with metered(tmp_path, configured) as hub:
            await hub.ready("s")
            told: list[Decimal] = []
            params = {"name": raw("s__echo"), "arguments": raw({"text": "x"})}
            asked = Call("tools/call", params, {COST: raw(True)}, "s__echo", ALL, ANONYMOUS, NO_ABILITIES)

            async def some(count: int) -> None:
                for _ in range(count):
                    reply = await hub.hub.gateway.call(asked)
                    assert isinstance(reply, Result)
                    told.append(Decimal(json.loads(bytes(reply.raw))["_meta"][COST]["amount"]))

            async with asyncio.TaskGroup() as group:
                for number in range(64):
                    group.create_task(some(157 if number < 16 else 156))
                for share in (3000, 6000):
                    await until(lambda share=share: len(told) >= share, f"{share} are made")  # type: ignore[misc]
                    await hub.hub.configure(configured)
            (row,) = await used(hub, tmp_path, method="tools/call")
            assert (row.calls, row.bytes_in, len(one.hits("tools/call"))) == (10_000, 120_000, 10_000)
            assert row.cost == 1000 * 3 * 10**12 + 4000 * 2 * 10**12 + 4500 * 10**12
            assert Decimal(text_of(row.cost)) == sum(told)


@pytest.mark.parametrize("mode", ["batched", "strict"])
async def test_a_killed_hub_counts_each_call_once(tmp_path: Path, mode: Any) -> None:
    """R17: kill -9 of `concento serve` under load."""
    port = free_port()
    async with ScriptedHttpServer(modern_mcp()) as one:
        file = tmp_path / "concento.yaml"
        file.write_text(
            f"listen: 127.0.0.1:{port}\nadmin: off\nstate: sqlite:///state/c.db\naudit: {{mode: {mode}}}\n"
            f"servers: {{s: {{url: '{one.url}'}}}}\n"
            'prices: {b: {currency: EUR, valid_from: 2026-01-01, tools: {"*": {call: 0.002}}}}\n'
        )
        program = Path(sys.executable).with_name("concento")
        hub = await asyncio.create_subprocess_exec(program, "serve", str(file), stdout=PIPE, stderr=STDOUT)
        assert hub.stdout is not None
        said = b""
        while b"1 of 1 server" not in said:
            line = await asyncio.wait_for(hub.stdout.readline(), 30)
            assert line, said
            said += line
        answered = 0

        async def some() -> None:
            nonlocal answered
            async with RawAgent(f"http://127.0.0.1:{port}/mcp") as agent:
                while (await call(agent)).status == 200:
                    answered += 1

        agents = asyncio.gather(*(some() for _ in range(8)), return_exceptions=True)
        await until(lambda: answered >= 300, "300 calls are answered", wait_s=20)
        hub.kill()
        await agents
        await hub.wait()
        executed = len(one.hits("tools/call"))
        async with metered(tmp_path, load(file, os.environ)):
            pass
    found = [row for row in rows(tmp_path / "state" / "usage.db") if row.key.method == "tools/call"]
    counted = sum(row.calls for row in found)
    assert sum(row.cost for row in found) == sum(row.calls for row in found if row.key.outcome == "ok") * 2 * 10**12
    if mode == "strict":
        assert executed <= counted <= executed + 8
    assert answered <= counted + lost(tmp_path / "state" / "usage.db") <= executed + 8
