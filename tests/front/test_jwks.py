"""How an issuer's keys are found, fetched, kept and exchanged. Source: RFC 8414, RFC 7517; hardening T1, R19."""

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from tests.front.issuer import EC, ED, NEXT, RSA, OwnIssuer, own_issuer, published

from concento.front.identity import jwks
from concento.front.identity.jwks import IssuerKeys, KeysUnavailable, is_safe_url, usable
from concento.testing.clock import ManualClock
from concento.testing.http_server import Conn, Hit
from concento.transport.outbound import BYTES_MAX

ALGORITHMS = ("RS256", "ES256", "EdDSA")
OAUTH = "/.well-known/oauth-authorization-server"
OIDC = "/.well-known/openid-configuration"


def keys_of(issuer: OwnIssuer, **settings: Any) -> tuple[IssuerKeys, ManualClock]:
    clock = ManualClock()
    return IssuerKeys(issuer.issuer(**settings), clock), clock


def metadata(own: OwnIssuer, **changed: object) -> bytes:
    told = {"issuer": own.url, "jwks_uri": own.jwks_url} | changed
    return json.dumps({name: value for name, value in told.items() if value is not None}).encode()


def ok(body: bytes, *headers: tuple[str, str]) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    return 200, body, headers


# -- fetching


async def test_keys_are_found_by_id_and_algorithm() -> None:
    async with own_issuer() as issuer:
        keys, _ = keys_of(issuer)
        assert not keys.has_keys
        assert keys.find("ec-1", "ES256") is None
        await keys.look()
        assert keys.find("ec-1", "ES256") == published_key(EC)
        assert keys.find("ec-1", "RS256") is None
        assert keys.find("ec-2", "ES256") is None
        assert keys.knows("ec-1")
        assert not keys.knows("ec-2")
        assert keys.problem is None
        assert issuer.asked == ["/keys"]
        assert issuer.server.hits()[0].header("Accept-Encoding") == "identity"


def published_key(key: ECKey) -> ECKey:
    """A public key, without its id, as it is kept."""
    public = key.as_dict(private=False)
    return ECKey.import_key({name: public[name] for name in ("kty", "crv", "x", "y")})


async def test_many_who_wait_make_one_fetch_and_one_who_leaves_does_not_end_it() -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def slow(hit: Hit, conn: Conn) -> None:
        arrived.set()
        await go.wait()
        await conn.json({"keys": published(EC)})

    async with own_issuer() as issuer:
        issuer.server.handler = slow
        keys, _ = keys_of(issuer)
        loop = asyncio.get_running_loop()
        waiters = [loop.create_task(keys.look()) for _ in range(50)]
        await arrived.wait()
        waiters[0].cancel()
        assert keys.can_look
        go.set()
        await asyncio.gather(*waiters[1:])
        assert waiters[0].cancelled()
        assert keys.knows("ec-1")
        assert keys.fetches == len(issuer.asked) == 1


async def test_a_flood_of_unknown_keys_makes_one_fetch_in_thirty_seconds() -> None:
    async with own_issuer() as issuer:
        keys, clock = keys_of(issuer)
        for second in range(91):
            for number in range(20):
                if keys.find(f"made up {second} {number}", "ES256") is None:
                    await keys.look()
            clock.advance(1)
        assert keys.fetches == len(issuer.asked) == 4  # at 0, 30, 60 and 90 seconds


async def test_a_key_that_turned_over_is_found_with_the_next_look() -> None:
    async with own_issuer() as issuer:
        keys, clock = keys_of(issuer)
        withdrawn: list[bool] = []
        keys.on_withdrawn = lambda: withdrawn.append(True)
        await keys.look()
        issuer.keys = published(RSA, EC, ED, NEXT)
        await keys.look()
        assert not keys.knows("ec-2")
        clock.advance(30)
        await keys.look()
        assert keys.knows("ec-1")
        assert keys.knows("ec-2")
        assert not withdrawn
        issuer.keys = published(NEXT)
        clock.advance(30)
        await keys.look()
        assert not keys.knows("ec-1")
        assert withdrawn == [True]


# -- how long they are kept


@pytest.mark.parametrize(
    ("header", "fresh_s"),
    [
        ((), 600),
        (("Cache-Control", "max-age=900"), 900),
        (("Cache-Control", "public, max-age=900, must-revalidate"), 900),
        (("Cache-Control", "MAX-AGE=900"), 900),
        (("Cache-Control", "max-age=1"), 60),
        (("Cache-Control", "max-age=0"), 60),
        (("Cache-Control", "max-age=999999999"), 3600),
        (("Cache-Control", "s-maxage=900"), 600),
        (("Cache-Control", "x-max-age=900"), 600),
        (("Cache-Control", "max-age=-5"), 600),
        (("Cache-Control", "no-store"), 600),
    ],
)
async def test_keys_are_due_when_they_are_no_longer_fresh(header: tuple[str, str] | tuple[()], fresh_s: float) -> None:
    async with own_issuer() as issuer:
        issuer.answers["/keys"] = ok(json.dumps({"keys": issuer.keys}).encode(), *([header] if header else []))
        keys, clock = keys_of(issuer)
        assert keys.is_due
        await keys.look()
        clock.advance(fresh_s - 0.001)
        assert not keys.is_due
        clock.advance(0.001)
        assert keys.is_due


