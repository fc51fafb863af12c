"""What goes wrong with accounts: what ends, is forgotten, is renewed twice, is stopped half-way; and that one user's
trouble is nobody else's. Against a real server with a real authorization server. Source: hardening R1, R11, R19, T6."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastmcp.server.dependencies import get_access_token
from fastmcp.server.middleware import Middleware
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.provider import TokenError
from tests.hub.conftest import Running, at, config, free_port
from tests.hub.notes_server import Notes, notes_server
from tests.hub.test_accounts import Hubs, User, configured, hubs

from concento.credentials.exchange import ExchangedListing, Exchanges
from concento.credentials.token_endpoint import Granted
from concento.model.auth import Auth
from concento.model.clock import SystemClock
from concento.model.outbound import PUBLIC
from concento.model.principal import ANONYMOUS, Principal
from concento.model.secret import Secret
from concento.model.showing import OAuthClient, TokenExchange, UserOAuth
from concento.testing import RawAgent
from concento.testing.waiting import until

__all__ = ["hubs"]
GUARDED: dict[str, Any] = {"auth": Auth(None, True), "vault_keys": (bytes(range(32)),)}


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concento.credentials.token.YOUNG_S", 0.0)
    monkeypatch.setattr("concento.credentials.token.RETRY_S", 0.0)


@pytest.fixture
async def notes() -> AsyncIterator[Notes]:
    async with notes_server(free_port()) as one:
        yield one


async def two_users(hub: Running) -> tuple[User, User]:
    """Alice, who is connected, and Bob, who is as well."""
    keys = {name: (await hub.hub.keys.create(name))[1] for name in ("alice", "bob")}
    alice, bob = (User(hub, name, key) for name, key in keys.items())
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    await bob.call("connect_account", server="notes")
    return alice, bob


async def test_one_users_broken_account_is_not_the_servers_fault(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path, **GUARDED))
    alice, bob = await two_users(hub)
    refresh = notes.people.exchange_refresh_token

    async def not_for_alice(client: Any, refresh_token: Any, scopes: list[str]) -> Any:
        if notes.people.users.get(refresh_token.token) == "alice":
            raise TokenError("invalid_request", "no")
        return await refresh(client, refresh_token, scopes)

    notes.people.exchange_refresh_token = not_for_alice  # type: ignore[method-assign]
    notes.people.end_all()
    alice.opens = False
    for _ in range(7):
        with pytest.raises(Exception, match="did not agree"):
            await alice.says()
    assert await bob.says() == "bob"
    assert hub.hub.upstreams.get("notes").replicas[0].circuit.failures == 0


async def test_a_token_that_never_ends_is_used_until_it_is_refused(
    notes: Notes, hubs: Hubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concento.credentials.token_endpoint.ASSUMED_S", 0.0)
    known = notes.people._known

    def for_ever(token: Any, user: str) -> Any:
        given = known(token, user)
        given.expires_in = given.refresh_token = None
        return given

    notes.people._known = for_ever  # type: ignore[method-assign]
    hub = await hubs.start(configured(notes, tmp_path))
    alice = User(hub, "alice")
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    assert [await alice.says(), await alice.says()] == ["alice", "alice"]
    assert len(alice.asked) == 1
    notes.people.end_all()
    assert await alice.says() == "alice"
    assert len(alice.asked) == 2


async def test_an_authorization_server_that_has_forgotten_the_hub_is_registered_with_anew(
    notes: Notes, hubs: Hubs, tmp_path: Path
) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    alice = User(hub, "alice")
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    notes.people.clients.clear()
    notes.people.end_all()
    notes.people.refresh_tokens.clear()
    assert await alice.says() == "alice"
    assert "no longer takes the account that you connected" in alice.asked[1]
    assert len(notes.people.clients) == 1


async def test_what_one_user_lists_is_not_shown_to_another(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    class Mine(Middleware):
        async def on_list_resources(self, context: Any, call_next: Any) -> Any:
            token = get_access_token()
            assert token is not None
            return [one for one in await call_next(context) if f"/{notes.people.users[token.token]}/" in str(one.uri)]

    notes.server.add_middleware(Mine())
    notes.server.resource("notes://x/alice/divorce-lawyer", name="secret")(lambda: "text")
    hub = await hubs.start(configured(notes, tmp_path, **GUARDED))
    _, bob = await two_users(hub)
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {bob.key}"}, timeout=30) as http,
        Client(streamable_http_client(hub.mcp, http_client=http)) as agent,
    ):
        assert (await agent.list_resources()).resources == []
        assert "notes__who_am_i" in {tool.name for tool in (await agent.list_tools()).tools}
        assert (await agent.read_resource("notes://notes!x/alice/divorce-lawyer")).contents  # as its server lets Bob


async def test_a_disconnect_takes_effect_in_the_middle_of_a_refresh(
    notes: Notes, hubs: Hubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    alice = User(hub, "alice")
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    token = hub.hub.accounts.token("notes", "notes", ANONYMOUS)
    put, waits, gate = hub.hub.vault.put, asyncio.Event(), asyncio.Event()

    async def slow(place: Any, value: bytes) -> None:
        await put(place, value)
        waits.set()
        await gate.wait()

    monkeypatch.setattr(hub.hub.vault, "put", slow)
    shown = await token.field()

    async def refreshed() -> None:
        with pytest.raises(Exception, match=r"gave no token|wants to know"):
            await token.renewed(shown)

    async with asyncio.TaskGroup() as group:
        group.create_task(refreshed())
        await waits.wait()
        assert await hub.hub.accounts.disconnect(token)
        gate.set()
    assert not token.is_connected
    with pytest.raises(Exception, match="wants to know who you are"):
        await token.field()


async def test_the_end_of_the_hub_waits_for_a_refresh_that_has_begun(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    alice = User(hub, "alice")
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    refresh, waits, gate = notes.people.exchange_refresh_token, asyncio.Event(), asyncio.Event()

    async def slow(*asked: Any) -> Any:
        given = await refresh(*asked)
        waits.set()
        await gate.wait()
        return given

    notes.people.exchange_refresh_token = slow  # type: ignore[assignment, method-assign]
    token = hub.hub.accounts.token("notes", "notes", ANONYMOUS)
    shown = await token.field()
    async with asyncio.TaskGroup() as group:
        group.create_task(token.renewed(shown))
        await waits.wait()
        group.create_task(hubs.stop(hub))
        await asyncio.sleep(0)
        gate.set()
    notes.people.exchange_refresh_token = refresh  # type: ignore[method-assign]
    again = await hubs.start(configured(notes, tmp_path))
    await again.ready("notes")
    alice = User(again, "alice", opens=False)
    assert await alice.says() == "alice"
    assert alice.asked == []


async def test_two_hubs_with_one_state_share_what_is_connected_and_spend_no_refresh_twice(
    notes: Notes, hubs: Hubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concento.credentials.accounts.LOOK_S", 0.0)
    one, other = [await hubs.start(configured(notes, tmp_path)) for _ in range(2)]
    here, there = User(one, "alice"), User(other, "alice", opens=False)
    await here.call("connect_account", server="notes")
    await one.ready("notes")
    assert not (await there.call("connect_account", server="notes")).is_error
    await other.ready("notes")
    assert await there.says() == "alice"
    notes.people.end_all()
    assert [await here.says(), await there.says(), await here.says()] == ["alice"] * 3
    assert notes.people.refreshes == 1
    await there.call("disconnect_account", server="notes")
    notes.people.end_all()
    here.opens = False
    with pytest.raises(Exception, match="did not agree"):
        await here.says()
    assert [place async for place in places(one)] == []


async def places(hub: Running) -> AsyncIterator[object]:
    for place, _ in await hub.hub.accounts.all():
        yield place


async def test_one_users_step_up_asks_nothing_of_others(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    slices = hub.hub.current
    await until(lambda: slices.snapshot.slices["notes"].health.state == "waiting", "it waits for a user")
    accounts = hub.hub.accounts
    alice, bob = (accounts.token("notes", "notes", Principal(subject=name)) for name in ("alice", "bob"))
    before = (await accounts.challenge(bob)).scopes
    alice.refused(403, 'Bearer error="insufficient_scope", scope="admin:delete"')
    assert (await accounts.challenge(bob)).scopes == before
    assert (await accounts.challenge(alice)).scopes == ("admin:delete",)


async def test_a_required_server_that_waits_for_users_keeps_nobody_out(
    notes: Notes, hubs: Hubs, tmp_path: Path
) -> None:
    server = at("notes", notes.url, users=UserOAuth(), isolation="principal", required=True)
    hub = await hubs.start(config(server, state_db=tmp_path / "state" / "concento.db"))
    slices = hub.hub.current
    await until(lambda: slices.snapshot.slices["notes"].health.state == "waiting", "it waits for a user")
    assert hub.hub.is_ready()


async def test_a_call_with_a_key_is_made_once_the_account_is_there(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    alice = User(hub, "alice")
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    await alice.call("disconnect_account", server="notes")
    call = {"name": "notes__who_am_i", "arguments": {}}
    async with RawAgent(hub.mcp) as agent:
        meta = {"dev.concento/idempotencyKey": "k1"}
        first = (await agent.modern("tools/call", call, meta=meta)).result
        assert first["isError"]
        assert "/connect/" in first["content"][0]["text"]
        await alice.call("connect_account", server="notes")
        assert (await agent.modern("tools/call", call, meta=meta)).result["content"][0]["text"] == "alice"


async def test_a_state_that_is_not_ours_brings_no_link(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    async with RawAgent(hub.mcp) as agent:
        call = {"name": "connect_account", "arguments": {"server": "notes"}, "requestState": "bogus"}
        assert (await agent.modern("tools/call", call)).error["code"] == -32602
    assert not hub.hub.connecting._links


async def test_accounts_at_a_server_that_moved_are_seen_and_can_be_let_go(
    notes: Notes, hubs: Hubs, tmp_path: Path
) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    await User(hub, "alice").call("connect_account", server="notes")
    async with notes_server(free_port()) as elsewhere:
        await hub.hub.configure(configured(elsewhere, tmp_path))
        accounts = hub.hub.accounts
        ((place, _),) = await accounts.all()
        assert await accounts.disconnect(accounts.at(place, "notes"))
        assert not notes.people.access_tokens


# -- exchanges


class Giving:
    """An authorization server that exchanges each token for one that names it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def ask(self, client: OAuthClient, form: dict[str, str], reach: object, **options: object) -> Granted:
        self.asked.append((client.token_url, form["subject_token"]))
        await asyncio.sleep(0)
        return Granted(f"for-{form['subject_token']}", expires_in=3600)


