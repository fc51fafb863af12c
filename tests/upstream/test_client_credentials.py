"""Tokens that the hub gets in its own name: from a real token endpoint over HTTP, that checks what it is shown."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from concento.credentials.client_credentials import ClientCredentials
from concento.credentials.token import RETRY_S, YOUNG_S
from concento.credentials.token_endpoint import signing_key
from concento.model.errors import Unavailable
from concento.model.showing import OAuthClient
from concento.testing.clock import ManualClock

SECRET = "a secret/with+signs"


class TokenEndpoint:
    """An authorization server's token endpoint. It gives `token-1`, `token-2`, … to the client it knows."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.given = 0
        self.expires_in: Any = 3600
        self.answer: Any = None
        self.gate: asyncio.Event | None = None
        self.key: Any = None
        self.url = ""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is not None:
            return self.answer  # type: ignore[no-any-return]
        if not self._knows(form, request.headers.get("Authorization")):
            return web.json_response({"error": "invalid_client"}, status=401)
        self.given += 1
        told = {"access_token": f"token-{self.given}", "token_type": "bearer", "expires_in": self.expires_in}
        return web.json_response(told)

    def _knows(self, form: dict[str, str], authorization: str | None) -> bool:
        if form.get("grant_type") != "client_credentials":
            return False
        if self.key is not None:
            if not form["client_assertion_type"].endswith("jwt-bearer"):
                return False
            token = jwt.decode(form["client_assertion"], self.key, algorithms=["RS256", "ES256"])
            claims = token.claims
            return claims["iss"] == claims["sub"] == "hub" and claims["aud"] == self.url and "jti" in claims
        if authorization is not None:
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            return pair == "hub:a%20secret%2Fwith%2Bsigns"
        return form.get("client_id") == "hub" and form.get("client_secret") == SECRET


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    one = TokenEndpoint()
    app = web.Application()
    app.router.add_post("/token", one.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    yield one
    if one.gate is not None:
        one.gate.set()  # else the server waits a minute for who waits here
    await runner.cleanup()


def client(endpoint: TokenEndpoint, clock: ManualClock | None = None, **more: Any) -> ClientCredentials:
    known = OAuthClient(endpoint.url, "hub", **{"secret": SECRET, **more})
    return ClientCredentials(known, "docs", (clock or ManualClock()).monotonic)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_secret_gets_a_token_which_is_used_until_shortly_before_it_ends(
    endpoint: TokenEndpoint, method: Any
) -> None:
    clock = ManualClock()
    one = client(endpoint, clock, method=method, scope="a b", resource="https://docs.example.com/mcp")
    assert await one.field() == b"Authorization: Bearer token-1\r\n"
    clock.advance(3600 - 31)
    assert await one.field() == b"Authorization: Bearer token-1\r\n"
    clock.advance(2)
    assert await one.field() == b"Authorization: Bearer token-2\r\n"
    assert {form["scope"] for form in endpoint.forms} == {"a b"}
    assert {form["resource"] for form in endpoint.forms} == {"https://docs.example.com/mcp"}
    assert ("client_secret" in endpoint.forms[0]) is (method == "client_secret_post")


@pytest.mark.parametrize("key", [RSAKey.generate_key(2048), ECKey.generate_key("P-256")])
async def test_a_private_key_signs_for_one_and_is_sent_nowhere(endpoint: TokenEndpoint, key: Any) -> None:
    endpoint.key = key
    pem = key.as_pem(private=True).decode()
    one = client(endpoint, method="private_key_jwt", secret=pem)
    assert await one.field() == b"Authorization: Bearer token-1\r\n"
    assert "client_secret" not in endpoint.forms[0]
    assert pem not in json.dumps(endpoint.forms)


async def test_a_hundred_that_need_it_fetch_it_once_even_if_the_first_gives_up(endpoint: TokenEndpoint) -> None:
    endpoint.gate = asyncio.Event()
    one = client(endpoint)
    async with asyncio.TaskGroup() as group:
        first, *rest = [group.create_task(one.field()) for _ in range(100)]
        await asyncio.sleep(0)
        first.cancel()
        endpoint.gate.set()
    assert {task.result() for task in rest} == {b"Authorization: Bearer token-1\r\n"}
    assert len(endpoint.forms) == 1


async def test_one_that_was_refused_is_renewed_once_for_all(endpoint: TokenEndpoint) -> None:
    clock = ManualClock()
    one = client(endpoint, clock)
    shown = await one.field()
    assert await one.renewed(shown) == shown, "of a new one that is refused, another is as bad"
    clock.advance(YOUNG_S)
    fresh = await asyncio.gather(*(one.renewed(shown) for _ in range(10)))
    assert set(fresh) == {b"Authorization: Bearer token-2\r\n"}
    assert len(endpoint.forms) == 2


@pytest.mark.parametrize("expires_in", [None, "3600", 0, -5, 1e300, "soon"])
async def test_any_lifetime_is_bounded(endpoint: TokenEndpoint, expires_in: Any) -> None:
    clock = ManualClock()
    endpoint.expires_in = expires_in
    one = client(endpoint, clock)
    assert await one.field() == b"Authorization: Bearer token-1\r\n"
    assert await one.field() == b"Authorization: Bearer token-1\r\n"
    clock.advance(366 * 86_400.0)
    assert await one.field() == b"Authorization: Bearer token-2\r\n"


def token(**members: Any) -> web.Response:
    return web.json_response({"access_token": "t", "token_type": "Bearer", **members})


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=302, headers={"Location": "http://169.254.169.254/"}),
        lambda: web.Response(status=500, text="a secret/with+signs in a trace"),
        lambda: web.Response(text="no JSON"),
        lambda: web.json_response([1]),
        lambda: token(access_token=""),
        lambda: token(access_token="two words"),
        lambda: token(access_token="a\r\nX-Injected: 1"),
        lambda: token(access_token="x" * 20_000),
        lambda: token(token_type="mac"),
        lambda: web.json_response({"error": "unauthorized_client"}, status=400),
        lambda: web.Response(text="x" * 1_000_000),
    ],
)
async def test_what_is_no_token_is_told_without_a_word_of_the_servers(endpoint: TokenEndpoint, answer: Any) -> None:
    endpoint.answer = answer()
    one = client(endpoint)
    with pytest.raises(Unavailable, match="The authorization server of 'docs' gave no token") as caught:
        await one.field()
    assert caught.value.outcome == "not_sent"
    assert SECRET not in caught.value.message
    assert endpoint.url not in caught.value.message