async def test_keys_of_an_issuer_that_is_down_are_used_for_a_day() -> None:
    async with own_issuer() as issuer:
        keys, clock = keys_of(issuer)
        await keys.look()
        await issuer.server.stop()
        clock.advance(600)
        await keys.look()
        assert keys.problem is not None
        assert "'company'" in keys.problem
        assert not keys.is_due  # it is asked again in thirty seconds, not at once
        clock.advance(30)
        assert keys.is_due
        clock.advance(86_400 - 630)
        assert keys.knows("ec-1")
        clock.advance(1)
        assert not keys.has_keys
        assert keys.find("ec-1", "ES256") is None
        await issuer.server.start()
        await keys.look()
        assert keys.knows("ec-1")
        assert keys.problem is None


# -- what an issuer may answer

BAD: dict[str, tuple[int, bytes, tuple[tuple[str, str], ...]]] = {
    "an error": (500, b"{}", ()),
    "another good status": (203, b'{"keys":[]}', ()),
    "a redirect": (302, b"", (("Location", "/other"),)),
    "a redirect to another host": (307, b"", (("Location", "http://127.0.0.1:1/keys"),)),
    "nothing": ok(b""),
    "HTML": ok(b"<html>"),
    "a list": ok(b"[]"),
    "deep": ok(b'{"keys":' + b"[" * 100_000),
    "not UTF-8": ok(b'{"keys":"\xff"}'),
    "too large": ok(b'{"keys":[' + b" " * BYTES_MAX + b"]}"),
    "packed": ok(gzip.compress(json.dumps({"keys": published(EC)}).encode()), ("Content-Encoding", "gzip")),
    "no keys": ok(b"{}"),
    "an empty set": ok(b'{"keys":[]}'),
    "keys of no use": ok(b'{"keys":[1,null,{},{"kty":"oct","k":"c2VjcmV0"},{"kty":"RSA"},{"kty":["RSA"]}]}'),
}


@pytest.mark.parametrize("name", BAD)
async def test_an_answer_that_is_no_key_set_changes_nothing(name: str) -> None:
    async with own_issuer() as issuer:
        keys, clock = keys_of(issuer)
        await keys.look()
        issuer.answers["/keys"] = BAD[name]
        clock.advance(600)
        await keys.look()
        assert keys.problem is not None
        assert keys.knows("ec-1")
        assert issuer.asked == ["/keys", "/keys"]


async def test_an_issuer_that_says_nothing_is_waited_for_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "WAIT_S", 0.05)

    async def silent(hit: Hit, conn: Conn) -> None:
        await conn.hang()

    async with own_issuer() as issuer:
        issuer.server.handler = silent
        keys, _ = keys_of(issuer)
        await keys.look()
        assert keys.problem is not None
        assert "no answer within 0.05 s" in keys.problem


async def test_closing_ends_a_fetch_and_whoever_waits_goes_on() -> None:
    arrived = asyncio.Event()

    async def silent(hit: Hit, conn: Conn) -> None:
        arrived.set()
        await conn.hang()

    async with own_issuer() as issuer:
        issuer.server.handler = silent
        keys, _ = keys_of(issuer)
        waiting = asyncio.get_running_loop().create_task(keys.look())
        await arrived.wait()
        await keys.close()
        await waiting
        assert not keys.has_keys
        await keys.close()


# -- which keys of a set


def jwk(key: RSAKey | ECKey | OKPKey, **changed: object) -> dict[str, Any]:
    told = dict(key.as_dict(private=False)) | changed
    return {name: value for name, value in told.items() if value is not None}


@pytest.mark.filterwarnings("error")
def test_keys_that_are_for_something_else_are_passed_over() -> None:
    good = jwk(EC)
    n_1024 = base64.urlsafe_b64encode(b"\xc5" * 128).decode().rstrip("=")
    others = [
        jwk(RSA, use="enc"),
        jwk(RSA, key_ops=["encrypt"]),
        jwk(RSA, kid="weak", n=n_1024),
        jwk(RSA, n="?"),
        jwk(RSA, alg="HS256"),
        jwk(ECKey.generate_key("P-384", {"kid": "p384"})),
        jwk(ECKey.generate_key("P-256", {"kid": "x"}), crv="P-384"),
        jwk(OKPKey.generate_key("X25519", {"kid": "x"})),
        jwk(OKPKey.generate_key("Ed448", {"kid": "x"})),
        dict(OctKey.generate_key(256, {"kid": "oct"}).as_dict(private=True)),
    ]
    assert set(usable({"keys": [*others, good]}, ALGORITHMS)) == {("ec-1", "ES256"), (None, "ES256")}
    for one in others:
        with pytest.raises(KeysUnavailable):
            usable({"keys": [one]}, ALGORITHMS)