def exchange_at(host: str) -> TokenExchange:
    return TokenExchange(OAuthClient(f"https://{host}/token", "hub", secret="x"))


async def test_a_weak_token_gets_nothing_of_a_strong_one_and_neither_spoils_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    giving = Giving()
    monkeypatch.setattr("concento.credentials.exchange.ask_token", giving.ask)
    exchanges = Exchanges(SystemClock(), lambda server: PUBLIC)
    callers = [Principal(subject="u", credential=name, token=Secret(name)) for name in ("STRONG", "WEAK")]

    async def shown(caller: Principal) -> bytes:
        token = exchanges.token("s", "s", "https://s.example/mcp", exchange_at("as.example"), caller)
        return await token.field()

    for _ in range(3):
        found = await asyncio.gather(*(shown(caller) for caller in callers))
        assert found == [b"Authorization: Bearer for-STRONG\r\n", b"Authorization: Bearer for-WEAK\r\n"]
    assert len(giving.asked) == 2


async def test_lists_of_another_configuration_are_asked_with_nothing_of_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    giving = Giving()
    monkeypatch.setattr("concento.credentials.exchange.ask_token", giving.ask)
    exchanges = Exchanges(SystemClock(), lambda server: PUBLIC)
    caller = Principal(subject="u", credential="c", token=Secret("T"), until_s=SystemClock.wall() + 60)
    old, new = exchange_at("old.example"), exchange_at("new.example")
    exchanges.offer("s", exchanges.token("s", "s", "https://old.example/mcp", old, caller))
    listing = ExchangedListing(exchanges, "s", old, "s", "https://old.example/mcp", SystemClock())
    assert await listing.field() == b"Authorization: Bearer for-T\r\n"
    moved = ExchangedListing(exchanges, "s", new, "s", "https://new.example/mcp", SystemClock())
    assert await moved.field() == b""
    exchanges.forget([])
    assert await listing.field() == b""
