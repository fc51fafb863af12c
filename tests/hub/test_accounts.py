"""Users' own accounts at a server: connected in a browser, kept apart, refreshed, revoked. Against a real server with a
real authorization server, by the official SDK client. Source: hardening T3, T13, T21, T30."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import aiohttp
import httpx2
import mcp_types as types
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from tests.hub.browser import Browser, Page
from tests.hub.conftest import Running, at, config, free_port
from tests.hub.notes_server import USER_COOKIE, Notes, notes_server

from concento.app import Hub
from concento.credentials.connecting import LINKS_PER_ACCOUNT_MAX
from concento.model.auth import Auth
from concento.model.config import Address, Config
from concento.model.showing import UserOAuth
from concento.testing.waiting import until

Mode = Literal["legacy", "auto"]


class User:
    """Somebody with an agent, a key of the hub's and a browser in which they are signed in at the server."""

    def __init__(self, hub: Running, name: str, key: str = "", mode: Mode = "auto", *, opens: bool = True) -> None:
        self.hub, self.name, self.key, self.mode, self.opens = hub, name, key, mode, opens
        self.asked: list[str] = []
        self.pages: list[Page] = []

    async def elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Open the page and go on to the end."""
        assert isinstance(params, types.ElicitRequestURLParams)
        self.asked.append(params.message)
        if not self.opens:
            return types.ElicitResult(action="decline")
        async with browser(self.name) as one:
            self.pages.append(await one.connect(params.url))
        return types.ElicitResult(action="accept")

    async def call(self, tool: str, **arguments: Any) -> types.CallToolResult:
        """Have the agent call a tool."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
            transport = streamable_http_client(self.hub.mcp, http_client=http)
            async with Client(transport, mode=self.mode, elicitation_callback=self.elicit) as agent:
                try:
                    return await agent.call_tool(tool, arguments)
                except MCPError as error:
                    refused = error
        raise refused

    async def says(self) -> str:
        """Whom the server takes them for."""
        result = await self.call("notes__who_am_i")
        assert isinstance(result.content[0], types.TextContent)
        return result.content[0].text


def browser(user: str) -> Browser:
    """A browser in which somebody is signed in at the server."""
    return Browser({USER_COOKIE: user})


@pytest.fixture
async def notes() -> AsyncIterator[Notes]:
    async with notes_server(free_port()) as one:
        yield one


def configured(notes: Notes, folder: Path, **options: Any) -> Config:
    """A hub in front of the server, with a state that outlives it."""
    server = at("notes", notes.url, users=UserOAuth(), isolation="principal")
    return config(server, state_db=folder / "state" / "concento.db", **options)