def test_a_private_key_that_an_issuer_publishes_by_mistake_is_kept_as_a_public_one() -> None:
    found = usable({"keys": [dict(EC.as_dict(private=True))]}, ALGORITHMS)
    assert not found["ec-1", "ES256"].is_private


def test_without_an_id_only_a_key_that_none_other_could_be_meant_by_is_taken() -> None:
    alone = usable({"keys": [jwk(EC, kid=None), jwk(RSA)]}, ALGORITHMS)
    assert set(alone) == {(None, "ES256"), (None, "RS256"), ("rsa-1", "RS256")}
    several = usable({"keys": [jwk(EC, kid=None), jwk(NEXT), jwk(RSA)]}, ALGORITHMS)
    assert (None, "ES256") not in several
    assert ("ec-2", "ES256") in several


def test_of_two_keys_with_one_id_the_first_counts() -> None:
    found = usable({"keys": [jwk(EC), jwk(NEXT, kid="ec-1")]}, ALGORITHMS)
    assert found["ec-1", "ES256"] == published_key(EC)


def test_a_set_without_end_has_one() -> None:
    found = usable({"keys": [jwk(EC, kid=str(number)) for number in range(5000)]}, ALGORITHMS)
    assert len(found) == 100


# -- discovery


@pytest.mark.parametrize(
    ("path", "where", "asked"),
    [
        ("", OAUTH, [OAUTH]),
        ("", OIDC, [OAUTH, OIDC]),
        ("/realms/x", f"{OAUTH}/realms/x", [f"{OAUTH}/realms/x"]),
        ("/realms/x", f"/realms/x{OIDC}", [f"{OAUTH}/realms/x", f"/realms/x{OIDC}"]),
        ("/", OIDC, [OAUTH, OIDC]),
    ],
)
async def test_keys_are_where_the_metadata_says(path: str, where: str, asked: list[str]) -> None:
    async with own_issuer() as issuer:
        issuer.path = path
        issuer.answers[where] = ok(metadata(issuer))
        keys, clock = keys_of(issuer, jwks_url=None)
        await keys.look()
        assert keys.problem is None
        assert issuer.asked == [*asked, "/keys"]
        clock.advance(600)
        await keys.look()
        assert issuer.asked == [*asked, "/keys", "/keys"]


@pytest.mark.parametrize("other", ["{url}/", "https://evil.example", None, 7, ""])
async def test_metadata_of_another_issuer_are_not_believed(other: object) -> None:
    async with own_issuer() as issuer:
        other = other.format(url=issuer.url) if isinstance(other, str) else other
        issuer.answers[OAUTH] = ok(metadata(issuer, issuer=other))
        issuer.answers[OIDC] = ok(metadata(issuer))
        keys, _ = keys_of(issuer, jwks_url=None)
        await keys.look()
        assert keys.problem is not None
        assert "another issuer" in keys.problem
        assert issuer.asked == [OAUTH]


@pytest.mark.parametrize("where", [None, 7, "/keys", "http://keys.example/x", "file:///etc/passwd", "https://[", ""])
async def test_keys_are_fetched_from_nowhere_that_is_not_safe(where: object) -> None:
    async with own_issuer() as issuer:
        issuer.answers[OAUTH] = ok(metadata(issuer, jwks_uri=where))
        keys, _ = keys_of(issuer, jwks_url=None)
        await keys.look()
        assert keys.problem is not None
        assert issuer.asked == [OAUTH, OIDC]


async def test_metadata_that_name_a_place_inside_are_not_followed_and_the_remedy_is_told() -> None:
    async with own_issuer() as issuer:
        issuer.answers[OAUTH] = ok(metadata(issuer, jwks_uri="https://10.0.0.1/keys"))
        keys, _ = keys_of(issuer, jwks_url=None)
        await keys.look()
        assert keys.problem is not None
        assert "an address that is not public" in keys.problem
        assert "`outbound.allow`" in keys.problem


async def test_keys_that_moved_are_found_again() -> None:
    async with own_issuer() as issuer, own_issuer() as elsewhere:
        issuer.answers[OAUTH] = ok(metadata(issuer))
        keys, clock = keys_of(issuer, jwks_url=None)
        await keys.look()
        issuer.answers["/keys"] = 404, b"", ()
        issuer.answers[OAUTH] = ok(metadata(issuer, jwks_uri=elsewhere.jwks_url))
        clock.advance(600)
        await keys.look()
        assert keys.problem is not None
        clock.advance(30)
        await keys.look()
        assert keys.problem is None
        assert elsewhere.asked == ["/keys"]


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://login.example.com/keys", True),
        ("http://localhost:8080/keys", True),
        ("http://127.0.0.1/keys", True),
        ("http://[::1]/keys", True),
        ("http://127.0.0.2/keys", False),
        ("http://localhost.evil.example/", False),
        ("http://localhost@evil.example/", False),
        ("https://user:secret@login.example.com/", False),
        ("https://login.example.com/\nkeys", False),
        ("ftp://localhost/", False),
        ("//localhost/", False),
        ("http://[::1", False),
    ],
)
def test_which_urls_are_safe(url: str, is_safe: bool) -> None:
    assert is_safe_url(url) == is_safe
