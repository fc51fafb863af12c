"""Callers' own tokens, exchanged for those that a server takes: by a real issuer, and a token endpoint that checks what
it is shown. Source: RFC 8693; hardening T3."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import web
from joserfc import jwt
from tests.hub.conftest import Start, at, config
from tests.hub.issuer import AUDIENCE, TestIssuer

from concento.front.identity.authenticator import Authenticator, Peer
from concento.front.identity.keys import ApiKeys
from concento.front.parser import HttpHead
from concento.model.auth import Auth, Issuer
from concento.model.clock import SystemClock
from concento.model.principal import Principal
from concento.model.showing import OAuthClient, TokenExchange
from concento.store.memory import MemoryStore
from concento.testing import Exchange, RawAgent, ScriptedHttpServer, modern_mcp, status
from concento.testing.waiting import until

CALL = {"name": "s__echo", "arguments": {"text": "hello"}}
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


class Exchanger:
    """A token endpoint that gives `for-<user>-<number>` for a token that its issuer signed."""

    def __init__(self, issuer: TestIssuer) -> None:
        self.issuer = issuer
        self.forms: list[dict[str, str]] = []
        self.url = ""
        self.refuses: set[str] = set()
        """Users for whom it gives nothing."""

    async def serve(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        assert form["grant_type"] == EXCHANGE
        assert form["subject_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
        claims = jwt.decode(form["subject_token"], self.issuer.keys["k1"], algorithms=["RS256"]).claims
        if claims["sub"] in self.refuses:
            return web.json_response({"error": "invalid_target"}, status=400)
        token = f"for-{claims['sub']}-{len(self.forms)}"
        told = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        return web.json_response({**told, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Exchanger"]:
        app = web.Application()
        app.router.add_post("/token", self.serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{cast(Any, runner.addresses)[0][1]}/token"
        try:
            yield self
        finally:
            await runner.cleanup()


@pytest.fixture
async def exchanger() -> AsyncIterator[Exchanger]:
    async with TestIssuer().serving() as issuer, Exchanger(issuer).serving() as one:
        yield one


async def only_exchanged(exchange: Exchange) -> Any:
    """Answers whoever shows a token that was exchanged, with whose it is."""
    shown = exchange.hit.header("Authorization") or ""
    if not shown.startswith("Bearer for-"):
        return await status(401)(exchange)
    return {"content": [{"type": "text", "text": shown.removeprefix("Bearer ")}]}


def before(upstream: ScriptedHttpServer, exchanger: Exchanger) -> Any:
    """A hub that exchanges its callers' tokens for those of the server."""
    client = OAuthClient(exchanger.url, "hub", secret="a secret of the hub's", resource=upstream.url)
    server = at("s", upstream.url, exchange=TokenExchange(client, audience="s"), isolation="principal")
    issuer = Issuer("company", exchanger.issuer.url, (AUDIENCE,))
    return config(server, auth=Auth(issuers=(issuer,), keeps_tokens=True))


def said(reply: Any) -> str:
    return str(reply.result["content"][0]["text"])


async def test_each_callers_token_becomes_another_and_never_gets_to_the_server(
    start: Start, exchanger: Exchanger
) -> None:
    async with ScriptedHttpServer(modern_mcp(on_call=only_exchanged)) as upstream:
        hub = await start(before(upstream, exchanger))
        await hub.ready("s")
        tokens = {name: exchanger.issuer.token(sub=name) for name in ("alice", "bob")}
        for name, token in tokens.items():
            async with RawAgent(hub.mcp, bearer=token) as agent:
                assert {said(await agent.modern("tools/call", CALL)).rpartition("-")[0] for _ in range(3)} == {
                    f"for-{name}"
                }
        assert [form["audience"] for form in exchanger.forms] == ["s", "s"]
        assert {form["resource"] for form in exchanger.forms} == {upstream.url}
        for hit in upstream.hits():
            assert not any(token in f"{hit.headers}{hit.body!r}" for token in tokens.values())


async def test_a_caller_who_shows_another_token_is_exchanged_anew(start: Start, exchanger: Exchanger) -> None:
    async with ScriptedHttpServer(modern_mcp(on_call=only_exchanged)) as upstream:
        hub = await start(before(upstream, exchanger))
        await hub.ready("s")
        seen = []
        for number in range(2):
            async with RawAgent(hub.mcp, bearer=exchanger.issuer.token(jti=str(number))) as agent:
                seen += [said(await agent.modern("tools/call", CALL)) for _ in range(2)]
        assert len(set(seen)) == 2
        assert len(exchanger.forms) == 2


async def test_who_may_not_is_told_and_the_server_sees_nothing(start: Start, exchanger: Exchanger) -> None:
    exchanger.refuses.add("mallory")
    async with ScriptedHttpServer(modern_mcp(on_call=only_exchanged)) as upstream:
        hub = await start(before(upstream, exchanger))
        await hub.ready("s")
        async with RawAgent(hub.mcp, bearer=exchanger.issuer.token(sub="mallory")) as agent:
            reply = await agent.modern("tools/call", CALL)
        assert (reply.error["code"], reply.error["data"]["outcome"]) == (-31007, "not_sent")
        assert (
            "your token was not exchanged: it answered with the status 400 (invalid_target)" in reply.error["message"]
        )
        assert upstream.hits("tools/call") == []


async def test_a_server_that_lists_for_nobody_is_listed_for_the_first_who_asks(
    start: Start, exchanger: Exchanger
) -> None:
    async def guarded(exchange: Exchange) -> Any:
        if not (exchange.hit.header("Authorization") or "").startswith("Bearer for-"):
            return await status(401)(exchange)
        return {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]}

    async with ScriptedHttpServer(modern_mcp(on={"tools/list": guarded}, on_call=only_exchanged)) as upstream:
        hub = await start(before(upstream, exchanger))
        slices = hub.hub.current
        await until(lambda: slices.snapshot.slices["s"].health.state == "waiting", "it waits for a caller")
        async with RawAgent(hub.mcp, bearer=exchanger.issuer.token()) as agent:
            listed = await agent.modern("tools/list", {})
            assert [tool["name"] for tool in listed.result["tools"]] == ["s__echo"]
            assert said(await agent.modern("tools/call", CALL)).startswith("for-alice")


async def test_a_token_shows_itself_to_nobody_who_looks_at_the_principal(exchanger: Exchanger) -> None:
    issuer = Issuer("company", exchanger.issuer.url, (AUDIENCE,))
    identity = Authenticator(ApiKeys(MemoryStore(), SystemClock()), SystemClock())
    await identity.configure(Auth(issuers=(issuer,), keeps_tokens=True), "http://127.0.0.1")
    token = exchanger.issuer.token()
    fields = {"authorization": f"Bearer {token}"}
    head = HttpHead("POST", "/mcp", "", fields, frozenset(), {}, keep_alive=True, chunks=True)
    principal = await identity.settle(head, Peer())
    assert isinstance(principal, Principal)
    assert principal.token is not None
    assert principal.token.reveal() == token
    assert token not in repr(principal)
    await identity.close()