class Hubs:
    """Starts hubs over one state, one after the other."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def start(self, configuration: Config) -> Running:
        """Start one; it ends with the test, or by `stop`."""
        hub = await Hub.create(configuration)
        running = Running(hub, await hub.listen(Address("127.0.0.1", 0)))
        self._stack.push_async_callback(self.stop, running)
        return running

    async def stop(self, running: Running) -> None:
        """End it, once."""
        if running.hub.listener is not None and not running.hub.listener.draining:
            await running.hub.close(drain_s=1.0)


@pytest.fixture
async def hubs() -> AsyncIterator[Hubs]:
    async with AsyncExitStack() as stack:
        yield Hubs(stack)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_two_users_of_one_server_have_two_tokens_and_neither_is_theirs_at_the_hub(
    notes: Notes, hubs: Hubs, tmp_path: Path, mode: Mode
) -> None:
    hub = await hubs.start(configured(notes, tmp_path, auth=Auth(None, True), vault_keys=(bytes(range(32)),)))
    keys = {name: (await hub.hub.keys.create(name))[1] for name in ("alice", "bob")}
    alice, bob = (User(hub, name, keys[name], mode) for name in ("alice", "bob"))
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    assert [await alice.says(), await bob.says(), await alice.says()] == ["alice", "bob", "alice"]
    assert (len(alice.asked), len(bob.asked)) == (1, 1)
    assert len(set(notes.seen)) == 2
    assert not any(key in field for key in keys.values() for field in notes.seen)
    assert "notes is connected" in bob.pages[0].words
    assert {asked["for"][0] for asked in notes.people.signed_in} == {notes.url}


async def test_a_token_that_ends_is_refreshed_once_for_all_who_call(
    notes: Notes, hubs: Hubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concento.credentials.token.YOUNG_S", 0.0)
    hub = await hubs.start(configured(notes, tmp_path))
    alice = User(hub, "alice")
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    notes.people.end_all()
    before = notes.people.refreshes
    assert set(await asyncio.gather(*(alice.says() for _ in range(8)))) == {"alice"}
    assert notes.people.refreshes == before + 1
    assert len(alice.asked) == 1


async def test_an_account_that_its_server_has_ended_is_connected_anew(
    notes: Notes, hubs: Hubs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concento.credentials.token.YOUNG_S", 0.0)
    hub = await hubs.start(configured(notes, tmp_path))
    alice = User(hub, "alice")
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    assert await alice.says() == "alice"
    notes.people.end_all()
    notes.people.refresh_tokens.clear()
    assert await alice.says() == "alice"
    assert "no longer takes the account that you connected" in alice.asked[1]


async def test_what_was_granted_outlives_the_hub_and_is_nowhere_to_be_read(
    notes: Notes, hubs: Hubs, tmp_path: Path
) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    assert not (await User(hub, "alice").call("connect_account", server="notes")).is_error
    await hub.ready("notes")
    tokens = [*notes.people.access_tokens, *notes.people.refresh_tokens]
    await hubs.stop(hub)
    kept = b"".join(file.read_bytes() for file in (tmp_path / "state").iterdir())
    assert tokens
    assert not any(token.encode() in kept for token in tokens)
    again = await hubs.start(configured(notes, tmp_path))
    alice = User(again, "alice")
    await again.ready("notes")
    assert await alice.says() == "alice"
    assert alice.asked == []


async def test_with_another_key_nothing_opens_and_users_connect_again(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    first = await hubs.start(configured(notes, tmp_path, vault_keys=(b"a" * 16 + b"b" * 16,)))
    await User(first, "alice").call("connect_account", server="notes")
    await first.ready("notes")
    await hubs.stop(first)
    second = await hubs.start(configured(notes, tmp_path, vault_keys=(bytes(range(32)),)))
    alice = User(second, "alice")
    assert await alice.says() == "alice"
    assert len(alice.asked) == 1
    assert any("sealed with a key" in note for note in second.hub.notes)


async def test_what_was_granted_for_one_place_is_not_shown_at_another(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    await User(hub, "alice").call("connect_account", server="notes")
    await hub.ready("notes")
    async with notes_server(free_port()) as elsewhere:
        await hub.hub.configure(configured(elsewhere, tmp_path))
        state = hub.hub.current
        await until(lambda: state.snapshot.slices["notes"].health.state == "waiting", "it is another server now")
        alice = User(hub, "alice")
        await alice.call("connect_account", server="notes")
        await hub.ready("notes")
        assert await alice.says() == "alice"
        assert len(alice.asked) == 1
        assert not set(elsewhere.seen) & {f"Bearer {token}" for token in notes.people.access_tokens}
        assert elsewhere.people.signed_in[0]["for"] == [elsewhere.url]


async def test_disconnecting_revokes_and_the_next_call_asks_again(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    alice = User(hub, "alice")
    await alice.call("connect_account", server="notes")
    await hub.ready("notes")
    await alice.says()
    assert notes.people.access_tokens
    assert not (await alice.call("disconnect_account", server="notes")).is_error
    assert not notes.people.access_tokens
    assert not notes.people.refresh_tokens
    assert await alice.says() == "alice"
    assert len(alice.asked) == 2


async def test_an_agent_that_can_not_ask_is_given_the_link_and_works_once_it_was_used(
    notes: Notes, hubs: Hubs, tmp_path: Path
) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    async with Client(hub.mcp) as agent:
        refused = await agent.call_tool("connect_account", {"server": "notes"})
        assert refused.is_error
        assert isinstance(refused.content[0], types.TextContent)
        link = refused.content[0].text.split("open ")[1].split(" ")[0]
        async with browser("alice") as one:
            page = await one.open(link)
            assert "Your agent wants to use notes as you." in page.words
            assert "whoever gave you this link will use what you connect" in page.words
            assert (await one.press(page)).status == 200
        await hub.ready("notes")
        said = await agent.call_tool("notes__who_am_i")
        assert isinstance(said.content[0], types.TextContent)
        assert said.content[0].text == "alice"


async def test_who_declines_at_either_place_is_not_connected_and_nothing_is_called(
    notes: Notes, hubs: Hubs, tmp_path: Path
) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    with pytest.raises(MCPError, match="did not agree"):
        await User(hub, "alice", opens=False).call("connect_account", server="notes")
    nobody = User(hub, "")
    with pytest.raises(MCPError, match="you declined"):
        await nobody.call("connect_account", server="notes")
    assert "notes was not connected: you declined." in nobody.pages[0].words
    assert notes.people.access_tokens == {}


async def test_a_challenge_of_the_servers_is_never_relayed(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    await until(lambda: hub.hub.current.snapshot.slices["notes"].health.state == "waiting", "it waits for somebody")
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "connect_account"}}
    call["params"] |= {
        "arguments": {"server": "notes"},
        "_meta": {  # type: ignore[operator]
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    }
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "connect_account",
    }
    async with aiohttp.ClientSession() as session, session.post(hub.mcp, json=call, headers=headers) as reply:
        assert reply.status == 200
        assert "WWW-Authenticate" not in reply.headers
        assert notes.url.removesuffix("/mcp") not in await reply.text()


# -- links, states and browsers


async def link_of(hub: Running) -> str:
    async with Client(hub.mcp) as agent:
        refused = await agent.call_tool("connect_account", {"server": "notes"})
    assert isinstance(refused.content[0], types.TextContent)
    return refused.content[0].text.split("open ")[1].split(" ")[0]


async def test_the_answer_counts_in_the_browser_that_went_on_and_once(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    link = await link_of(hub)
    async with browser("mallory") as hers, browser("alice") as his:
        page = await hers.open(link)
        assert "not opened in this browser" in (await his.press(page)).words
        answer = await hers.press(page, until=f"{hub.url}/oauth/callback")
        assert "belongs to another browser" in (await his.open(answer.url)).words
        assert not notes.people.access_tokens
        assert "notes is connected" in (await hers.open(answer.url)).words
        assert "belongs to no request of ours" in (await hers.open(answer.url)).words
        assert "no longer good" in (await hers.open(link)).words
    assert len(notes.people.access_tokens) == 1


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/connect/", 404, "no longer good"),
        ("/connect/unknown", 404, "no longer good"),
        ("/oauth/callback", 400, "belongs to no request"),
        ("/oauth/callback?state=x&code=y", 400, "belongs to no request"),
        ("/oauth/callback?state=x&state=y&code=z", 400, "says something twice"),
        ("/oauth/callback?state=%3Cscript%3E&error=%3Cscript%3Ealert(1)%3C/script%3E", 400, "belongs to no request"),
    ],
)
async def test_pages_that_nobody_was_sent_to_say_so_and_hold_nothing_of_the_address(
    notes: Notes, hubs: Hubs, tmp_path: Path, path: str, status: int, told: str
) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    async with browser("alice") as one:
        page = await one.open(hub.url + path)
    assert (page.status, told in page.words) == (status, True)
    assert "script" not in page.text.replace("</style>", "")


async def test_pages_take_no_framing_no_scripts_and_no_foreign_forms(notes: Notes, hubs: Hubs, tmp_path: Path) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    link = await link_of(hub)
    async with aiohttp.ClientSession() as session, session.get(link) as reply:
        policy = reply.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self';" in policy
        assert reply.headers["Referrer-Policy"] == "same-origin"
        assert "HttpOnly" in reply.headers["Set-Cookie"]
        assert "SameSite=Lax" in reply.headers["Set-Cookie"]


async def test_a_link_is_given_again_until_somebody_goes_on_with_it_and_then_there_are_few(
    notes: Notes, hubs: Hubs, tmp_path: Path
) -> None:
    hub = await hubs.start(configured(notes, tmp_path))
    assert await link_of(hub) == await link_of(hub)
    gone = []
    for _ in range(LINKS_PER_ACCOUNT_MAX + 1):
        link = await link_of(hub)
        gone.append(link)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            async with session.get(link) as reply:
                text = await reply.text()
            proof = text.split('name=proof value="')[1].split('"')[0]
            async with session.post(link, data={"proof": proof}, allow_redirects=False) as reply:
                assert f"0;url={notes.url.removesuffix('/mcp')}/authorize?" in await reply.text()
    assert len(set(gone)) == LINKS_PER_ACCOUNT_MAX + 1
    async with aiohttp.ClientSession() as session, session.get(gone[0]) as reply:
        assert reply.status == 404
