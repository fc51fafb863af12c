"""Signed tokens: which are taken, whose they are, and where their keys come from. Source: hardening T1, T2, R19."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from joserfc.jwk import RSAKey
from tests.front.issuer import AUDIENCE, TestIssuer

from concento.front.identity.authenticator import Authenticator, Peer
from concento.front.identity.jwks import KEPT_S, REFETCH_S
from concento.front.identity.keys import ApiKeys
from concento.front.parser import HttpHead, Refusal
from concento.model.auth import Auth, Claims, Issuer
from concento.model.principal import Principal
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock

BASE = "https://mcp.example.com"


class Clock(ManualClock):
    """Real wall time, and monotonic time by hand."""

    def wall(self) -> float:
        import time

        return time.time()


@pytest.fixture
async def issuer() -> AsyncIterator[TestIssuer]:
    async with TestIssuer().serving() as serving:
        yield serving


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Door:
    """An authenticator, and knocking at it with a token."""

    def __init__(self, clock: ManualClock) -> None:
        self.authenticator = Authenticator(ApiKeys(MemoryStore(), clock), clock)

    async def knock(self, token: str | None, path: str = "/mcp", **head: Any) -> Principal | Refusal:
        fields = {} if token is None else {"authorization": f"Bearer {token}"}
        shown = HttpHead(
            "POST",
            path,
            head.pop("query", ""),
            head.pop("fields", fields),
            frozenset(head.pop("repeated", ())),
            {},
            True,
            True,
        )
        return self.authenticator.judge(shown, Peer("1.2.3.4")) or await self.authenticator.settle(
            shown, Peer("1.2.3.4")
        )


@pytest.fixture
async def door(issuer: TestIssuer, clock: Clock) -> AsyncIterator[Door]:
    made = Door(clock)
    config = Issuer("company", issuer.url, (AUDIENCE,), claims=Claims(roles="groups"))
    await made.authenticator.configure(Auth(BASE, True, (config,)), BASE)
    yield made
    await made.authenticator.close()


async def test_a_token_says_who_calls_and_for_whom(door: Door, issuer: TestIssuer) -> None:
    token = issuer.token(
        scope="a b", groups=["dev", "ops"], client_id="cli", act={"sub": "helper", "act": {"sub": "runner"}}
    )
    who = await door.knock(token)
    assert isinstance(who, Principal)
    assert (who.subject, who.agent, who.chain, who.tenant) == ("alice", "helper", ("runner", "cli"), "default")
    assert (who.roles, who.scopes) == (frozenset({"dev", "ops"}), frozenset({"a", "b"}))
    assert who.proof == "jwt"
    assert who.credential.startswith("jwt:company:")
    assert token not in repr(who)
    assert await door.knock(token) is who
    assert issuer.asked.count("/keys") == 1


@pytest.mark.parametrize(("key", "alg"), [("k1", "RS256"), ("e1", "ES256")])
async def test_signatures_of_both_kinds_are_taken(door: Door, issuer: TestIssuer, key: str, alg: str) -> None:
    assert isinstance(await door.knock(issuer.token(key, alg)), Principal)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def unsigned(**claims: Any) -> str:
    return f"{part({'alg': 'none', 'kid': 'k1'})}.{part(claims)}."


BAD: dict[str, Any] = {
    "nothing": lambda issuer: None,
    "garbage": lambda issuer: "garbage",
    "three dots": lambda issuer: "a.b.c.d",
    "expired": lambda issuer: issuer.token(exp=1),
    "no expiry": lambda issuer: issuer.token(exp=None),
    "an expiry that is a text": lambda issuer: issuer.token(exp="2999"),
    "of the future": lambda issuer: issuer.token(nbf=4_000_000_000),
    "issued in the future": lambda issuer: issuer.token(iat=4_000_000_000),
    "another issuer": lambda issuer: issuer.token(iss="https://evil.example"),
    "an issuer with a slash more": lambda issuer: issuer.token(iss=issuer.url + "/"),
    "no issuer": lambda issuer: issuer.token(iss=None),
    "another audience": lambda issuer: issuer.token(aud="api://other"),
    "an audience with a slash more": lambda issuer: issuer.token(aud=AUDIENCE + "/"),
    "audiences of others": lambda issuer: issuer.token(aud=["api://other", "api://third"]),
    "no audience": lambda issuer: issuer.token(aud=None),
    "no subject": lambda issuer: issuer.token(sub=None),
    "a subject with a line end": lambda issuer: issuer.token(sub="a\nb"),
    "alg none": lambda issuer: unsigned(iss=issuer.url, aud=AUDIENCE, sub="alice", exp=4_000_000_000),
    "the public key as a secret": lambda issuer: issuer.hs256(issuer.keys["k1"].as_pem(private=False)),
    "a forged signature": lambda issuer: issuer.token()[:-8] + "AAAAAAAA",
    "another body under the signature": lambda issuer: swapped(issuer),
    "a key of somebody's own": lambda issuer: foreign(issuer),
    "an unknown key": lambda issuer: issuer.token(header={"kid": "nobody's"}),
    "a key of another kind": lambda issuer: issuer.token(header={"kid": "e1"}),
    "a header that is critical": lambda issuer: issuer.token(header={"crit": ["kid"]}),
    "an identity token": lambda issuer: issuer.token(header={"typ": "id+jwt"}),
    "huge": lambda issuer: issuer.token(padding="x" * 20_000),
    "a chain of actors without end": lambda issuer: issuer.token(act=chain_of(20)),
    "a key that no hub made": lambda issuer: "concento_abcdefghij_" + "A" * 48,
}


def swapped(issuer: TestIssuer) -> str:
    (head, _, signature), (_, body, _) = issuer.token().split("."), issuer.token(sub="root").split(".")
    return f"{head}.{body}.{signature}"


def foreign(issuer: TestIssuer) -> str:
    other = TestIssuer.__new__(TestIssuer)
    other.keys, other.url = {"k1": RSAKey.generate_key(2048, {"kid": "k1"})}, issuer.url
    return other.token()


def chain_of(length: int) -> dict[str, Any]:
    return {"sub": "x", "act": chain_of(length - 1)} if length else {"sub": "x"}


@pytest.mark.parametrize("kind", BAD)
async def test_a_token_that_is_not_right_is_refused_with_a_challenge(door: Door, issuer: TestIssuer, kind: str) -> None:
    """T1, T2."""
    refused = await door.knock(BAD[kind](issuer))
    assert isinstance(refused, Refusal)
    assert refused.status == 401
    ((name, challenge),) = refused.headers
    assert name == "www-authenticate"
    assert f'resource_metadata="{BASE}/.well-known/oauth-protected-resource/mcp"' in challenge
    assert ('error="invalid_token"' in challenge) is (kind != "nothing")


@pytest.mark.parametrize(
    "head",
    [
        {"repeated": ("authorization",)},
        {"fields": {"authorization": "Basic YTpi"}},
        {"fields": {"authorization": "Bearer"}},
        {"fields": {"authorization": "Bearer "}},
        {"fields": {"authorization": "Bearer a b"}},
        {"fields": {}, "query": "access_token=TOKEN"},
    ],
)
async def test_a_token_counts_in_one_place_only(door: Door, issuer: TestIssuer, head: dict[str, Any]) -> None:
    if "query" in head:
        head = {**head, "query": head["query"].replace("TOKEN", issuer.token())}
    refused = await door.knock(issuer.token(), **head)
    assert isinstance(refused, Refusal)
    assert refused.status == 401


async def test_the_scheme_is_read_in_any_case(door: Door, issuer: TestIssuer) -> None:
    assert isinstance(await door.knock(None, fields={"authorization": f"bearer {issuer.token()}"}), Principal)


async def test_without_an_audience_a_token_is_for_one_endpoint(issuer: TestIssuer, clock: Clock) -> None:
    """T2: each endpoint is a resource of its own."""
    door = Door(clock)
    await door.authenticator.configure(Auth(BASE, True, (Issuer("company", issuer.url),)), BASE)
    token = issuer.token(aud=[f"{BASE}/views/coding/mcp"])
    assert isinstance(await door.knock(token, "/views/coding/mcp"), Principal)
    for path in ("/mcp", "/views/other/mcp", "/servers/coding/mcp", "/sse"):
        assert isinstance(await door.knock(token, path), Refusal)
    assert isinstance(await door.knock(issuer.token(aud=f"{BASE}/mcp"), "/sse"), Principal)
    assert isinstance(await door.knock(issuer.token(aud=BASE), "/mcp"), Refusal)
    await door.authenticator.close()


async def test_claims_are_mapped_and_what_maps_to_nothing_is_nobody(issuer: TestIssuer, clock: Clock) -> None:
    door = Door(clock)
    claims = Claims("email", "app", "org.id", "https://x.example/groups", "permissions")
    config = Issuer(
        *("company", issuer.url, (AUDIENCE,)),
        claims=claims,
        tenants={"4711": "acme"},
        roles={"eng": ("dev", "reader")},
    )
    await door.authenticator.configure(Auth(BASE, True, (config,)), BASE)
    told: dict[str, Any] = {
        "email": "a@x",
        "app": "cli",
        "org": {"id": 4711},
        "https://x.example/groups": ["eng", "admin"],
    }
    who = await door.knock(issuer.token(**told, permissions=["p"]))
    assert isinstance(who, Principal)
    assert (who.subject, who.agent, who.tenant) == ("a@x", "cli", "acme")
    assert (who.roles, who.scopes) == (frozenset({"dev", "reader"}), frozenset({"p"}))
    assert isinstance(await door.knock(issuer.token(**{**told, "org": {"id": 1}})), Refusal)
    assert isinstance(await door.knock(issuer.token(**{**told, "org": None})), Refusal)
    await door.authenticator.close()


async def test_a_key_that_turns_over_is_found(door: Door, issuer: TestIssuer, clock: Clock) -> None:
    assert isinstance(await door.knock(issuer.token()), Principal)
    issuer.keys["k2"] = RSAKey.generate_key(2048, {"kid": "k2"})
    token = issuer.token("k2")
    assert isinstance(await door.knock(token), Refusal)  # looked for just now
    clock.advance(REFETCH_S)
    assert isinstance(await door.knock(token), Principal)


async def test_a_flood_of_unknown_keys_asks_the_issuer_once_in_a_while(
    door: Door, issuer: TestIssuer, clock: Clock
) -> None:
    tokens = [issuer.token(header={"kid": f"k-{number}"}) for number in range(50)]
    assert all(isinstance(one, Refusal) for one in await asyncio.gather(*(door.knock(token) for token in tokens)))
    assert issuer.asked.count("/keys") == 1
    clock.advance(REFETCH_S)
    await asyncio.gather(*(door.knock(token) for token in tokens))
    assert issuer.asked.count("/keys") == 2


async def test_an_issuer_that_is_down_is_served_from_the_keys_it_had(
    door: Door, issuer: TestIssuer, clock: Clock
) -> None:
    """R19."""
    first = issuer.token(sub="first")
    assert isinstance(await door.knock(first), Principal)
    issuer.down = True
    clock.advance(3600)
    await door.authenticator.refresh()
    assert isinstance(await door.knock(issuer.token(sub="second")), Principal)
    assert door.authenticator.problems
    clock.advance(KEPT_S)
    refused = await door.knock(issuer.token(sub="third"))
    assert isinstance(refused, Refusal)
    assert refused.status == 503


async def test_keys_that_never_came_are_no_fault_of_the_callers(issuer: TestIssuer, clock: Clock) -> None:
    door = Door(clock)
    issuer.told_issuer = "https://evil.example"
    await door.authenticator.configure(Auth(BASE, True, (Issuer("company", issuer.url, (AUDIENCE,)),)), BASE)
    refused = await door.knock(issuer.token())
    assert isinstance(refused, Refusal)
    assert (refused.status, dict(refused.headers)["retry-after"]) == (503, "30")
    assert "another issuer" in door.authenticator.problems[0]
    await door.authenticator.close()


async def test_keys_are_found_by_oidc_discovery_too(issuer: TestIssuer, clock: Clock) -> None:
    door = Door(clock)
    issuer.oidc = True
    await door.authenticator.configure(Auth(BASE, True, (Issuer("company", issuer.url, (AUDIENCE,)),)), BASE)
    assert isinstance(await door.knock(issuer.token()), Principal)
    await door.authenticator.close()


async def test_metadata_leads_to_the_issuers_of_each_endpoint(door: Door, issuer: TestIssuer) -> None:
    """RFC 9728."""
    well_known = "/.well-known/oauth-protected-resource"
    for path, endpoint in (
        ("", "/mcp"),
        ("/mcp", "/mcp"),
        ("/views/a/mcp", "/views/a/mcp"),
        ("/servers/s/mcp", "/servers/s/mcp"),
    ):
        told = door.authenticator.metadata(well_known + path)
        assert told is not None
        document = json.loads(told)
        assert document["resource"] == BASE + endpoint
        assert document["authorization_servers"] == [issuer.url]
        assert document["bearer_methods_supported"] == ["header"]
    for path in ("/nothing", "/views/mcp", "/mcp/x", "/views/../mcp"):
        assert door.authenticator.metadata(well_known + path) is None


async def test_a_challenge_to_step_up_names_all_scopes_and_nothing_can_break_out_of_it(door: Door) -> None:
    ((_, challenge),) = door.authenticator.challenge("/mcp", "insufficient_scope", ('a"b\r\nX: y', "c"))
    assert 'error="insufficient_scope"' in challenge
    assert "\r" not in challenge
    assert "\n" not in challenge
    assert challenge.count('"') % 2 == 0


async def test_where_keys_are_all_there_is_a_challenge_leads_nowhere(clock: Clock) -> None:
    door = Door(clock)
    await door.authenticator.configure(Auth(), BASE)
    refused = await door.knock(None)
    assert isinstance(refused, Refusal)
    assert refused.headers == (("www-authenticate", 'Bearer realm="concento"'),)
    assert door.authenticator.metadata("/.well-known/oauth-protected-resource") is None
