"""What the hub asks on the word of others: nothing but what is public, and nothing else than what was judged. T19."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from tests.hostile.outside import PUBLIC_AT, Outside, outside, redirects
from tests.hostile.sites import SITES, Site, issues
from tests.hostile.urls import UNREADABLE, URLS

from concento.front.identity.authenticator import Authenticator
from concento.front.identity.keys import ApiKeys
from concento.model.auth import Auth, Issuer
from concento.model.outbound import PUBLIC, reach_of
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock
from concento.testing.http_server import Conn, Hit
from concento.transport.outbound import NotFetched, fetch

each_site = pytest.mark.parametrize("site", SITES, ids=[site.name for site in SITES])


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Outside]:
    async with outside(monkeypatch) as world:
        yield world


@each_site
async def test_what_is_public_is_asked(site: Site, world: Outside) -> None:
    """The proof that the other tests could fail."""
    assert await site.ask("https://elsewhere.test:8443/", world) is not None
    assert set(world.asked) == {(PUBLIC_AT, 8443)}
    assert await world.public.connects() == len(world.asked)


@each_site
@pytest.mark.parametrize("part", range(8))
async def test_what_is_not_public_is_never_asked(site: Site, part: int, world: Outside) -> None:
    for url in URLS[part::8]:
        told = await site.ask(url.format(port=world.canary.port), world)
        assert told, url
        assert "canary-4242" not in told, url
        assert world.asked == [], url
    assert await world.canary.connects() == await world.public.connects() == 0


@each_site
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(site: Site, status: int, world: Outside) -> None:
    for place in (f"http://127.0.0.1:{world.canary.port}/", f"https://elsewhere.test:{world.canary.port}/", "/here"):
        async with world.serves(redirects(status, place), "elsewhere.test") as (origin, hits):
            await site.ask(f"{origin}/there", world)
            assert hits
            assert "/here" not in {hit.path for hit in hits}
    assert world.asked == []
    assert await world.canary.connects() == 0


@each_site
async def test_a_name_that_means_another_address_a_moment_later_changes_nothing(site: Site, world: Outside) -> None:
    world.names["rebinds.test"] = [(PUBLIC_AT,), ("127.0.0.1",)]
    assert await site.ask(f"https://rebinds.test:{world.canary.port}/", world)
    assert world.asked == [(PUBLIC_AT, world.canary.port)]
    assert await world.canary.connects() == 0
    assert await world.public.connects() == 1


@each_site
async def test_a_proxy_of_the_environment_is_not_gone_through(
    site: Site, world: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would resolve the name once more."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{world.canary.port}")
        monkeypatch.setenv(name.upper(), f"http://127.0.0.1:{world.canary.port}")
    await site.ask("https://elsewhere.test/", world)
    assert set(world.asked) == {(PUBLIC_AT, 443)}


@each_site
async def test_what_is_no_url_at_all_is_told(site: Site, world: Outside) -> None:
    for url in UNREADABLE:
        assert await site.ask(url, world), url
    assert world.asked == []


@each_site
async def test_an_answer_that_is_no_text_is_told(site: Site, world: Outside) -> None:
    async def garbled(hit: Hit, conn: Conn) -> None:
        await conn.respond(200, b'{"issuer": "\xff", "client_id": "\xff", "access_token": "\xff"}')

    async with world.serves(garbled, "elsewhere.test") as (origin, hits):
        told = await site.ask(f"{origin}/there", world)
        assert hits
        assert told or site.name in ("fetch", "revocation_endpoint"), "these two read no body"


async def test_of_several_judged_addresses_another_is_asked_if_one_fails_and_no_name_again(world: Outside) -> None:
    world.names["many.test"] = [("93.184.216.35", "2606:4700::1111", PUBLIC_AT), ("127.0.0.1",)]
    with pytest.raises(NotFetched, match="reached"):
        await fetch(f"https://many.test:{world.canary.port}/", PUBLIC)
    assert {host for host, _ in world.asked} == {"93.184.216.35", "2606:4700::1111", PUBLIC_AT}
    assert world.resolved == ["many.test"]
    assert await world.canary.connects() == 0


async def test_an_address_that_was_not_judged_gets_no_socket(world: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library resolves nothing that it takes for an address: a resolver that reads it otherwise is not believed."""

    async def otherwise(host: str, port: int, **_: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (PUBLIC_AT, port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", otherwise)
    with pytest.raises(NotFetched, match="reached"):
        await fetch(f"https://127.0.0.1:{world.canary.port}/", PUBLIC)
    assert world.asked == []
    assert await world.canary.connects() == 0


async def test_what_the_operator_allows_is_asked_from_then_on(world: Outside) -> None:
    world.names["inside.test"] = ("10.0.0.5",)
    clock = ManualClock()
    identity = Authenticator(ApiKeys(MemoryStore(), clock), clock)
    async with world.serves(issues("https://inside.test:8443/keys")) as (origin, _):
        auth = Auth(issuers=(Issuer("company", origin),))
        await identity.configure(auth, "http://127.0.0.1:7400")
        await identity.refresh()
        assert "an address that is not public" in identity.problems[0]
        assert world.asked == []
        await identity.configure(auth, "http://127.0.0.1:7400", reach_of(["inside.test"]))
        clock.advance(600)
        await identity.refresh()
        assert "can't be reached" in identity.problems[0]
        assert world.asked == [("10.0.0.5", 8443)]
    await identity.close()
