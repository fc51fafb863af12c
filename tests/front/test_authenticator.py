"""Who calls, on the head of a request: every way of proving it, and every way of failing to.

Source: RFC 6750, RFC 9728; hardening T1, T2, T36, R19.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey
from tests.front.conftest import WAIT_S, listening
from tests.front.issuer import BASE_URL, EC, NEXT, RESOURCE, OwnIssuer, own_issuer, part, published, signed

from concento.front.http import Exchange
from concento.front.identity.authenticator import Authenticator, Peer, Unproved
from concento.front.identity.certificates import principal_for
from concento.front.identity.keys import ApiKeys
from concento.front.identity.metadata import WELL_KNOWN
from concento.front.identity.tokens import CHARS_MAX
from concento.front.parser import HttpHead, HttpRequest, Refusal, RequestParser
from concento.model.auth import Auth, Certificate, Issuer
from concento.model.principal import ANONYMOUS, LOCAL, Principal
from concento.store.memory import MemoryStore
from concento.testing.clock import ManualClock
from concento.testing.http_server import Conn, Hit

NOBODY = Peer("127.0.0.1")


def head_of(*fields: str, path: str = "/mcp", method: str = "POST") -> HttpHead:
    """A head as it comes out of the parser."""
    heads: list[HttpHead] = []

    def admit(head: HttpHead) -> None:
        heads.append(head)

    lines = [f"{method} {path} HTTP/1.1", "Host: h", *fields, "", ""]
    RequestParser(admit).feed("\r\n".join(lines).encode("latin-1"))
    (head,) = heads
    return head


def bearer(text: str, **request: str) -> HttpHead:
    return head_of(f"Authorization: Bearer {text}", **request)


class Door:
    """An authenticator, its clock, and a key."""

    def __init__(self, clock: ManualClock, keys: ApiKeys, identity: Authenticator) -> None:
        self.clock = clock
        self.keys = keys
        self.identity = identity
        self.key = ""
        self.key_id = ""

    @property
    def now_s(self) -> float:
        return self.clock.wall()

    def judge(self, head: HttpHead, peer: Peer = NOBODY) -> Principal | Refusal | None:
        return self.identity.judge(head, peer)

    def let_in(self, head: HttpHead, peer: Peer = NOBODY) -> Principal:
        found = self.judge(head, peer)
        assert isinstance(found, Principal), found
        return found

    def refused(self, head: HttpHead, peer: Peer = NOBODY) -> Unproved:
        found = self.judge(head, peer)
        assert isinstance(found, Unproved), found
        return found


async def door(auth: Auth | None, base_url: str = BASE_URL) -> Door:
    clock = ManualClock()
    keys = ApiKeys(MemoryStore(), clock)
    identity = Authenticator(keys, clock)
    await identity.configure(auth, base_url)
    found = Door(clock, keys, identity)
    record, found.key = await keys.create("ada", agent="editor")
    found.key_id = record.id
    return found


async def door_of(issuer: OwnIssuer, **auth: Any) -> Door:
    """With an issuer whose keys were fetched."""
    found = await door(Auth(BASE_URL, issuers=(issuer.issuer(),), **auth))
    await found.identity.refresh()
    return found


def challenge_of(refusal: Refusal) -> str:
    ((name, value),) = refusal.headers
    assert name == "www-authenticate"
    return value


# -- the matrix of hardening T1 and T2

Make = Callable[[OwnIssuer, float], HttpHead]

NOTHING_SHOWN: dict[str, Make] = {
    "no header": lambda i, now_s: head_of(),
    "another scheme": lambda i, now_s: head_of("Authorization: Basic YTpi"),
    "a token without scheme": lambda i, now_s: head_of(f"Authorization: {i.token(now_s)}"),
    "empty header": lambda i, now_s: head_of("Authorization:"),
}
BAD: dict[str, Make] = {
    "scheme alone": lambda i, now_s: head_of("Authorization: Bearer"),
    "empty bearer": lambda i, now_s: head_of("Authorization: Bearer "),
    "two spaces": lambda i, now_s: bearer(" " + i.token(now_s)),
    "two tokens": lambda i, now_s: bearer(f"{i.token(now_s)} {i.token(now_s)}"),
    "two tokens and a comma": lambda i, now_s: bearer(f"{i.token(now_s)},{i.token(now_s)}"),
    "quoted": lambda i, now_s: bearer(f'"{i.token(now_s)}"'),
    "header twice": lambda i, now_s: head_of(*[f"Authorization: Bearer {i.token(now_s)}"] * 2),
    "a good header and another scheme": lambda i, now_s: head_of(
        f"Authorization: Bearer {i.token(now_s)}", "Authorization: Basic YTpi"
    ),
    "token in the query": lambda i, now_s: head_of(path=f"/mcp?access_token={i.token(now_s)}"),
    "token in header and query": lambda i, now_s: bearer(
        i.token(now_s), path=f"/mcp?a=b&access_token={i.token(now_s)}"
    ),
    "garbage": lambda i, now_s: bearer("garbage"),
    "not ASCII": lambda i, now_s: bearer("tökén"),
    "huge": lambda i, now_s: bearer("e" * (CHARS_MAX + 1)),
    "expired": lambda i, now_s: bearer(i.token(now_s, exp=now_s - 61)),
    "forged signature": lambda i, now_s: bearer(
        signed(i.claims(now_s), ECKey.generate_key("P-256", {"kid": "ec-1"}, private=True))
    ),
    "alg none": lambda i, now_s: bearer(f"{part({'alg': 'none'})}.{part(i.claims(now_s))}."),
    "unknown kid": lambda i, now_s: bearer(i.token(now_s, NEXT)),
    "unknown issuer": lambda i, now_s: bearer(i.token(now_s, iss="https://evil.example")),
    "another audience": lambda i, now_s: bearer(i.token(now_s, aud="https://other.example/mcp")),
    "audience with a slash": lambda i, now_s: bearer(i.token(now_s, aud=f"{RESOURCE}/")),
    "audience of another endpoint": lambda i, now_s: bearer(i.token(now_s), path="/views/coding/mcp"),
    "a made-up key": lambda i, now_s: bearer("concento_abcdefghij_" + "A" * 48),
    "the start of a key": lambda i, now_s: bearer("concento_"),
}
GOOD: dict[str, Make] = {
    "a token": lambda i, now_s: bearer(i.token(now_s)),
    "scheme in small letters": lambda i, now_s: head_of(f"Authorization: bearer {i.token(now_s)}"),
    "scheme in capitals": lambda i, now_s: head_of(f"Authorization: BEARER {i.token(now_s)}"),
    "white space around": lambda i, now_s: head_of(f"Authorization: \t Bearer {i.token(now_s)} \t"),
    "audience array": lambda i, now_s: bearer(i.token(now_s, aud=["x", RESOURCE])),
    "its own endpoint": lambda i, now_s: bearer(
        i.token(now_s, aud=f"{BASE_URL}/views/coding/mcp"), path="/views/coding/mcp"
    ),
    "another door to the whole catalog": lambda i, now_s: bearer(i.token(now_s), path="/sse", method="GET"),
    "another query": lambda i, now_s: bearer(i.token(now_s), path="/mcp?trace=1"),
}


@pytest.mark.parametrize("name", NOTHING_SHOWN)
async def test_who_shows_nothing_is_told_where_to_get_it(name: str) -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        refusal = at.refused(NOTHING_SHOWN[name](issuer, at.now_s))
        assert refusal.status == 401
        assert challenge_of(refusal) == f'Bearer resource_metadata="{BASE_URL}{WELL_KNOWN}/mcp"'


@pytest.mark.parametrize("name", BAD)
async def test_who_shows_something_bad_is_told_no_more_than_that(name: str) -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        asked = len(issuer.asked)
        head = BAD[name](issuer, at.now_s)
        refusal = at.refused(head)
        assert refusal.status == 401
        assert not refusal.close
        assert 'error="invalid_token"' in challenge_of(refusal)
        assert refusal.why
        shown = head.fields.get("authorization", "").rpartition(" ")[2]
        told = refusal.reason + challenge_of(refusal) + refusal.why
        assert not shown or shown == "Bearer" or shown not in told
        assert len(issuer.asked) == asked


@pytest.mark.parametrize("name", GOOD)
async def test_who_shows_something_good_comes_in(name: str) -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        assert at.let_in(GOOD[name](issuer, at.now_s)).owner == ("default", "ada", "editor")


async def test_a_forger_can_not_tell_one_failure_from_another() -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        names = ("expired", "forged signature", "alg none", "unknown kid", "unknown issuer", "another audience")
        refusals = [at.refused(BAD[name](issuer, at.now_s)) for name in names]
        assert len({(refusal.reason, refusal.headers) for refusal in refusals}) == 1
        whys = {refusal.why for refusal in refusals}
        assert len(whys) == len(names)


# -- keys


async def test_keys_alone_need_no_place_to_sign_in() -> None:
    at = await door(Auth())
    principal = at.let_in(bearer(at.key))
    assert (principal.subject, principal.proof) == ("ada", "key")
    assert at.let_in(bearer(at.key)) is principal
    assert challenge_of(at.refused(head_of())) == 'Bearer realm="concento"'
    assert challenge_of(at.refused(bearer("x"))) == 'Bearer realm="concento", error="invalid_token"'
    assert at.identity.metadata(WELL_KNOWN) is None


async def test_keys_that_are_not_taken_are_as_good_as_none() -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer, api_keys=False)
        assert at.refused(bearer(at.key)).why == "keys are not taken"
        at.let_in(bearer(issuer.token(at.now_s)))


async def test_a_revoked_key_is_refused_and_what_it_opened_is_over() -> None:
    at = await door(Auth())
    principal = at.let_in(bearer(at.key))
    assert at.identity.is_alive(principal, at.now_s)
    await at.keys.revoke(at.key_id)
    assert not at.identity.is_alive(principal, at.now_s)
    at.refused(bearer(at.key))


# -- nobody is asked


async def test_without_auth_everybody_is_the_same_caller() -> None:
    at = await door(None)
    assert not at.identity.is_on
    for head in (head_of(), bearer("x"), head_of(path="/mcp?access_token=x")):
        assert at.let_in(head) is ANONYMOUS
    assert at.identity.is_alive(ANONYMOUS, at.now_s)
    assert at.identity.metadata(WELL_KNOWN) is None
    assert at.identity.challenge("/mcp") == ()


async def test_whoever_came_in_unasked_is_over_once_callers_are_asked_and_the_other_way_round() -> None:
    at = await door(None)
    await at.identity.configure(Auth(), BASE_URL)
    assert not at.identity.is_alive(ANONYMOUS, at.now_s)
    principal = at.let_in(bearer(at.key))
    await at.identity.configure(None, BASE_URL)
    assert not at.identity.is_alive(principal, at.now_s)


@pytest.mark.parametrize("auth", [None, Auth(), Auth(api_keys=False, certificates=(Certificate("*"),))])
async def test_the_agent_of_a_hubs_own_standard_input_is_never_over(auth: Auth | None) -> None:
    at = await door(auth)
    assert at.identity.is_alive(LOCAL, at.now_s)


# -- certificates

RULES = (Certificate("dns:*", tenant="acme"),)


def with_certificate(at: Door, **changed: Any) -> Peer:
    """A connection whose certificate a rule of the present configuration knows."""
    auth = at.identity._auth
    assert auth is not None
    settings: dict[str, Any] = {"credential": "cert:0", "until_s": at.now_s + 100, "term": at.identity._term} | changed
    return Peer("127.0.0.1", principal_for(["dns:bot"], auth.certificates, **settings))


async def test_a_certificate_alone_is_enough() -> None:
    at = await door(Auth(api_keys=False, certificates=RULES))
    peer = with_certificate(at)
    principal = at.let_in(head_of(), peer)
    assert principal.owner == ("acme", "bot", None)
    assert at.identity.is_alive(principal, at.now_s)
    refusal = at.refused(head_of())
    assert refusal.status == 401
    assert "certificate" in refusal.reason


async def test_an_expired_certificate_is_none_and_its_connection_ends() -> None:
    at = await door(Auth(certificates=RULES))
    peer = with_certificate(at)
    principal = at.let_in(head_of(), peer)
    at.clock.advance(100)
    assert not at.identity.is_alive(principal, at.now_s)
    assert at.refused(head_of(), peer).close


async def test_new_certificate_rules_are_asked_anew_and_other_changes_are_not() -> None:
    at = await door(Auth(certificates=RULES))
    peer = with_certificate(at)
    await at.identity.configure(Auth("https://other.example", certificates=RULES), "https://other.example")
    at.let_in(head_of(), peer)
    await at.identity.configure(Auth(certificates=(Certificate("dns:*", tenant="globex"),)), BASE_URL)
    assert at.refused(head_of(), peer).close
    await at.identity.configure(Auth(), BASE_URL)
    at.refused(head_of(), peer)


async def test_a_key_beside_a_certificate_says_who_calls_if_both_are_of_one_tenant() -> None:
    at = await door(Auth(certificates=RULES))
    peer = with_certificate(at)
    assert "different tenants" in at.refused(bearer(at.key), peer).reason
    _, text = await at.keys.create("eve", tenant="acme")
    assert at.let_in(bearer(text), peer).subject == "eve"


async def test_something_bad_is_refused_whatever_certificate_is_beside_it() -> None:
    at = await door(Auth(certificates=RULES))
    peer = with_certificate(at)
    for head in (bearer("x"), bearer(""), head_of("Authorization: Basic YTpi"), head_of(path="/mcp?access_token=x")):
        at.refused(head, peer)


# -- waiting for an issuer


async def test_the_first_token_waits_for_the_keys_and_the_next_does_not() -> None:
    async with own_issuer() as issuer:
        at = await door(Auth(BASE_URL, issuers=(issuer.issuer(),)))
        head = bearer(issuer.token(at.now_s))
        assert at.judge(head) is None
        settled = await at.identity.settle(head, NOBODY)
        assert isinstance(settled, Principal)
        assert at.judge(head) is settled
        assert len(issuer.asked) == 1


async def test_a_token_that_waited_may_be_refused_yet() -> None:
    async with own_issuer() as issuer:
        at = await door(Auth(BASE_URL, issuers=(issuer.issuer(),)))
        for token in (issuer.token(at.now_s, NEXT), issuer.token(at.now_s, exp=at.now_s - 100)):
            found = await at.identity.settle(bearer(token), NOBODY)
            assert isinstance(found, Unproved)
            assert found.status == 401
        assert len(issuer.asked) == 1


async def test_an_issuer_that_is_down_is_no_fault_of_the_caller() -> None:
    async with own_issuer() as issuer:
        at = await door(Auth(BASE_URL, issuers=(issuer.issuer(),)))
        await issuer.server.stop()
        head = bearer(issuer.token(at.now_s))
        refusal = await at.identity.settle(head, NOBODY)
        assert isinstance(refusal, Unproved)
        assert (refusal.status, refusal.headers) == (503, (("retry-after", "30"),))
        assert issuer.url not in refusal.reason
        assert at.refused(head).status == 503  # on the head alone, until the issuer may be asked again
        at.refused(bearer(at.key[:-1]))
        at.let_in(bearer(at.key))
        (problem,) = at.identity.problems
        assert "'company'" in problem
        await issuer.server.start()
        at.clock.advance(30)
        assert at.judge(head) is None
        assert isinstance(await at.identity.settle(head, NOBODY), Principal)
        assert at.identity.problems == []


async def test_an_issuer_that_goes_down_leaves_its_known_keys_good() -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        await issuer.server.stop()
        at.clock.advance(3600)
        await at.identity.refresh()
        at.let_in(bearer(issuer.token(at.now_s)))
        assert at.refused(bearer(issuer.token(at.now_s, NEXT))).status == 503


async def test_a_flood_of_unknown_keys_is_refused_on_the_head_and_asks_once_in_thirty_seconds() -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        waited = 0
        for second in range(60):
            for number in range(10):
                head = bearer(signed(issuer.claims(at.now_s), kid=f"{second}-{number}"))
                if at.judge(head) is None:
                    waited += 1
                    assert isinstance(await at.identity.settle(head, NOBODY), Unproved)
            at.clock.advance(1)
        assert waited == 1
        assert len(issuer.asked) == 2


async def test_keys_are_fetched_before_anybody_waits_for_them() -> None:
    async with own_issuer() as issuer, own_issuer() as other:
        at = await door(Auth(BASE_URL, issuers=(issuer.issuer(), other.issuer(name="other"))))
        await at.identity.refresh()
        at.let_in(bearer(issuer.token(at.now_s)))
        at.let_in(bearer(other.token(at.now_s)))
        await at.identity.refresh()
        assert len(issuer.asked) == len(other.asked) == 1
        at.clock.advance(600)
        await at.identity.refresh()
        assert len(issuer.asked) == len(other.asked) == 2


# -- a new configuration


async def test_the_same_configuration_again_changes_nothing() -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        token = issuer.token(at.now_s)
        principal = at.let_in(bearer(token))
        await at.identity.configure(Auth(BASE_URL, issuers=(issuer.issuer(),)), BASE_URL)
        assert at.let_in(bearer(token)) is principal
        assert len(issuer.asked) == 1


async def test_an_issuer_that_is_no_longer_taken_takes_its_callers_along() -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        principal = at.let_in(bearer(issuer.token(at.now_s)))
        other = Issuer("other", "https://other.example")
        await at.identity.configure(Auth(BASE_URL, issuers=(issuer.issuer(), other)), BASE_URL)
        assert at.identity.is_alive(principal, at.now_s)
        assert at.let_in(bearer(issuer.token(at.now_s))).owner == principal.owner
        await at.identity.configure(Auth(BASE_URL, issuers=(issuer.issuer(tenant="acme"),)), BASE_URL)
        assert not at.identity.is_alive(principal, at.now_s)
        await at.identity.refresh()
        assert at.let_in(bearer(issuer.token(at.now_s))).tenant == "acme"
        await at.identity.configure(Auth(), BASE_URL)
        at.refused(bearer(issuer.token(at.now_s)))


async def test_a_new_public_url_is_what_tokens_have_to_be_for() -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        token = issuer.token(at.now_s)
        at.let_in(bearer(token))
        await at.identity.configure(Auth("https://new.example", issuers=(issuer.issuer(),)), "https://new.example")
        at.refused(bearer(token))
        at.let_in(bearer(issuer.token(at.now_s, aud="https://new.example/mcp")))


async def test_a_configuration_that_goes_ends_what_its_issuers_were_asked() -> None:
    arrived = asyncio.Event()

    async def silent(hit: Hit, conn: Conn) -> None:
        arrived.set()
        await conn.hang()

    async with own_issuer() as issuer:
        issuer.server.handler = silent
        at = await door(Auth(BASE_URL, issuers=(issuer.issuer(),)))
        waiting = asyncio.get_running_loop().create_task(at.identity.settle(bearer(issuer.token(at.now_s)), NOBODY))
        await arrived.wait()
        await at.identity.configure(Auth(), BASE_URL)
        found = await asyncio.wait_for(waiting, WAIT_S)
        assert isinstance(found, Unproved)
        await at.identity.close()


async def test_a_token_that_expires_ends_what_it_opened() -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        principal = at.let_in(bearer(issuer.token(at.now_s, exp=at.now_s + 10)))
        at.clock.advance(69)
        assert at.identity.is_alive(principal, at.now_s)
        at.clock.advance(1)
        assert not at.identity.is_alive(principal, at.now_s)


# -- bounds


async def test_paths_that_somebody_makes_up_are_not_collected_without_bound() -> None:
    async with own_issuer() as issuer:
        at = await door_of(issuer)
        token = issuer.token(at.now_s)
        for number in range(3000):
            at.let_in(bearer(token, path=f"/views/{number}/mcp"))  # no such path: the whole catalog's
        assert len(at.identity._resources) <= 1000


# -- over a connection


async def test_a_request_is_refused_on_its_head_and_waits_only_for_a_key_that_is_not_known() -> None:
    async with own_issuer() as issuer:
        at = await door(Auth(BASE_URL, issuers=(issuer.issuer(),)))
        served: list[Principal] = []

        async def serve(request: HttpRequest, exchange: Exchange) -> None:
            caller = request.principal or await at.identity.settle(request.head, exchange.peer)
            if isinstance(caller, Refusal):
                exchange.reply(caller.status, b"{}", caller.headers)
            else:
                served.append(caller)
                exchange.reply(200, b"{}")

        def post(*fields: str, length: int = 2) -> bytes:
            lines = ["POST /mcp HTTP/1.1", "Host: h", f"Content-Length: {length}", *fields, "", ""]
            return "\r\n".join(lines).encode() + b"{}"[:length]

        async with listening(serve, at.identity.judge) as front:
            wire = await front.connect()
            wire.send(post(length=1_000_000)[:-2])  # the body never comes
            status, fields, body = await wire.reply()
            assert status == 401
            assert fields["www-authenticate"].startswith("Bearer resource_metadata=")
            assert b'"id":null' in body
            good = post(f"Authorization: Bearer {issuer.token(at.now_s)}")
            bad = post("Authorization: Bearer x")
            wire = await front.connect()
            for data, expected in ((good, 200), (good, 200), (bad, 401)):
                wire.send(data)
                status, _, _ = await wire.reply()
                assert status == expected
            assert [principal.subject for principal in served] == ["ada", "ada"]
            assert issuer.asked == ["/keys"]


def test_the_keys_of_these_tests_differ() -> None:
    assert published(EC) != published(NEXT)
