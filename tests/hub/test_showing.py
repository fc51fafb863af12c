"""What the hub shows its servers: tokens it fetched, passwords, certificates. Through a whole hub. Source: T3, R19."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.hub.conftest import Start, config
from tests.upstream.test_client_credentials import SECRET, TokenEndpoint, endpoint

from concento.model.config import Server, UrlReplica
from concento.model.showing import OAuthClient, ServerTls
from concento.testing import Exchange, RawAgent, ScriptedHttpServer, legacy_mcp, modern_mcp, status
from concento.testing.waiting import until

__all__ = ["endpoint"]
CALL = {"name": "s__echo", "arguments": {"text": "hello"}}


def server(url: str, **options: Any) -> Server:
    return Server("s", (UrlReplica(url, **options),))


def shown(upstream: ScriptedHttpServer) -> set[str | None]:
    """What stood in the Authorization field of all requests."""
    return {hit.header("Authorization") for hit in upstream.hits()}


@pytest.mark.parametrize("kind", [modern_mcp, legacy_mcp])
async def test_every_request_bears_the_token_and_none_of_the_callers(
    start: Start, endpoint: TokenEndpoint, kind: Any
) -> None:
    async with ScriptedHttpServer(kind()) as upstream:
        hub = await start(config(server(upstream.url, oauth=OAuthClient(endpoint.url, "hub", secret=SECRET))))
        await hub.ready("s")
        async with RawAgent(hub.mcp, bearer="the-callers-own") as agent:
            for _ in range(3):
                assert (await agent.modern("tools/call", CALL)).result["content"]
        assert shown(upstream) == {"Bearer token-1"}
    assert len(endpoint.forms) == 1


async def test_a_token_that_is_refused_is_renewed_and_the_call_runs_once(
    start: Start, endpoint: TokenEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("concento.credentials.token.YOUNG_S", 0.0)
    refused: list[str] = []

    async def judges(exchange: Exchange) -> Any:
        if exchange.hit.header("Authorization") == "Bearer token-1":
            refused.append(exchange.name)
            return await status(401)(exchange)
        return {"content": [{"type": "text", "text": "done"}]}

    async with ScriptedHttpServer(modern_mcp(on_call=judges)) as upstream:
        hub = await start(config(server(upstream.url, oauth=OAuthClient(endpoint.url, "hub", secret=SECRET))))
        await hub.ready("s")
        async with RawAgent(hub.mcp) as agent:
            assert (await agent.modern("tools/call", CALL)).result["content"][0]["text"] == "done"
        assert refused == ["echo"]
        assert len(upstream.hits("tools/call")) == 2


async def test_without_a_token_nothing_is_sent(start: Start, endpoint: TokenEndpoint) -> None:
    async with ScriptedHttpServer(modern_mcp()) as upstream:
        hub = await start(config(server(upstream.url, oauth=OAuthClient(endpoint.url, "hub", secret="wrong"))))
        slices = hub.hub.current
        await until(lambda: slices.snapshot.slices["s"].health.state == "failing", "it fails")
        error = slices.snapshot.slices["s"].health.error or ""
        assert "gave no token: it answered with the status 401 (invalid_client)" in error
        assert upstream.hits() == []


# -- certificates, in both directions


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[tuple[ScriptedHttpServer, dict[str, Path]]]:
    """A server over TLS that takes only those whom its own authority signed, and the files for it."""
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    files = {name: tmp_path / f"{name}.pem" for name in ("ca", "cert", "key")}
    ca.cert_pem.write_to_path(str(files["ca"]))
    own = ca.issue_cert("hub@example.com")
    own.private_key_pem.write_to_path(str(files["key"]))
    own.cert_chain_pems[0].write_to_path(str(files["cert"]))
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(ScriptedHttpServer(modern_mcp(), tls=context)), files


async def test_the_hub_shows_its_certificate_and_judges_the_servers(
    start: Start, guarded: tuple[ScriptedHttpServer, dict[str, Path]]
) -> None:
    upstream, files = guarded
    hub = await start(config(server(upstream.url, tls=ServerTls(**files))))
    await hub.ready("s")
    async with RawAgent(hub.mcp) as agent:
        assert (await agent.modern("tools/call", CALL)).result["content"]


@pytest.mark.parametrize("without", ["ca", "cert", "all"])
async def test_without_either_there_is_no_connection(
    start: Start, guarded: tuple[ScriptedHttpServer, dict[str, Path]], without: str
) -> None:
    upstream, files = guarded
    tls = ServerTls(**files)
    lacking = {"ca": replace(tls, ca=None), "cert": replace(tls, cert=None, key=None), "all": None}[without]
    hub = await start(config(server(upstream.url, tls=lacking)))
    await until(lambda: hub.hub.current.snapshot.slices["s"].health.state == "failing", "it fails")
    assert upstream.hits() == []


async def test_certificates_that_can_not_be_used_are_told(start: Start, tmp_path: Path) -> None:
    missing = ServerTls(ca=tmp_path / "gone.pem")
    hub = await start(config(server("https://127.0.0.1:9/mcp", tls=missing)))
    await until(lambda: hub.hub.current.snapshot.slices["s"].health.state == "failing", "it fails")
    error = hub.hub.current.snapshot.slices["s"].health.error or ""
    assert "The certificates for the server 's' can't be used: No such file or directory" in error
