"""What users grant, and what it is got with, turns up nowhere: twelve secrets of accounts and exchanges, looked for in
everything that is written, shown or printed. Source: hardening T30."""

import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from tests.hub.conftest import Running, at, config, free_port
from tests.hub.issuer import AUDIENCE, TestIssuer
from tests.hub.notes_server import Notes, notes_server
from tests.hub.test_accounts import User
from tests.hub.test_exchange import CALL, Exchanger, only_exchanged

from concento.admin.listener import AdminListener
from concento.app import Hub
from concento.front.identity.authenticator import Peer
from concento.front.parser import HttpHead
from concento.model.auditing import Audit
from concento.model.auth import Auth, Issuer
from concento.model.config import Address
from concento.model.showing import OAuthClient, TokenExchange, UserOAuth
from concento.observe.access_log import AccessLog
from concento.testing import RawAgent, ScriptedHttpServer, modern_mcp
from concento.transport.outbound import fetch

CLIENT_SECRET = "canary-client-secret-5d1e"
EXCHANGE_SECRET = "canary-exchange-secret-88b0"
VAULT_KEY = bytes(range(32))


@pytest.fixture
async def notes() -> AsyncIterator[Notes]:
    async with notes_server(free_port()) as one:
        yield one


async def test_twelve_secrets_of_accounts_turn_up_nowhere(
    notes: Notes,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG, "concento")
    caplog.set_level(logging.DEBUG, "asyncio")
    seen: dict[str, set[str]] = {}

    async def listening(url: str, reach: Any, **options: Any) -> Any:
        for name in ("code", "code_verifier", "refresh_token", "subject_token", "client_secret", "token"):
            if value := (options.get("form") or {}).get(name):
                seen.setdefault(name, set()).add(value)
        return await fetch(url, reach, **options)

    monkeypatch.setattr("concento.credentials.token_endpoint.fetch", listening)
    monkeypatch.setattr("concento.credentials.token.YOUNG_S", 0.0)
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(TestIssuer().serving())
        exchanger = await stack.enter_async_context(Exchanger(issuer).serving())
        upstream = await stack.enter_async_context(ScriptedHttpServer(modern_mcp(on_call=only_exchanged)))
        client = OAuthClient(exchanger.url, "hub", secret=EXCHANGE_SECRET)
        exchange = TokenExchange(client, audience="s")
        taken = (Issuer("company", issuer.url, (AUDIENCE,)),)
        auth = Auth("http://127.0.0.1", True, taken, keeps_tokens=True)
        configuration = config(
            at("notes", notes.url, users=UserOAuth(), isolation="principal"),
            at("s", upstream.url, exchange=exchange, isolation="principal"),
            state_db=tmp_path / "state" / "concento.db",
            auth=auth,
            vault_keys=(VAULT_KEY,),
            audit=Audit(arguments="full", stream=f"file:{tmp_path / 'audit.jsonl'}"),
        )
        (tmp_path / "state").mkdir()
        hub = await Hub.create(configuration, access_log=lambda: AccessLog.to_file(tmp_path / "access.log"), audit=True)
        running = Running(hub, await hub.listen(Address("127.0.0.1", 0)))
        hub.connecting.base_url = running.url
        token = issuer.token(sub="alice")
        alice = User(running, "alice", token)
        shown: list[bytes] = []
        await alice.call("connect_account", server="notes")
        await running.ready("notes", "s")
        assert await alice.says() == "alice"
        notes.people.end_all()
        assert await alice.says() == "alice"
        async with RawAgent(running.mcp, bearer=token) as agent:
            shown.append((await agent.modern("tools/call", CALL)).body)
        exchanger.refuses.add("alice")
        async with RawAgent(running.mcp, bearer=issuer.token(sub="alice", jti="2")) as agent:
            shown.append((await agent.modern("tools/call", CALL)).body)
        with pytest.raises(MCPError) as declined:
            await User(running, "", issuer.token(sub="bob")).call("connect_account", server="notes")
        shown.append("".join(traceback.TracebackException.from_exception(declined.value).format()).encode())
        admin = AdminListener(hub)
        address = await admin.start(Address("127.0.0.1", 0))
        _, operator = await hub.keys.create("ops", scopes=("concento:admin",))
        async with RawAgent(f"http://{address}", bearer=operator) as agent:
            for path in ("accounts", "servers", "tools", "approvals", "explain?tool=notes__who_am_i&subject=alice"):
                shown.append((await agent.get(f"/api/v1/{path}")).body)
            shown.append((await agent.get("/metrics")).body)
        account = await hub.accounts.token("notes", "notes", await principal(hub, token)).load()
        assert account is not None
        secrets = {
            "the caller's token": token,
            "the exchange's secret": EXCHANGE_SECRET,
            "the vault's key": VAULT_KEY.hex(),
            "what was exchanged": "for-alice-",
            "the access token": account.access_token,
            "the refresh token": str(account.refresh_token),
            "the registered secret": account.client.secret,
        }
        secrets |= {f"{name} {value[:4]}": value for name, values in seen.items() for value in values}
        crashed = crash(account, hub.connecting, configuration, exchange)
        await alice.call("disconnect_account", server="notes")
        await admin.close()
        notices = "\n".join(hub.notes)
        await hub.close(drain_s=1.0)
    assert {"code", "code_verifier", "refresh_token", "subject_token", "client_secret", "token"} <= seen.keys()
    assert len(secrets) >= 12
    printed = capfd.readouterr()
    sinks = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"audit.db", "audit.jsonl", "access.log", "concento.db"} <= sinks.keys()
    assert b"accounts/connected" in sinks["audit.jsonl"]
    sinks |= {
        "shown": b"".join(shown),
        "logged": caplog.text.encode(),
        "printed": (printed.out + printed.err).encode(),
        "notes": notices.encode(),
        "crashed": crashed.encode(),
    }
    for name, content in sinks.items():
        for what, secret in secrets.items():
            if (what, name) != ("what was exchanged", "shown"):  # the server itself says so in its reply
                assert secret.encode() not in content, f"{what} in {name}"


async def principal(hub: Hub, token: str) -> Any:
    """Who shows a token."""
    fields = {"authorization": f"Bearer {token}"}
    head = HttpHead("POST", "/mcp", "", fields, frozenset(), {}, keep_alive=True, chunks=True)
    return await hub.identity.settle(head, Peer())


def crash(*values: Any) -> str:
    """What a report of a crash would hold that shows all variables."""
    held = [repr(value) for value in values]
    try:
        raise RuntimeError("a defect")
    except RuntimeError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()) + str(held)