async def test_after_a_failure_nobody_asks_again_for_a_moment(endpoint: TokenEndpoint) -> None:
    clock = ManualClock()
    endpoint.answer = web.Response(status=500)
    one = client(endpoint, clock)
    for _ in range(20):
        with pytest.raises(Unavailable):
            await one.field()
    assert len(endpoint.forms) == 1
    clock.advance(RETRY_S)
    endpoint.answer = None
    assert await one.field() == b"Authorization: Bearer token-1\r\n"


async def test_nobody_there_is_told() -> None:
    one = ClientCredentials(OAuthClient("http://127.0.0.1:9/token", "hub", secret=SECRET), "docs")
    with pytest.raises(Unavailable, match="can't be reached"):
        await one.field()
    await one.close()


UNUSABLE = [
    *("", "no PEM", RSAKey.generate_key(2048).as_pem(private=False).decode()),
    *(key.as_pem(private=True).decode() for key in (OKPKey.generate_key("Ed25519"), ECKey.generate_key("P-521"))),
]


@pytest.mark.parametrize("pem", UNUSABLE, ids=["nothing", "text", "public", "Ed25519", "P-521"])
def test_what_is_no_private_key_is_refused(pem: str) -> None:
    with pytest.raises(ValueError, match="expected a private key"):
        signing_key(pem)


def test_a_client_tells_nobody_its_secret() -> None:
    assert SECRET not in repr(OAuthClient("https://x/", "hub", secret=SECRET))


async def test_once_it_is_closed_nobody_gets_an_empty_field(endpoint: TokenEndpoint) -> None:
    endpoint.gate = asyncio.Event()
    one = client(endpoint)
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(failing(one)) for _ in range(5)]
        await asyncio.sleep(0.05)
        await one.close()
    assert all("the hub is stopping" in task.result() for task in waiting)
    assert "the hub is stopping" in await failing(one)
    assert len(endpoint.forms) == 1


async def failing(one: ClientCredentials) -> str:
    with pytest.raises(Unavailable) as caught:
        await one.field()
    return caught.value.message


async def test_an_answer_that_echoes_the_secret_is_not_told(endpoint: TokenEndpoint) -> None:
    endpoint.answer = web.json_response({"error": "S3cretS3cret"}, status=400)
    assert "S3cret" not in await failing(client(endpoint))
