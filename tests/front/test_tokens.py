"""Which tokens are taken, and whom they stand for. Source: RFC 7519, 8693, 8725, 9068; hardening T1, T2."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.front.issuer import (
    BASE_URL,
    EC,
    ED,
    FOREIGN,
    NEXT,
    RESOURCE,
    RSA,
    OwnIssuer,
    mac,
    own_issuer,
    part,
    published,
    signed,
)

from concento.front.identity import tokens as tokens_module
from concento.front.identity.jwks import IssuerKeys
from concento.front.identity.proof import Proved, TokenProblem
from concento.front.identity.tokens import CHARS_MAX, Tokens
from concento.model.auth import Claims, Issuer
from concento.model.principal import Principal
from concento.testing.clock import ManualClock

VIEW = f"{BASE_URL}/views/coding/mcp"


class Desk:
    """Tokens of one issuer, its keys already fetched, and a clock."""

    def __init__(self, issuer: OwnIssuer, clock: ManualClock, tokens: Tokens) -> None:
        self.issuer = issuer
        self.clock = clock
        self.tokens = tokens

    @property
    def now_s(self) -> float:
        return self.clock.wall()

    def find(self, token: str, resource: str = RESOURCE) -> Principal | TokenProblem | IssuerKeys:
        return self.tokens.find(token, resource, self.now_s)

    def taken(self, token: str, resource: str = RESOURCE) -> Proved:
        found = self.find(token, resource)
        assert isinstance(found, Proved), found
        return found

    def refused(self, token: str, resource: str = RESOURCE) -> str:
        found = self.find(token, resource)
        assert isinstance(found, TokenProblem), found
        return found.reason

    def token(self, **changed: Any) -> str:
        return self.issuer.token(self.now_s, **changed)


async def desk(issuer: OwnIssuer, **settings: Any) -> Desk:
    clock = ManualClock()
    tokens = Tokens([issuer.issuer(**settings)], clock)
    await tokens.keys[0].look()
    assert tokens.keys[0].problem is None
    return Desk(issuer, clock, tokens)


# -- the matrix

Make = Callable[[Desk], str]

REFUSED: dict[str, Make] = {
    "empty": lambda d: "",
    "garbage": lambda d: "garbage",
    "two parts": lambda d: ".".join(d.token().split(".")[:2]),
    "four parts": lambda d: d.token() + ".e30",
    "padding": lambda d: d.token() + "==",
    "white space inside": lambda d: d.token().replace(".", ". ", 1),
    "not base64": lambda d: d.token()[1:],
    "header is no object": lambda d: f"{part([1])}.{part({})}.e30",
    "payload is no object": lambda d: signed(b"[1]"),
    "payload is no JSON": lambda d: signed(b"\xff"),
    "deep header": lambda d: f"{part(b'[' * 6000)}.{part({})}.e30",
    "deep payload": lambda d: signed(b'{"iss":' + b"[" * 5000),
    "huge": lambda d: d.token(filler="x" * CHARS_MAX),
    "forged signature": lambda d: signed(d.issuer.claims(d.now_s), FOREIGN),
    "signature of another token": lambda d: d.token(sub="eve").rpartition(".")[0] + "." + d.token().rpartition(".")[2],
    "empty signature": lambda d: d.token().rpartition(".")[0] + ".",
    "alg none": lambda d: f"{part({'alg': 'none', 'kid': 'ec-1'})}.{part(d.issuer.claims(d.now_s))}.",
    "alg none with a signature": lambda d: f"{part({'alg': 'none'})}.{part(d.issuer.claims(d.now_s))}.e30",
    "alg None": lambda d: f"{part({'alg': 'None'})}.{part(d.issuer.claims(d.now_s))}.e30",
    "no alg": lambda d: f"{part({'kid': 'ec-1'})}.{part(d.issuer.claims(d.now_s))}.e30",
    "alg is no text": lambda d: f"{part({'alg': ['ES256']})}.{part(d.issuer.claims(d.now_s))}.e30",
    "HS256 with the public key as secret": lambda d: mac(d.issuer.claims(d.now_s), RSA.as_pem(private=False)),
    "HS256 with the modulus as secret": lambda d: mac(
        d.issuer.claims(d.now_s), str(RSA.as_dict(private=False)["n"]).encode()
    ),
    "an algorithm of another kind of key": lambda d: signed(d.issuer.claims(d.now_s), RSA, "RS256", kid="ec-1"),
    "an algorithm that is not listed": lambda d: signed(d.issuer.claims(d.now_s), RSA, "PS256"),
    "kid is no text": lambda d: signed(d.issuer.claims(d.now_s), kid=7),
    "a key of the token's own": lambda d: signed(d.issuer.claims(d.now_s), FOREIGN, jwk=FOREIGN.as_dict(private=False)),
    "a key set of the token's own": lambda d: signed(d.issuer.claims(d.now_s), FOREIGN, jku="https://evil.example"),
    "crit": lambda d: signed(d.issuer.claims(d.now_s), crit=["exp"]),
    "b64": lambda d: signed(d.issuer.claims(d.now_s), b64=True),
    "typ of something else": lambda d: signed(d.issuer.claims(d.now_s), typ="dpop+jwt"),
    "typ is no text": lambda d: signed(d.issuer.claims(d.now_s), typ=["JWT"]),
    "no iss": lambda d: d.token(iss=None),
    "another iss": lambda d: d.token(iss="https://evil.example"),
    "trailing slash in iss": lambda d: d.token(iss=f"{d.issuer.url}/"),
    "iss is no text": lambda d: d.token(iss=[d.issuer.url]),
    "no aud": lambda d: d.token(aud=None),
    "another aud": lambda d: d.token(aud="https://other.example/mcp"),
    "trailing slash in aud": lambda d: d.token(aud=f"{RESOURCE}/"),
    "upper case in aud": lambda d: d.token(aud=RESOURCE.upper()),
    "aud of the whole hub": lambda d: d.token(aud=BASE_URL),
    "aud of a view": lambda d: d.token(aud=VIEW),
    "aud array without ours": lambda d: d.token(aud=["https://other.example/mcp", f"{RESOURCE}/"]),
    "aud array of arrays": lambda d: d.token(aud=[[RESOURCE]]),
    "empty aud array": lambda d: d.token(aud=[]),
    "aud object": lambda d: d.token(aud={RESOURCE: True}),
    "no exp": lambda d: d.token(exp=None),
    "exp is text": lambda d: d.token(exp=str(d.now_s + 600)),
    "exp is true": lambda d: d.token(exp=True),
    "exp beyond all time": lambda d: d.token(exp=10**400),
    "expired": lambda d: d.token(exp=d.now_s - 61),
    "nbf in the future": lambda d: d.token(nbf=d.now_s + 61),
    "nbf is text": lambda d: d.token(nbf="0"),
    "nbf is true": lambda d: d.token(nbf=True),
    "iat far in the future": lambda d: d.token(iat=d.now_s + 3600),
    "no sub": lambda d: d.token(sub=None),
    "empty sub": lambda d: d.token(sub=""),
    "sub is a number": lambda d: d.token(sub=7),
    "sub with a line break": lambda d: d.token(sub="ada\nroot"),
    "long sub": lambda d: d.token(sub="a" * 257),
    "act is no object": lambda d: d.token(act="bot"),
    "act without sub": lambda d: d.token(act={"act": {"sub": "bot"}}),
}


WHY = {
    "huge": "longer",
    "forged signature": "signature",
    "signature of another token": "signature",
    "alg none with a signature": "algorithm",
    "HS256 with the public key as secret": "algorithm is not taken",
    "an algorithm of another kind of key": "does not fit its key",
    "an algorithm that is not listed": "algorithm is not taken",
    "a key of the token's own": "signature",
    "crit": "header",
    "another iss": "issuer",
    "another aud": "another resource",
    "trailing slash in aud": "another resource",
    "no exp": "when it expires",
    "expired": "expired",
    "nbf in the future": "nbf",
    "iat far in the future": "iat",
}
"""What keeps some of them out, so that none is refused by chance."""


@pytest.mark.parametrize("name", REFUSED)
async def test_a_token_is_refused(name: str) -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        fetches = len(issuer.asked)
        reason = at.refused(REFUSED[name](at))
        assert WHY.get(name, "") in reason
        assert len(issuer.asked) == fetches


TAKEN: dict[str, Make] = {
    "of OAuth": lambda d: d.token(),
    "typ JWT": lambda d: signed(d.issuer.claims(d.now_s), typ="JWT"),
    "typ in small letters": lambda d: signed(d.issuer.claims(d.now_s), typ="jwt"),
    "typ with its tree": lambda d: signed(d.issuer.claims(d.now_s), typ="application/at+jwt"),
    "without typ": lambda d: signed(d.issuer.claims(d.now_s), typ=None),
    "RS256": lambda d: d.token(key=RSA, alg="RS256"),
    "EdDSA": lambda d: d.token(key=ED, alg="EdDSA"),
    "a header field of the issuer's own": lambda d: signed(d.issuer.claims(d.now_s), nonce="x", x5t="y"),
    "a long header": lambda d: signed(d.issuer.claims(d.now_s), x5c=["A" * 2000]),
    "large": lambda d: d.token(groups=["g" * 36] * 200),
    "aud array": lambda d: d.token(aud=["https://other.example", RESOURCE]),
    "expired within the skew": lambda d: d.token(exp=d.now_s - 59),
    "nbf within the skew": lambda d: d.token(nbf=d.now_s + 59),
    "no iat": lambda d: d.token(iat=None),
    "a fraction": lambda d: d.token(exp=d.now_s + 0.5, iat=d.now_s - 0.5),
}


@pytest.mark.parametrize("name", TAKEN)
async def test_a_token_is_taken(name: str) -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        assert at.taken(TAKEN[name](at)).owner == ("default", "ada", "editor")


@pytest.mark.filterwarnings("error")
async def test_taking_a_token_warns_of_nothing() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        for key, alg in ((RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")):
            at.taken(at.token(key=key, alg=alg))


async def test_a_token_says_all_that_is_known_of_a_caller() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        token = at.token()
        principal = at.taken(token)
        assert principal.proof == "jwt"
        assert principal.scopes == {"tools:read", "tools:call"}
        assert principal.roles == frozenset()
        assert principal.until_s == at.now_s + 660
        assert principal.credential.startswith("jwt:company:")
        assert len(principal.credential.rpartition(":")[2]) == 16
        assert token not in repr(principal)
        assert token not in repr(vars(at.tokens))


# -- audiences


async def test_a_token_is_for_the_endpoint_that_it_names_and_no_other() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        view = at.token(aud=VIEW)
        for _ in range(2):  # verified, then known
            at.taken(view, VIEW)
            at.refused(view, RESOURCE)
        both = at.token(aud=[VIEW, RESOURCE])
        assert at.taken(both, VIEW) is at.taken(both, RESOURCE)


async def test_configured_audiences_are_taken_everywhere_and_nothing_else_is() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer, audiences=("api://concento", "api://old"))
        token = at.token(aud=["api://old", "x"])
        assert at.taken(token, VIEW) is at.taken(token, RESOURCE)
        at.refused(at.token(aud=RESOURCE))
        at.refused(at.token(aud="api://concento/"))


# -- time


async def test_a_known_token_is_refused_once_it_has_expired() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        token = at.token(exp=at.now_s + 10)
        at.taken(token)
        at.clock.advance(69)
        at.taken(token)
        at.clock.advance(1)
        assert "expired" in at.refused(token)
        assert "expired" in at.refused(token)


async def test_the_skew_is_the_issuers_own() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer, skew_s=0.0)
        at.refused(at.token(exp=at.now_s))
        at.refused(at.token(nbf=at.now_s + 1))
        assert at.taken(at.token(exp=at.now_s + 1)).until_s == at.now_s + 1


# -- whom it stands for


async def test_the_agent_is_whoever_holds_the_token_now() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        assert at.taken(at.token(client_id=None)).agent is None
        assert at.taken(at.token(client_id=None, azp="web")).agent == "web"
        assert at.taken(at.token(azp="web")).agent == "editor"
        delegated = at.taken(at.token(act={"sub": "planner", "act": {"sub": "editor"}}))
        assert (delegated.agent, delegated.chain) == ("planner", ("editor",))
        far = at.taken(at.token(client_id="app", act={"sub": "c", "act": {"sub": "b", "act": {"sub": "a"}}}))
        assert (far.subject, far.agent, far.chain) == ("ada", "c", ("b", "a", "app"))


@pytest.mark.parametrize(("depth", "is_taken"), [(8, True), (9, False), (200, False)])
async def test_a_chain_of_actors_has_an_end(depth: int, is_taken: bool) -> None:
    acting: dict[str, object] | None = None
    for number in range(depth):
        acting = {"sub": f"agent {number}"} | ({} if acting is None else {"act": acting})
    async with own_issuer() as issuer:
        at = await desk(issuer)
        found = at.find(at.token(act=acting))
        assert isinstance(found, Principal) == is_taken


async def test_claims_are_found_by_path_and_by_names_with_dots() -> None:
    async with own_issuer() as issuer:
        at = await desk(
            issuer,
            claims={"subject": "user.mail", "agent": "app", "roles": "https://x.example/roles", "scopes": "perms"},
        )
        token = at.token(
            **{"user": {"mail": "ada@x.example"}, "app": "ide", "https://x.example/roles": ["a", "b"], "perms": ["p"]}
        )
        found = at.taken(token)
        assert (found.subject, found.agent) == ("ada@x.example", "ide")
        assert found.roles == {"a", "b"}
        assert found.scopes == {"p"}
        at.refused(at.token(user="ada"))


async def test_scp_stands_in_for_scope() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        assert at.taken(at.token(scope=None, scp=["a", "b"])).scopes == {"a", "b"}
        assert at.taken(at.token(scope=None, scp="a b")).scopes == {"a", "b"}
        assert at.taken(at.token(scope=None)).scopes == frozenset()
        assert at.taken(at.token(scope="", scp=["a"])).scopes == frozenset()
        assert at.taken(at.token(scope=["a", 1, None, ""])).scopes == {"a"}


async def test_roles_are_those_that_the_claims_values_stand_for() -> None:
    groups = {"engineering": ("developer", "reader"), "sales": ("reader",)}
    async with own_issuer() as issuer:
        at = await desk(issuer, claims={"roles": "realm.groups"}, roles=groups)
        assert at.taken(at.token(realm={"groups": ["engineering", "admin"]})).roles == {"developer", "reader"}
        assert at.taken(at.token(realm={"groups": "sales"})).roles == {"reader"}
        assert at.taken(at.token()).roles == frozenset()
        plain = await desk(issuer, claims={"roles": "groups"})
        assert plain.taken(plain.token(groups=["a"])).roles == {"a"}


async def test_a_tenant_is_what_the_claims_value_stands_for() -> None:
    async with own_issuer() as issuer:
        at = await desk(
            issuer, claims={"tenant": "org"}, tenants={"org-1": "acme", "7": "globex", "ours": "default"}, tenant="acme"
        )
        assert at.taken(at.token(org="org-1")).tenant == "acme"
        assert at.taken(at.token(org=7)).tenant == "globex"
        assert at.taken(at.token(org="ours")).tenant == "default"
        for value in ("acme", "org-2", "default", None, "", True, ["org-1"], {"org-1": 1}):
            at.refused(at.token(org=value))
        assert (await desk(issuer, tenant="acme")).taken(at.token(org="x")).tenant == "acme"


async def test_a_claim_alone_makes_nobody_one_of_the_operators_own() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer, claims={"tenant": "org"})
        assert at.taken(at.token(org="acme")).tenant == "acme"
        at.refused(at.token(org="default"))
        at.refused(at.token())


# -- keys


async def test_a_token_with_an_unknown_key_waits_for_the_issuer() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        token = signed(issuer.claims(at.now_s), NEXT)
        at.refused(token)  # the keys were fetched just now
        at.clock.advance(30)
        found = at.find(token)
        assert isinstance(found, IssuerKeys)
        issuer.keys = published(NEXT)
        await found.look()
        at.taken(token)


async def test_what_was_signed_with_a_withdrawn_key_proves_nothing_any_more() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        old = at.token()
        at.taken(old)
        issuer.keys = published(RSA, NEXT)
        at.clock.advance(600)
        old = at.token()
        at.taken(old)
        await at.tokens.keys[0].look()
        at.refused(old)
        at.taken(at.token(key=NEXT))


async def test_a_key_that_is_added_leaves_known_tokens_known() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        token = at.token()
        principal = at.taken(token)
        issuer.keys = published(RSA, EC, ED, NEXT)
        at.clock.advance(60)
        await at.tokens.keys[0].look()
        assert at.taken(token) is principal


async def test_a_key_without_an_id_that_was_exchanged_is_looked_for() -> None:
    first, second = (dict(key) for key in published(EC, NEXT))
    del first["kid"], second["kid"]
    async with own_issuer() as issuer:
        issuer.keys = [first]
        at = await desk(issuer)
        at.taken(signed(issuer.claims(at.now_s), kid=None))
        token = signed(issuer.claims(at.now_s), NEXT, kid=None)
        at.refused(token)
        issuer.keys = [second]
        at.clock.advance(30)
        found = at.find(token)
        assert isinstance(found, IssuerKeys)
        await found.look()
        at.taken(token)


async def test_the_algorithm_that_a_key_is_for_is_the_only_one_it_takes() -> None:
    async with own_issuer() as issuer:
        issuer.keys = [published(RSA)[0] | {"alg": "RS512"}]
        at = await desk(issuer, algorithms=("RS256", "RS512"))
        at.refused(at.token(key=RSA, alg="RS256"))
        at.taken(at.token(key=RSA, alg="RS512"))


# -- several issuers, and a new configuration


async def test_each_issuer_has_its_own_keys() -> None:
    async with own_issuer() as one, own_issuer() as other:
        other.keys = published(NEXT)
        clock = ManualClock()
        tokens = Tokens([one.issuer(), other.issuer(name="other")], clock)
        for keys in tokens.keys:
            await keys.look()
        now_s = clock.wall()
        assert isinstance(tokens.find(one.token(now_s), RESOURCE, now_s), Principal)
        assert isinstance(tokens.find(other.token(now_s, NEXT), RESOURCE, now_s), Principal)
        assert isinstance(tokens.find(other.token(now_s, EC), RESOURCE, now_s), TokenProblem)
        assert isinstance(tokens.find(one.token(now_s, NEXT), RESOURCE, now_s), TokenProblem)


async def test_an_issuer_that_stays_as_it_was_keeps_its_keys_and_what_it_proved() -> None:
    async with own_issuer() as issuer:
        at = await desk(issuer)
        principal = at.taken(at.token())
        after = Tokens([issuer.issuer(), Issuer("new", "https://new.example")], at.clock, at.tokens)
        assert after.holds(principal)
        assert isinstance(after.find(at.token(), RESOURCE, at.now_s), Principal)
        assert len(issuer.asked) == 1
        assert not Tokens([issuer.issuer(tenant="acme")], at.clock, at.tokens).holds(principal)
        assert not Tokens([], at.clock, at.tokens).holds(principal)
        assert not after.holds(Principal("ada", proof="jwt"))


# -- bounds


async def test_known_tokens_are_not_collected_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "KNOWN_MAX", 3)
    async with own_issuer() as issuer:
        at = await desk(issuer)
        busy = at.token(sub="busy")
        principal = at.taken(busy)
        for number in range(20):
            at.taken(at.token(sub=f"user {number}"))
            assert at.taken(busy) is principal  # one that is in use stays
            assert len(at.tokens._verified) + len(at.tokens._older) <= 6


@given(st.text(max_size=200) | st.from_regex(r"\A[A-Za-z0-9_-]{1,90}\.[A-Za-z0-9_-]{1,90}\.[A-Za-z0-9_-]{0,90}\Z"))
def test_no_text_whatever_is_taken_or_breaks_anything(text: str) -> None:
    tokens = Tokens([Issuer("company", "https://login.example.com")], ManualClock())
    assert isinstance(tokens.find(text, RESOURCE, 0.0), TokenProblem)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "aud", "exp", "nbf", "iat", "scope", "scp", "client_id", "azp", "act", "org", "roles"]),
        json_values,
    )
)
def test_whatever_a_signed_token_claims_there_is_an_answer(claims: dict[str, object]) -> None:
    clock = ManualClock()
    issuer = Issuer(
        "company",
        "https://login.example.com",
        claims=Claims(tenant="org", roles="roles.x"),
    )
    tokens = Tokens([issuer], clock)
    keys = tokens.keys[0]
    keys._keys, keys._ids, keys._fetched_s = {("ec-1", "ES256"): EC}, frozenset({"ec-1"}), clock.monotonic()
    token = signed(claims | {"iss": issuer.issuer})
    assert isinstance(tokens.find(token, RESOURCE, clock.wall()), Principal | TokenProblem)


def test_the_helper_signs_what_others_can_read() -> None:
    head, body, _ = signed({"sub": "ada"}).split(".")
    assert json.loads(base64.urlsafe_b64decode(head + "==")) == {"alg": "ES256", "kid": "ec-1", "typ": "at+jwt"}
    assert json.loads(base64.urlsafe_b64decode(body + "==")) == {"sub": "ada"}
